"""What a user is told of each exception.

Ours say it themselves: a message, `next` and `error`, as models/errors.py has them. Those of libraries are listed here
by the names of their classes, so that this module imports neither the database nor the queue; a test resolves each.
"""

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import click

from tasks.policy.explanation.faults import NO_ROOM
from worker.cli.failures import ExitCode, Failure, misuse
from worker.cli.meant import is_alike

if TYPE_CHECKING:
    from tasks.runtime.disk import FullDisk

LOCKED = "55P03"  # SQLSTATE: lock_timeout ran out
READ_ONLY = "25006"  # a replica, or default_transaction_read_only
LEFT_OPEN = "25P03"  # idle_in_transaction_session_timeout ran out
ROOT = Path(__file__).resolve().parents[2]
# What a server says that answers and lets nobody in; at the connection libpq tells no SQLSTATE.
REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|(role|database) \".*\" does not exist"
    r"|is not permitted to log in|permission denied for database"
)
# The same of one that lets nobody more in, and of what libpq makes of a URL before it asks anybody.
CROWDED = re.compile(r"too many (clients|connections)|remaining connection slots are reserved")
MISWRITTEN = re.compile(
    r"invalid connection option|connection is bad: invalid |root certificate file .* does not exist"
)

# How a command ends, by the `error` of what ended it; with 1 where it is not named.
EXIT_CODES = {
    ExitCode.USAGE: {
        *("ambiguous_ref", "another_issuer", "no_callback", "no_database", "no_user", "provider", "settings"),
        *("ring_lost", "ring_missing", "ring_open", "state_for_another", "state_unknown"),
        *("host_not_allowed", "label_ambiguous", "label_missing", "label_unfit", "redirect_unfit", "ticket_refused"),
    },
    ExitCode.HUMAN: {"denied"},
    ExitCode.NOT_FOUND: {
        *("unknown_application", "unknown_client", "unknown_delivery", "unknown_provider", "unknown_ref"),
        *("unknown_ticket", "unknown_webhook"),
    },
    ExitCode.TRY_AGAIN: {
        *("credentials_unheard", "exchange_not_sent", "exchange_unclear", "not_running"),
        *("still_revoking", "still_starting", "too_many_tickets"),
    },
}

# The failures that a full disk may be the cause of: a server that does not answer, or that was not found.
OF_A_SERVER = {"database_away", "broker_away", "not_running"}


@runtime_checkable
class SaysItself(Protocol):
    """An exception of ours: its text is the message."""

    error: str
    next: str


def translate(error: BaseException) -> Failure:
    """Turn any exception into what the user is told."""
    return _of_a_full_disk(_translated(error))


def _translated(error: BaseException) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, SaysItself):
        return _ours(error)
    for kind in type(error).__mro__:
        told = FOREIGN.get(f"{kind.__module__}.{kind.__qualname__}")
        if told is not None:
            return told(error)
    return _unexpected(error)


def _of_a_full_disk(failure: Failure) -> Failure:
    """Name the disk first where it may be why nothing answers: seen here, or said by what answers at all.

    The code stays, for programs know it.
    """
    if failure.code not in OF_A_SERVER:
        return failure
    found = _full_disk()
    if found is None and NO_ROOM not in failure.message:
        return failure
    message = failure.message[:1].lower() + failure.message[1:]
    return Failure(
        code=failure.code,
        message=f"{'A disk of the machine that it runs on is full' if found is None else _sentence(found)}: {message}",
        next_step="make room there, then try again" if found is None else f"make room on {found.mount}, then try again",
        exit_code=failure.exit_code,
    )


def _sentence(told: object) -> str:
    return f"{str(told)[:1].upper()}{str(told)[1:]}"


def _full_disk() -> "FullDisk | None":
    """The disk of the home here, where it is full and the settings can be read."""
    import settings
    from tasks.runtime import disk

    try:
        return disk.full(settings.current().home)
    except settings.SettingsError:
        return None


