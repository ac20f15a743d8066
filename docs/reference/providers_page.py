"""The page of the catalogue, docs/reference/providers.md: made from the provider files by generate.py."""
# ruff: noqa: INP001  # beside a script, not a package

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path

from tasks.oauth import provider as files
from tasks.oauth.facts import Confidence, read, unknown
from tasks.oauth.fields import labels_of
from tasks.oauth.provider import BUNDLED, Provider
from tasks.oauth.rules import Means
from tasks.oauth.shapes import Presented, RevokeAuth

HEAD = """# Providers

What comes with Evergrant, and how much of it is known. `evergrant providers show NAME` tells every field with its
source. A [file of yours](provider-file.md) with the same name replaces one of these; a client may override single
fields. Nothing here was tried against the provider unless it says *measured*: where you know better, or a provider has
changed, write it down and tell us.

- **rotation** is what becomes of the old refresh token ([profiles](provider-file.md#refreshing)). Behind a `?` it is
  a guess: `family?` is the cautious profile, for a provider that ends the old one and does not say what its reuse does.
- **life** of a refresh token: without use, and from the consent on, whatever is done.
- **rules** are the provider's own words for *dead*, *throttled* and the like, beside those of RFC 6749.
- **confidence** counts facts: documented by the provider, measured by us, seen in a client library, reported by
  somebody, guessed.
- **unknown** is what a keeper of grants would like to know, and nobody has said.

Left out are those whose access tokens never end, so that there is nothing to refresh: Mailchimp, Intercom, Eventbrite,
and Stripe Connect.

| provider | host | rotation | access token | refresh token | client | revocation | rules | confidence | unknown |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
REVOKES_AS = {
    RevokeAuth.CLIENT: "",
    RevokeAuth.BASIC: ", by Basic",
    RevokeAuth.BODY: ", credentials in the body",
    RevokeAuth.BEARER: ", by the access token as bearer",
    RevokeAuth.SECRET: ", by the secret",
    RevokeAuth.NONE: ", without credentials",
}
LENGTHS = {"d": 86400, "h": 3600, "min": 60, "s": 1}


def page() -> str:
    """Make the whole page."""
    every = [files.load(name, folder=Path("/nowhere")) for name in files.names(folder=Path("/nowhere"))]
    rows = "\n".join(map(_row, every))
    return HEAD + rows + "\n\n" + "\n".join(map(_section, every))


def _row(provider: Provider) -> str:
    cells = (
        f"[`{provider.name}`](#{provider.name})",
        _host(provider),
        _rotation(provider),
        _length(provider.default_life_seconds) if _told(provider, "default_life_seconds") else "?",
        _refresh_life(provider),
        provider.auth,
        _revocation(provider),
        str(len(provider.answers) or ""),
        _confidences(provider),
        ", ".join(unknown(provider)),
    )
    return f"| {' | '.join(cells)} |"


def _told(provider: Provider, field: str) -> bool:
    return field in provider.model_fields_set or field in provider.facts


def _host(provider: Provider) -> str:
    if provider.token_url is None:
        return "the client's own"
    host = provider.token_url[: provider.token_url.find("/", len("https://"))]
    opened = labels_of(host if host.startswith("https://") else provider.token_url)
    return f"by label `{opened[0]}`" if opened else "one"


def _rotation(provider: Provider) -> str:
    known = "rotation" in provider.model_fields_set and "rotation" not in unknown(provider)
    seconds = f" {_length(provider.grace_seconds)}" if provider.grace is not None and provider.grace_seconds else ""
    return f"{provider.rotation}{seconds}{'' if known else '?'}"


def _refresh_life(provider: Provider) -> str:
    set_to = [
        f"{days:g} d {of}"
        for days, of in ((provider.refresh_idle_days, "unused"), (provider.consent_days, "from the consent"))
        if days is not None
    ]
    facts = provider.facts.get("refresh_idle_days")
    told = "" if facts is None or set_to else read(facts).source.partition(" (")[0].partition(":")[0]
    return ", ".join(set_to) or told or "?"


def _revocation(provider: Provider) -> str:
    if provider.revoke_url is None:
        return "none" if "revoke_url" in provider.facts else "?"
    named = "no token" if provider.revoke_token is Presented.NEITHER else f"the {provider.revoke_token} token"
    return f"{provider.revoke_method}, {named}{REVOKES_AS[provider.revoke_auth]}"


def _confidences(provider: Provider) -> str:
    counted = Counter(read(fact).confidence for fact in provider.facts.values())
    words = {Confidence.SEEN: "seen"}
    return ", ".join(f"{counted[each]} {words.get(each, each)}" for each in Confidence if counted[each])


def _length(seconds: float) -> str:
    unit, size = next((unit, size) for unit, size in LENGTHS.items() if seconds >= size)
    return f"{round(seconds / size, 1):g} {unit}"


def _section(provider: Provider) -> str:
    parts = [f"## {provider.name}", _comment(provider.name), *_words(provider)]
    return "\n\n".join([*parts, _sources(provider.facts)]) + "\n"


def _comment(name: str) -> str:
    """What the file says of the provider in its first lines."""
    lines = (BUNDLED / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("#"), lines))


def _words(provider: Provider) -> Iterator[str]:
    counted = {means: [rule for rule in provider.answers if rule.means is means] for means in Means}
    told = [
        f"*{means}* {', '.join(dict.fromkeys(_said(rule.where, rule.status) for rule in rules))}"
        for means, rules in counted.items()
        if rules
    ]
    if told:
        yield "Its words: " + "; ".join(told) + "."


def _said(where: Mapping[str, str], status: tuple[int | str, ...]) -> str:
    return f"`{' '.join(where.values()) if where else '/'.join(map(str, status))}`"


def _sources(facts: Mapping[str, str]) -> str:
    """Say from where what is known: fields of one source together."""
    told: dict[str, list[str]] = {}
    for field, fact in facts.items():
        told.setdefault(fact, []).append(f"`{field}`")
    return "\n".join(f"- {', '.join(fields)}: {fact}" for fact, fields in told.items())
