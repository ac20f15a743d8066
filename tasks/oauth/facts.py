"""Facts: what a provider's file says of where it is known from, how sure that is, and what nobody has told."""

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tasks.oauth.provider import Provider


class Confidence(StrEnum):
    """How sure a fact is: its first word, surest first."""

    DOCUMENTED = "documented"  # the provider says so itself
    MEASURED = "measured"  # by us, on a real server
    SEEN = "seen in a client library"  # an official library, the server's source, or a client in wide use does so
    REPORTED = "reported"  # somebody says so
    GUESSED = "guessed"  # nobody knows: the cautious value, or the likely one


class Fact(NamedTuple):
    """Where one field's value is known from."""

    confidence: Confidence | None
    known_since: str  # a date in ISO 8601
    source: str


# What a keeper of grants needs to know, and the fields that tell it: one of them is enough.
ESSENTIAL: Final = {
    "rotation": ("rotation",),
    "refresh life": ("refresh_idle_days", "consent_days"),
    "access life": ("default_life_seconds",),
    "revocation": ("revoke_url",),
    "dead answer": ("answers",),
    "rate": ("rate", "rate_per_grant"),
}
WRITTEN = re.compile(rf"({'|'.join(Confidence)}) +(\d{{4}}-\d{{2}}-\d{{2}}) +(.+)", re.DOTALL)


def read(fact: str) -> Fact:
    """Read `documented 2026-11-28 https://…`; what is written otherwise is all source, of no known confidence."""
    found = WRITTEN.fullmatch(fact)
    return Fact(None, "", fact) if found is None else Fact(Confidence(found[1]), found[2], found[3])


def is_known(provider: "Provider", field: str) -> bool:
    """Whether the file says what a field is, as more than a guess; a fact may tell that there is nothing to set."""
    if field in provider.facts:
        return read(provider.facts[field]).confidence is not Confidence.GUESSED
    return field in provider.model_fields_set


def unknown(provider: "Provider") -> list[str]:
    """Name what is essential and not known of a provider."""
    return [thing for thing, fields in ESSENTIAL.items() if not any(is_known(provider, each) for each in fields)]
