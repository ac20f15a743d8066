"""Habits: which authorization server the simulator plays. Values only; what they do is in rotation.py and endpoints/.

The starting point is Doorkeeper as it was measured; `DIALECTS` names the other ready-made sets. Every quirk
is a field, so a test can ask for exactly one.
"""

import re
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any


class Profile(StrEnum):
    """What a refresh does to the refresh token that was sent."""

    NONE = "none"  # it stays, only the access token is new
    ON_USE = "on_use"  # it lives until the new access token is first used (Doorkeeper with its column)
    UNTIL_NEXT_REFRESH = "until_next_refresh"  # it lives until the new one is first used to refresh (Shopify)
    GRACE = "grace"  # it lives for `grace_seconds` more
    IMMEDIATE = "immediate"  # it dies at once, with its access token (Doorkeeper without the column)
    FAMILY = "family"  # it dies at once, and using it again kills the whole grant


@dataclass(frozen=True, slots=True)
class Habits:
    """One authorization server's behaviour; the defaults are Doorkeeper 5.6 as its generator sets it up."""

    profile: Profile = Profile.ON_USE
    grace_seconds: float = 30.0  # `grace` only
    until_next_seconds: float | None = None  # `until_next_refresh` only: it lives so long at most
    reuse_ends_family: bool | None = None  # None: at `family` and, once the grace is over, at `grace`
    old_access_token_lives: bool | None = None  # None: everywhere but at `immediate`
    repeats_refresh_token: bool = False  # `none` only: the answer holds the same refresh token again
    json_bodies: bool = True  # False: form bodies only, JSON is 400 and consumes nothing
    basic_and_body: bool = True  # False: credentials in the header *and* in the body are refused
    # No refresh token is ever given; `fb_exchange_token` renews (Meta), by GET, too.
    exchanges_access_tokens: bool = False
    api_header: str = "Authorization: Bearer "  # how the API wants an access token: what stands before it
    # How it refuses, each a status and an error, or a status and the whole body, be it JSON or any text.
    says_dead: str = "400 invalid_grant"  # a refresh token that is dead
    says_wrong_client: str = "401 invalid_client"  # credentials that are not the client's
    says_too_many: str = ""  # more than the rate; empty: 429 with a body like Event Temple's
    # How it answers with tokens.
    token_within: str = ""  # the member that holds the token set, e.g. `data`; empty: the answer itself
    life_member: str = "expires_in"  # or `expires_at` (ISO 8601), or empty: only introspection tells it
    client_first: bool = False  # the client is authenticated before the token is looked at, at revoke too
    scope_tested_first: bool = False  # `invalid_scope` is answered for a dead token too: a probe is fooled
    comma_scope: bool = False  # commas separate scopes at authorize, as Event Temple writes them
    sorted_scope: bool = False  # answers name scopes in alphabetical order, not as they were asked for
    redirects_scope_errors: bool = False  # False: 200 with an HTML page and no redirect
    created_at: bool = True  # token answers hold `created_at`
    reuse_access_token: bool = False  # a second consent of one user is answered with the living pair
    code_reuse_ends_grant: bool = False  # a code used twice kills the pair of its first use
    mended_revocation: bool = False  # True: an expired pair's refresh token is really revoked (Doorkeeper 5.8.1)
    hint_filters: bool = True  # a wrong `token_type_hint` finds nothing: 200, and nothing happens
    empty_revocation_body: bool = False  # success is 200 with an empty body, not `{}`

    @property
    def punishes_reuse(self) -> bool:
        """Whether sending a refresh token that is spent kills the grant's every token."""
        if self.reuse_ends_family is None:
            return self.profile in (Profile.FAMILY, Profile.GRACE)
        return self.reuse_ends_family

    @property
    def keeps_old_access_token(self) -> bool:
        """Whether the old access token stays good to its end after a refresh."""
        if self.old_access_token_lives is None:
            return self.profile is not Profile.IMMEDIATE
        return self.old_access_token_lives


DIALECTS: dict[str, dict[str, Any]] = {
    "doorkeeper": {},
    "event-temple": {"comma_scope": True, "sorted_scope": True},
    "atlassian": {"says_dead": "403 unauthorized_client"},
    "github": {"says_dead": "200 bad_refresh_token"},
    "oidc": {
        "json_bodies": False,
        "basic_and_body": False,
        "client_first": True,
        "scope_tested_first": True,
        "redirects_scope_errors": True,
        "created_at": False,
        "code_reuse_ends_grant": True,
        "mended_revocation": True,
        "hint_filters": False,
        "empty_revocation_body": True,
    },
}

SAYINGS = frozenset({"says_dead", "says_wrong_client", "says_too_many"})
_SAYING = re.compile(r"[1-5]\d\d( .*)?", re.DOTALL)
_NAMES = frozenset(field.name for field in fields(Habits))


def habits_for(profile: str = "on_use", dialect: str = "doorkeeper", **quirks: Any) -> Habits:
    """Make the habits of a dialect with a profile (`on_use`, `grace:45`, …) and single quirks changed.

    Raises:
        ValueError: the profile, the dialect or a quirk has no such name.
    """
    if dialect not in DIALECTS:
        message = f"no dialect {dialect!r}; there are {', '.join(DIALECTS)}"
        raise ValueError(message)
    return changed(Habits(), profile=profile, **(DIALECTS[dialect] | quirks))


def changed(habits: Habits, **changes: Any) -> Habits:
    """Copy habits with some of them changed; `profile` may carry its seconds, as in `grace:45`.

    Raises:
        ValueError: a name or the profile is unknown, or the seconds of `grace` are no number.
    """
    if unknown := sorted(changes.keys() - _NAMES):
        message = f"no habit named {', '.join(unknown)}; there are {', '.join(sorted(_NAMES))}"
        raise ValueError(message)
    for name in sorted(SAYINGS & changes.keys()):
        if not _SAYING.fullmatch(str(changes[name])):
            message = f"{name} is a status and an error, such as '403 unauthorized_client', or a status and a body"
            raise ValueError(message)
    if "profile" in changes:
        changes |= _read_profile(changes["profile"])
    return replace(habits, **changes)


def _read_profile(text: str) -> dict[str, Any]:
    name, _, seconds = text.partition(":")
    if name not in set(Profile) or (seconds and name != Profile.GRACE):
        there = "none, on_use, until_next_refresh, grace:SECONDS, immediate and family"
        message = f"no rotation profile {text!r}; there are {there}"
        raise ValueError(message)
    profile = {"profile": Profile(name)}
    return profile | ({"grace_seconds": float(seconds)} if seconds else {})
