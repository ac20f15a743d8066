"""Words of the public listener: what customers are told, in every language that it speaks.

`{title}` is whose page it is, `{provider}` where they sign in. Each saying is true whatever happened before it: it says
what is, and what to do. A language is a file of `sayings/`; a test holds them to each other.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent / "sayings"
ENGLISH: Final = "en"


@dataclass(frozen=True, slots=True)
class Saying:
    """One thing that is told: a heading, what is, what to do."""

    heading: str
    text: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its sayings, and the words on what can be pressed."""

    name: str
    go_on: str
    back: str
    sayings: Mapping[str, Saying]


def _read(name: str) -> Language:
    told = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
    sayings = {each: Saying(**said) for each, said in told.items() if isinstance(said, dict)}
    return Language(name, told["go_on"], told["back"], sayings)


LANGUAGES: Final = {name: _read(name) for name in (ENGLISH, "de")}


def language(locale: str | None, accepted: str = "") -> Language:
    """The language of a ticket, else the first that a browser accepts and we speak (RFC 9110 §12.5.4), else English."""
    for tag in (*filter(None, [locale]), *_accepted(accepted)):
        if (found := LANGUAGES.get(tag.replace("_", "-").partition("-")[0].lower())) is not None:
            return found
    return LANGUAGES[ENGLISH]


def _accepted(header: str) -> Iterator[str]:
    ranked = []
    for place, part in enumerate(header[:1000].split(",")):
        tag, _, rest = part.strip().partition(";")
        try:
            weight = float(rest.partition("=")[2] or 1)
        except ValueError:
            weight = 0.0
        ranked.append((-weight, place, tag.strip()))
    return (tag for weight, _, tag in sorted(ranked) if weight < 0)
