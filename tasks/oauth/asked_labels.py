"""Asked labels: what an API's answer gives as labels, at the paths of the provider file. Pure.

A list gives several values, in its order and each once. It is a stranger's word, as a token answer's is: of what cannot
be a label whole nothing is kept, for half of a list would look like all of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tasks.oauth import kept
from tasks.oauth.addresses import Labels
from tasks.oauth.provider import Provider

MOST_VALUES: Final = 500  # of one label: every reader of a grant reads them all
MOST_TEXT: Final = 32 * 1024  # characters of them together
EVERY: Final = "*"


@dataclass(frozen=True, slots=True)
class Given:
    """The labels that an answer gives, with their values; and what cannot be one, with its code."""

    values: Mapping[str, list[str]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


NOTHING_GIVEN: Final = Given()


def read(provider: Provider, body: bytes, labels: Labels, *, hide: str) -> Given:
    """What an answer gives, whatever its bytes are; `hide`: the access token, which becomes no label."""
    members = kept.members_of(body)
    values: dict[str, list[str]] = {}
    refused: dict[str, str] = {}
    for label, path in provider.labels_at.items():
        found = [each for each in found_at(members, path) if each not in (None, "")]
        texts = [each for each in found if kept.is_fit(each) and hide not in each]
        code = "not_text" if len(texts) < len(found) else _fault(provider, label, _each_once(texts), labels)
        if code is not None:
            refused[label] = code
        elif texts:
            values[label] = _each_once(texts)
    return Given(values, refused)


def found_at(members: Any, path: str) -> list[Any]:
    """What stands at a path; a `*` in it is every element of a list."""
    places = [members]
    for step in path.split("."):
        places = [inner for place in places for inner in _inside(place, step)]
    return places


def _inside(place: Any, step: str) -> Iterable[Any]:
    match place:
        case list() if step == EVERY:
            return place
        case list() if step.isdecimal() and int(step) < len(place):
            return [place[int(step)]]
        case dict() if step in place and step != EVERY:
            return [place[step]]
        case _:
            return []


def _each_once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _fault(provider: Provider, label: str, values: list[str], labels: Labels) -> str | None:
    """The code of why these are not kept, or None."""
    if len(values) > MOST_VALUES:
        return "too_many"
    if sum(map(len, values)) > MOST_TEXT:
        return "too_long"
    return kept.fault(provider, label, {**labels, label: values}) if values else None
