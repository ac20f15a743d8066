"""A word: a text with one meaning, told beside it, so that code, database, commands and docs have it from one place."""

from enum import StrEnum
from typing import Self


class Word(StrEnum):
    """Words of one kind, each written as `NAME = "word", "what it means"`; to everybody else it is plain text."""

    meaning: str

    def __new__(cls, word: str, meaning: str = "") -> Self:
        """Make a word that knows its meaning; `Kind("word")` finds the one that there is, and needs none."""
        made = str.__new__(cls, word)
        made._value_ = word
        made.meaning = meaning
        return made

    def __repr__(self) -> str:
        """As the plain text is shown: what prints a row shows the same, whether it was read or is to be written."""
        return repr(self.value)

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """Every word with what it means, as plain texts: for whoever lists them or lets one choose."""
        return {each.value: each.meaning for each in cls}
