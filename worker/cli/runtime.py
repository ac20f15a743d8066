"""What a command works with that talks to the providers itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from settings import Settings
from tasks.runtime.runtime import Runtime
from worker.cli import keyrings, session


@contextmanager
def opened(settings: Settings) -> Iterator[Runtime]:
    """Keys, transport and a journal of this process's own."""
    session.require_own_database()
    keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    runtime = Runtime.open(settings)
    try:
        yield runtime
    finally:
        runtime.close()
