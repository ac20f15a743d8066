"""What was said of a client becomes its registration."""

from typing import Any

from sqlalchemy import RowMapping

from models.operator_actions import Registration
from models.states.client import Keep
from settings import Settings
from tasks.runtime.registration import resolve, times_of
from worker.cli.arguments import DEFAULT

# What a client may say differently from its provider's file: option to field.
OVERRIDES = (
    "kind",
    "authorize_url",
    "token_url",
    "refresh_url",
    "introspect_url",
    "revoke_url",
    "api_url",
    "confirm_url",
    "rate",
    "burst",
    "rotation",
    "grace_seconds",
    "body",
    "auth",
    "issuer",
    "issuer_in_callback",
    "jwt_audience",
    "pkce",
)

PAGES = ("title", "logo_url", "colour")


def merged(settings: Settings, provider: str, given: dict[str, Any], *, before: RowMapping | None) -> Registration:
    """Merge what is said now over what was said before, and resolve it with the provider's file.

    Raises:
        UnknownProvider: there is no such file.
        ProviderFileError: the file, or what was said, cannot be used.

    """
    if given.get("grace") is not None:
        given["grace_seconds"] = given["grace"].total_seconds()
    said = {key: given[key] for key in OVERRIDES if given.get(key) is not None}
    if given.get("hosts"):
        said["hosts"] = list(given["hosts"])
    overrides = (before["overrides"] if before else {}) | said
    resolved = resolve(provider, overrides, settings)
    kept = {key: before[key] for key in ("client_id", "redirect_uri", "keep")} if before else {}
    kept = {"redirect_uri": None, "keep": Keep.WARM.value} | kept
    now = {key: given[key] for key in ("client_id", *kept) if given.get(key) is not None}
    limit = given.get("revocation_limit")
    kept_limit = before["revocation_limit"] if before else None
    return Registration(
        provider=provider,
        overrides=overrides,
        scopes=given["scopes"] or (before["scopes"] if before else ()),
        rotation=resolved.rotation.value,
        rate_per_minute=resolved.rate,
        burst=resolved.allowed_burst,
        attempt_lease=times_of(resolved, settings).lease,
        grace=resolved.grace,
        grant_interval=resolved.grant_interval or None,
        after_grace=resolved.after_grace.value if resolved.grace is not None else None,
        revocation_limit=kept_limit if limit is None else None if limit == DEFAULT else limit,
        clears_drift=given.get("rotation") is not None,
        **_of_pages(given, before),
        **(kept | now),
    )


def _of_pages(given: dict[str, Any], before: RowMapping | None) -> dict[str, Any]:
    """How its pages look, and where they lead; an empty text takes back what was said."""
    said = {key: before[key] if before else None for key in PAGES}
    said |= {key: given[key] or None for key in PAGES if given.get(key) is not None}
    urls = list(given.get("return_to") or (before["return_to_urls"] if before else ()))
    return said | {"return_to_urls": urls, "return_to": urls[0] if urls else None}