def _ours(error: SaysItself) -> Failure:
    message = getattr(error, "message", None) or _first_line(error)
    return Failure(
        code=error.error,
        message=message[:1].upper() + message[1:],
        next_step=error.next,
        exit_code=next((code for code, errors in EXIT_CODES.items() if error.error in errors), ExitCode.FAILED),
    )


def _first_line(error: object) -> str:
    from worker.logs import scrub

    lines = str(error).strip().splitlines()
    return scrub(lines[0].strip()) if lines else type(error).__name__


def _usage(error: BaseException) -> Failure:
    assert isinstance(error, click.UsageError)  # noqa: S101  # for the type checker
    path = error.ctx.command_path if error.ctx else "evergrant"
    message = _no_such_option(error) if isinstance(error, click.NoSuchOption) else error.format_message()
    return Failure(
        code="usage",
        message=message,
        next_step=f"see `{path} --help`",
        exit_code=ExitCode.USAGE,
    )


def _no_such_option(error: click.NoSuchOption) -> str:
    """With what may be meant; click itself takes `--client` for what `--limit` means."""
    given = error.option_name.lstrip("-")
    near = [each for each in error.possibilities or () if is_alike(given, each.lstrip("-"))]
    return f"No such option: {error.option_name}" + (f" (did you mean {' or '.join(near)}?)" if near else "")


def _click(error: BaseException) -> Failure:
    assert isinstance(error, click.ClickException)  # noqa: S101  # for the type checker
    return Failure(code="failed", message=error.format_message(), next_step="mend that and run it again")


def _database_away(error: BaseException) -> Failure:
    reason = _first_line(getattr(error, "orig", None) or error)
    if getattr(getattr(error, "orig", None), "sqlstate", None) == LOCKED:
        return _locked()
    if MISWRITTEN.search(reason):
        return _miswritten(reason)
    if CROWDED.search(reason):
        return Failure(
            code="database_away",
            message=f"The database has no connection left ({reason})",
            next_step="see in pg_stat_activity who holds them, end what is not needed or raise max_connections, then"
            " try again",
            exit_code=ExitCode.TRY_AGAIN,
        )
    if REFUSED.search(reason):
        return Failure(
            code="database_refused",
            message=f"The database refused this login ({reason})",
            next_step="correct the user, the password or the database's name in EVERGRANT_DATABASE_URL",
            exit_code=ExitCode.USAGE,
        )
    return Failure(
        code="database_away",
        message=f"The database did not answer ({reason})",
        next_step="see that it runs and that EVERGRANT_DATABASE_URL is right, then try again",
        exit_code=ExitCode.TRY_AGAIN,
    )


def _locked() -> Failure:
    """Name who it is, where that can be seen: at night nobody reads pg_stat_activity gladly."""
    from models import lock_holder

    held = "Somebody's open transaction holds what this command needs"
    try:
        found = lock_holder.holder_now()
    except Exception:  # noqa: BLE001  # it is told without
        found = None
    return Failure(
        code="locked",
        message=held if found is None else f"{held} ({found})",
        next_step="see who in pg_stat_activity, have it committed or rolled back, then try again"
        if found is None
        else f"{found.remedy}; then try again",
        exit_code=ExitCode.TRY_AGAIN,
    )


def _miswritten(reason: str) -> Failure:
    return Failure(
        code="settings",
        message=f"EVERGRANT_DATABASE_URL cannot be used ({reason})",
        next_step="correct what stands behind its `?`; libpq's parameters are meant",
        exit_code=ExitCode.USAGE,
    )


