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

DEAREST_FIRST: Final = (
    "attacks/test_nothing_secret_is_told.py",
    "acceptance/test_dialects.py",
    "acceptance/test_restored_database.py",
    "acceptance/test_switching.py",
    "acceptance/test_disturbed.py",
    "acceptance/test_refused.py",
    "attacks/test_journals.py",
    "acceptance/test_upgrade.py",
    "acceptance/test_crash_loop.py",
    "simulation/test_simulation.py",
    "integration/test_simulation_twin.py",
    "acceptance/test_connecting_in_chromium.py",
    "acceptance/test_scripts.py",
    "acceptance/test_worn_machines.py",
    "attacks/test_webhooks.py",
    "acceptance/test_provider_faults.py",
    "acceptance/test_revocation.py",
    "acceptance/test_keeping_alive.py",
    "attacks/test_what_is_stolen.py",
    "acceptance/test_rate.py",
    "acceptance/test_explaining.py",
    "acceptance/test_races.py",
    "attacks/test_large_answers.py",
    "attacks/test_token_port.py",
    "attacks/test_locks.py",
    "acceptance/test_many_beats.py",
    "acceptance/test_cut_connections.py",
    "acceptance/test_plan.py",
    "acceptance/test_told.py",
    "acceptance/test_demo.py",
    "attacks/test_broker.py",
    "acceptance/test_erasure.py",
    "acceptance/test_herd.py",
    "acceptance/test_messages_and_rows.py",
    "acceptance/test_traces.py",
    "acceptance/test_examples.py",
)


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
