"""How long a command that looks waits for the database, and whether that still commits.

`statement_timeout` helps nobody where the server's disk is frozen: there it is the server that does not come to ask
the time. So the database is spoken to on a thread that may be left behind.
"""

from collections.abc import Callable
from contextvars import copy_context
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, Generic, TypeVar

import click

from worker.cli.failures import ExitCode, Failure

T = TypeVar("T")

PATIENCE: Final = timedelta(seconds=10)  # after that it is asked whether anything is committed at all
COMMITS_WITHIN: Final = timedelta(seconds=5)
SILENT: Final = "database_silent"


class _Errand(Generic[T]):
    """Work on a thread of its own, in the context of whoever asks; what it gives or raises is fetched."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._ends: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        context, command = copy_context(), click.get_current_context(silent=True)

        def carry_out() -> None:
            try:
                if command is None:
                    self._ends.put((work(), None))
                else:
                    with command.scope(cleanup=False):
                        self._ends.put((work(), None))
            except BaseException as error:  # noqa: BLE001  # raised where it is fetched
                self._ends.put((None, error))

        # No end of the program waits for a daemon, which may hang for as long as the disk does.
        Thread(target=lambda: context.run(carry_out), name="errand", daemon=True).start()

    def end(self, within: timedelta) -> T:
        """What the work gave; raises what it raised, and `Empty` where it goes on."""
        found, error = self._ends.get(timeout=within.total_seconds())
        if error is not None:
            raise error
        return found  # type: ignore[return-value]


def patiently(look: Callable[[], T]) -> T:
    """What the look finds. A slow one on a database that commits is waited for: a great fleet takes its time.

    Raises:
        Failure: it has no end, and nothing is committed, either.

    """
    errand = _Errand(look)
    while True:
        try:
            return errand.end(PATIENCE)
        except Empty:
            why = no_commit()
        try:
            return errand.end(timedelta(milliseconds=1))
        except Empty:
            if why is not None:
                raise _silent(why) from None


def _silent(why: str) -> Failure:
    from tasks.policy.explanation.faults import mended

    waited = (PATIENCE + COMMITS_WITHIN).total_seconds()
    return Failure(
        code=SILENT,
        message=f"The database has not answered for {waited:g} s, and {why}",
        next_step=mended(why).remedy,
        exit_code=ExitCode.TRY_AGAIN,
    )


def no_commit() -> str | None:
    """Why the database commits nothing, found by a commit that changes no row; None where it does, or may not be asked.

    It is asked on a connection of its own: the one of a transaction that reads is busy.
    """
    from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

    from models.installation import COMMITS_NOTHING
    from worker.logs import scrub

    try:
        _Errand(_commit).end(COMMITS_WITHIN)
    except Empty:
        return f"{COMMITS_NOTHING} (no answer within {COMMITS_WITHIN.total_seconds():g} s)"
    except (OperationalError, InterfaceError) as error:
        lines = str(error.orig or error).strip().splitlines()
        return f"{COMMITS_NOTHING} ({scrub(lines[0]) if lines else type(error).__name__})"
    except SQLAlchemyError:
        return None  # this role may not ask
    return None


def _commit() -> None:
    import settings
    from models import database, installation

    url = settings.current().database_url
    assert url is not None  # noqa: S101  # whoever looks has prepared them
    engine = database.connect(url.get_secret_value())
    try:
        connection = engine.connect()
    except database.AWAY:  # as with too many connections: that says nothing of commits, and whoever reads tells it
        return
    try:
        with connection, connection.begin():
            installation.commit_nothing(connection)
    finally:
        engine.dispose()
