"""What a command works with that talks to the providers itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from settings import Settings
from tasks.runtime.runtime import Workplace
from worker.cli import keyrings


@contextmanager
def workplace(settings: Settings) -> Iterator[Workplace]:
    """Keys, transport and a journal of this process's own."""
    keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    place = Workplace.open(settings)
    try:
        yield place
    finally:
        place.close()