def _database_refused(error: BaseException) -> Failure:
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    if MISWRITTEN.search(_first_line(cause)):
        return _miswritten(_first_line(cause))
    if state in {"42P01", "3F000", "42703", "42883"}:  # no such table, schema, column, function
        return Failure(
            code="schema_behind",
            message="The database does not have the tables of this release",
            next_step="run `evergrant db upgrade`",
        )
    if state == "42501":
        return Failure(
            code="not_permitted",
            message=f"The database refused this role ({_first_line(cause)})",
            next_step="use a role that owns the schema `evergrant`, or ask its owner",
        )
    return _unexpected(error)


def _transaction_ended(error: BaseException) -> Failure:
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state == READ_ONLY:
        return Failure(
            code="database_read_only",
            message="The database takes no write: it is a replica, or was made read-only",
            next_step="see which with `evergrant db check`",
            exit_code=ExitCode.TRY_AGAIN,
        )
    if state == LEFT_OPEN:
        return Failure(
            code="database_away",
            message="The database has ended this command, for nobody read on for too long",
            next_step="run it again, and lead into a file what is to be looked at for long",
            exit_code=ExitCode.TRY_AGAIN,
        )
    return _unexpected(error)


def _broker_away(error: BaseException) -> Failure:
    return Failure(
        code="broker_away",
        message=f"The broker did not answer ({_first_line(error)})",
        next_step="see that it runs and that EVERGRANT_BROKER_URL is right, then try again",
        exit_code=ExitCode.TRY_AGAIN,
    )


def _aborted(error: BaseException) -> Failure:
    del error
    return Failure(code="aborted", message="Nothing was done", next_step="answer y to go on, or give --yes")


def _interrupted(error: BaseException) -> Failure:
    del error
    return Failure(
        code="interrupted",
        message="Interrupted",
        next_step="what was done so far is kept, run it again to go on",
        exit_code=ExitCode.INTERRUPTED,
    )


def _file(error: BaseException) -> Failure:
    assert isinstance(error, OSError)  # noqa: S101  # for the type checker
    name = f" {error.filename}" if error.filename else ""
    return Failure(
        code="file",
        message=f"Cannot use{name}: {error.strerror or error}",
        next_step="mend that and run it again",
    )


def _not_text(error: BaseException) -> Failure:
    """Bytes that were typed reach the database as UTF-8; what is shown, a terminal as its own encoding."""
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101  # for the type checker
    if error.encoding == "utf-8":
        return misuse(message="Something that was typed is not UTF-8 text", next_step="type it as UTF-8")
    return misuse(
        message=f"The terminal's encoding, {error.encoding}, lacks a sign that is to be shown",
        next_step="set PYTHONIOENCODING=utf-8, or a locale of UTF-8",
    )


def _unexpected(error: BaseException) -> Failure:
    """Name the place, not the message: a message may repeat a value that is secret."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(str(ROOT)) and "site-packages" not in f.filename]
    place = f" in {Path(ours[-1].filename).relative_to(ROOT)}:{ours[-1].lineno}" if ours else ""
    return Failure(
        code="internal",
        message=f"This should not have happened: {type(error).__name__}{place}",
        next_step="set EVERGRANT_LOG_LEVEL=DEBUG to see the traceback, and please report it",
    )


FOREIGN: dict[str, Callable[[BaseException], Failure]] = {
    "click.exceptions.UsageError": _usage,
    "click.exceptions.ClickException": _click,
    "click.exceptions.Abort": _aborted,
    "builtins.KeyboardInterrupt": _interrupted,
    "builtins.OSError": _file,
    "builtins.UnicodeEncodeError": _not_text,
    "sqlalchemy.exc.OperationalError": _database_away,
    "sqlalchemy.exc.InterfaceError": _database_away,
    "sqlalchemy.exc.TimeoutError": _database_away,
    "sqlalchemy.exc.ProgrammingError": _database_refused,
    "sqlalchemy.exc.InternalError": _transaction_ended,
    "psycopg.OperationalError": _database_away,
    "redis.exceptions.RedisError": _broker_away,
    "kombu.exceptions.OperationalError": _broker_away,
}
