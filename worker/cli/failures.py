"""What a command says when it cannot do its work: one sentence, what to do next, and an exit code.

A command raises `Failure`. Every other exception is translated here, by the name of its class, so that this
module imports neither the database nor the queue; a test resolves each name.
"""

import json
import traceback
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]


class ExitCode(IntEnum):
    """How `evergrant` ends."""

    DONE = 0
    FAILED = 1  # it did not work, or a check found something
    USAGE = 2  # the command line or a setting is wrong
    HUMAN = 3  # a human must act: needs_consent, a dead letter
    NOT_FOUND = 4  # no such ref, client, letter …
    INTERRUPTED = 130  # Ctrl-C
    BROKEN_PIPE = 141  # whoever read our output left, as `| head` does
    TRY_AGAIN = 75  # the database or the provider is away, or `--timeout` ran out


class Failure(Exception):
    """A command cannot do its work: `message` says why, `next_step` what to do; told as one sentence.

    `code` is for programs: lower case, never changed once released.
    """

    def __init__(self, *, code: str, message: str, next_step: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code
        self.message = message.rstrip(".")
        self.next_step = next_step.rstrip(".")
        self.exit_code = exit_code

    def sentence(self) -> str:
        """The one line for a human."""
        return f"evergrant: {self.message}; {self.next_step}."

    def as_json(self) -> str:
        """The one object for a program."""
        return json.dumps({"error": self.code, "message": f"{self.message}.", "next": f"{self.next_step}."})


def misuse(*, message: str, next_step: str, code: str = "usage") -> Failure:
    """Make the failure of a wrong command line, file or setting: exit code 2."""
    return Failure(code=code, message=message, next_step=next_step, exit_code=ExitCode.USAGE)


def tell(failure: Failure, *, as_json: bool) -> None:
    """Write the failure to standard error."""
    click.echo(failure.as_json() if as_json else failure.sentence(), err=True)


def translate(error: BaseException) -> Failure:
    """Turn any exception into what the user is told."""
    if isinstance(error, Failure):
        return error
    for kind in type(error).__mro__:
        told = TRANSLATIONS.get(f"{kind.__module__}.{kind.__qualname__}")
        if told is not None:
            return told(error)
    return _unexpected(error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _usage(error: BaseException) -> Failure:
    assert isinstance(error, click.UsageError)  # noqa: S101  # for the type checker
    path = error.ctx.command_path if error.ctx else "evergrant"
    return Failure(
        code="usage",
        message=error.format_message(),
        next_step=f"see `{path} --help`",
        exit_code=ExitCode.USAGE,
    )


def _click(error: BaseException) -> Failure:
    assert isinstance(error, click.ClickException)  # noqa: S101  # for the type checker
    return Failure(code="failed", message=error.format_message(), next_step="mend that and run it again")


def _settings(error: BaseException) -> Failure:
    return Failure(
        code="settings",
        message=str(error),
        next_step="correct the environment; docs/reference/settings.md lists every variable",
        exit_code=ExitCode.USAGE,
    )


def _database_away(error: BaseException) -> Failure:
    reason = _first_line(getattr(error, "orig", None) or error)
    return Failure(
        code="database_away",
        message=f"The database did not answer ({reason})",
        next_step="see that it runs and that EVERGRANT_DATABASE_URL is right, then try again",
        exit_code=ExitCode.TRY_AGAIN,
    )


def _database_refused(error: BaseException) -> Failure:
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
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


def _unknown_ref(error: BaseException) -> Failure:
    refs = getattr(error, "refs", [])
    return Failure(
        code="unknown_ref",
        message=f"There is no grant {', '.join(map(repr, refs))}",
        next_step="see `evergrant grants list`",
        exit_code=ExitCode.NOT_FOUND,
    )


def _ambiguous_ref(error: BaseException) -> Failure:
    clients = ", ".join(getattr(error, "clients", []))
    return misuse(
        code="ambiguous_ref",
        message=f"The ref {getattr(error, 'ref', '')!r} belongs to several clients: {clients}",
        next_step="add --client NAME",
    )


def _unknown_client(error: BaseException) -> Failure:
    known = ", ".join(getattr(error, "known", []))
    return Failure(
        code="unknown_client",
        message=f"There is no client {getattr(error, 'name', '')!r}" + (f"; there are: {known}" if known else ""),
        next_step="see `evergrant clients list`",
        exit_code=ExitCode.NOT_FOUND,
    )


def _client_exists(error: BaseException) -> Failure:
    return Failure(
        code="client_exists",
        message=f"There is a client {str(error)!r} already",
        next_step="choose another name, or change it with `evergrant clients set`",
    )


def _unknown_provider(error: BaseException) -> Failure:
    return Failure(
        code="unknown_provider",
        message=_capital(error),
        next_step="see `evergrant providers list`",
        exit_code=ExitCode.NOT_FOUND,
    )


def _oauth(error: BaseException) -> Failure:
    return misuse(code="provider", message=_capital(error), next_step="correct that and run it again")


def _keys(error: BaseException) -> Failure:
    return Failure(code="keys", message=_capital(error), next_step="see `evergrant keys list` and correct the key ring")


def _newer_database(error: BaseException) -> Failure:
    return Failure(
        code="database_newer", message=_first_line(error).split(":")[0], next_step="install that release here, too"
    )


def _not_upgraded(error: BaseException) -> Failure:
    del error
    return Failure(
        code="schema_behind",
        message="The database lacks tables of this release",
        next_step="run `evergrant db upgrade`",
    )


def _no_database(error: BaseException) -> Failure:
    del error
    return misuse(
        code="no_database",
        message="No database is known",
        next_step="start `evergrant up`, or set EVERGRANT_DATABASE_URL",
    )


def _embedded(error: BaseException) -> Failure:
    return Failure(
        code=_snake(type(error).__name__),
        message=getattr(error, "message", str(error)),
        next_step=getattr(error, "next_step", "start `evergrant up`"),
    )


def _still_starting(error: BaseException) -> Failure:
    told = _embedded(error)
    told.exit_code = ExitCode.TRY_AGAIN
    return told


def _capital(error: BaseException) -> str:
    line = _first_line(error)
    return line[:1].upper() + line[1:]


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _file(error: BaseException) -> Failure:
    assert isinstance(error, OSError)  # noqa: S101  # for the type checker
    name = f" {error.filename}" if error.filename else ""
    return Failure(
        code="file",
        message=f"Cannot use{name}: {error.strerror or error}",
        next_step="mend that and run it again",
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


TRANSLATIONS: dict[str, Callable[[BaseException], Failure]] = {
    "click.exceptions.UsageError": _usage,
    "click.exceptions.ClickException": _click,
    "click.exceptions.Abort": _aborted,
    "builtins.KeyboardInterrupt": _interrupted,
    "builtins.OSError": _file,
    "settings.SettingsError": _settings,
    "models.reading.UnknownRef": _unknown_ref,
    "models.reading.AmbiguousRef": _ambiguous_ref,
    "models.reading.UnknownClient": _unknown_client,
    "models.operating.ClientExists": _client_exists,
    "models.keys.VaultError": _keys,
    "models.database.DatabaseNotConfigured": _no_database,
    "models.migrations.NewerDatabase": _newer_database,
    "models.migrations.NotUpgraded": _not_upgraded,
    "tasks.oauth.errors.UnknownProvider": _unknown_provider,
    "tasks.oauth.errors.OAuthError": _oauth,
    "worker.embedded.errors.StillStarting": _still_starting,
    "worker.embedded.errors.EmbeddedError": _embedded,
    "sqlalchemy.exc.OperationalError": _database_away,
    "sqlalchemy.exc.InterfaceError": _database_away,
    "sqlalchemy.exc.TimeoutError": _database_away,
    "sqlalchemy.exc.ProgrammingError": _database_refused,
    "psycopg.OperationalError": _database_away,
    "redis.exceptions.RedisError": _broker_away,
    "kombu.exceptions.OperationalError": _broker_away,
}
