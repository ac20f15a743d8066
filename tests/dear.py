"""The dear files: those whose single tests take longest, the dearest first, so that a run begins with them.

Whoever runs tests side by side waits at the end for the last one: begun last, one of a minute is waited for by
processes that have nothing left to do. So they are begun first, and a thousand short ones fill what is left. A file's
tests stay together and in their order, for they may share what is dear to set up. Measured with `--durations=0`; a file
that is missing here is run where its name stands, and costs no more than a longer end.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol, TypeVar

TESTS: Final = Path(__file__).parent

DEAREST_FIRST: Final = ("acceptance/test_provider_faults.py",)


class Item(Protocol):
    """A test, as far as its place in the order goes."""

    @property
    def path(self) -> Path:
        """Its file."""


T = TypeVar("T", bound=Item)


def rank(item: Item) -> int:
    """The place of a test's file: those that are not dear come after all that are, as they stood."""
    return _PLACES.get(item.path, len(_PLACES))


_PLACES: Final = {TESTS / name: place for place, name in enumerate(DEAREST_FIRST)}


def dearest_first(items: Iterable[T]) -> list[T]:
    """Tests in the order in which they are begun; of one file they stay together, as they stood."""
    return sorted(items, key=rank)
