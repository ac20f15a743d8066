"""What a user is told of each exception: the one place that knows them all, by the names of their classes.

By name, so that this module imports neither the database nor the queue; a test resolves each name.
"""

import traceback
from collections.abc import Callable
from pathlib import Path

import click

from worker.cli.failures import ExitCode, Failure, misuse

ROOT = Path(__file__).resolve().parents[2]


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


def _application_exists(error: BaseException) -> Failure:
    return Failure(
        code="application_exists",
        message=f"There is an application {str(error)!r} already",
        next_step="choose another name, or remove it first with `evergrant apps remove`",
    )


def _unknown_application(error: BaseException) -> Failure:
    known = ", ".join(getattr(error, "known", []))
    return Failure(
        code="unknown_application",
        message=f"There is no application {getattr(error, 'name', '')!r}" + (f"; there are: {known}" if known else ""),
        next_step="see `evergrant apps list`",
        exit_code=ExitCode.NOT_FOUND,
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


def _not_the_owner(error: BaseException) -> Failure:
    del error
    return Failure(
        code="not_permitted",
        message="Only the owner of the schema `evergrant` can hand out rights to it",
        next_step='run it with the owner\'s EVERGRANT_DATABASE_URL, or `evergrant db roles | psql "$OWNER_DSN"`',
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
        code=snake(type(error).__name__),
        message=getattr(error, "message", str(error)),
        next_step=getattr(error, "next_step", "start `evergrant up`"),
    )


def _engines_away(error: BaseException) -> Failure:
    """The database is away, as it is where a URL leads to one that does not answer."""
    told = _embedded(error)
    told.exit_code = ExitCode.TRY_AGAIN
    return told


def _connect(error: BaseException) -> Failure:
    """A code flow that did not end in a grant, by the class of its error."""
    code = getattr(error, "code", "")
    message, next_step, exit_code = CONNECT[type(error).__name__]
    facts = {"code": code, "text": str(error)}
    return Failure(
        code=snake(type(error).__name__),
        message=message.format(**facts),
        next_step=next_step.format(**facts),
        exit_code=exit_code,
    )


CONNECT = {
    "NoCallback": (
        "This is no callback URL: it holds no state, or neither a code nor an error",
        "give the whole URL that the user came back to",
        ExitCode.USAGE,
    ),
    "StateUnknown": (
        "The state in this callback was not made here for this client, or is older than 15 minutes",
        "begin again with `evergrant grants connect` or `authorize-url`",
        ExitCode.USAGE,
    ),
    "StateForAnother": (
        "The state in this callback was made for another ref, {text}",
        "name that ref, or begin again for this one",
        ExitCode.USAGE,
    ),
    "StateUsed": (
        "This callback was used already, and a code is exchanged once",
        "begin again with `evergrant grants connect` or `authorize-url`",
        ExitCode.FAILED,
    ),
    "ClientPaused": (
        "This client is paused by an operator, so nothing is sent for it",
        "resume it with `evergrant clients resume`, then use the same callback URL",
        ExitCode.FAILED,
    ),
    "DatabaseUnfit": (
        "Nothing is sent from this database, because it is {code}: a copy, or one that has lost commits",
        "see `evergrant db check`, then use the same callback URL",
        ExitCode.FAILED,
    ),
    "StillRevoking": (
        "Revocation {text} of this ref has not ended, and it would kill a new consent, too",
        "wait for it: `evergrant revocations show {text}`",
        ExitCode.TRY_AGAIN,
    ),
    "Denied": (
        "The user or the provider said no ({text})",
        "ask the user, then begin again with `evergrant grants connect`",
        ExitCode.HUMAN,
    ),
    "ExchangeRefused": (
        "The provider refused to exchange the code ({code})",
        "check the client's id, secret and redirect URI with `evergrant clients show`, then begin again",
        ExitCode.FAILED,
    ),
    "ExchangeNotSent": (
        "The provider could not be asked ({code})",
        "run `evergrant grants exchange` with the same callback URL, or begin again",
        ExitCode.TRY_AGAIN,
    ),
    "ExchangeUnclear": (
        "The provider may have taken the code, and no token set came ({code})",
        "begin again with `evergrant grants connect` or `authorize-url`",
        ExitCode.TRY_AGAIN,
    ),
    "PairHeld": (
        "The provider gave the very pair that another ref holds: {text}",
        "use that ref, or revoke it before this user connects again",
        ExitCode.FAILED,
    ),
    "NoRefreshToken": (
        "The provider gave no refresh token, so this grant could not be kept alive",
        "ask for offline access in the provider file (scopes or authorize_parameters), then begin again",
        ExitCode.FAILED,
    ),
}


def _pair_shared(error: BaseException) -> Failure:
    return Failure(
        code="pair_shared",
        message=f"Another ref holds this very pair, {error}, and would be lost with it",
        next_step="choose a grant of its own; nothing was sent",
    )


def _journal(error: BaseException) -> Failure:
    return Failure(
        code="journal",
        message=_capital(error),
        next_step="make room in EVERGRANT_HOME, or see that it can be written; nothing was sent",
    )


def _capital(error: BaseException) -> str:
    line = _first_line(error)
    return line[:1].upper() + line[1:]


def snake(name: str) -> str:
    """A class's name as an error code: `StateUsed` is `state_used`."""
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
    "models.views.listing.UnknownRef": _unknown_ref,
    "models.views.listing.AmbiguousRef": _ambiguous_ref,
    "models.views.listing.UnknownClient": _unknown_client,
    "models.operator_actions.ClientExists": _client_exists,
    "models.application.ApplicationExists": _application_exists,
    "models.application.UnknownApplication": _unknown_application,
    "models.sealing.keys.VaultError": _keys,
    "models.database.DatabaseNotConfigured": _no_database,
    "models.migrations.NewerDatabase": _newer_database,
    "models.migrations.NotUpgraded": _not_upgraded,
    "models.roles.NotTheOwner": _not_the_owner,
    "tasks.oauth.errors.UnknownProvider": _unknown_provider,
    "tasks.oauth.errors.OAuthError": _oauth,
    "tasks.connect_errors.ConnectError": _connect,
    "tasks.settling.consent.ConsentError": _connect,
    "tasks.probes.rotation.PairShared": _pair_shared,
    "tasks.journal.errors.JournalError": _journal,
    "worker.embedded.errors.NotRunning": _engines_away,
    "worker.embedded.errors.StillStarting": _engines_away,
    "worker.embedded.errors.EmbeddedError": _embedded,
    "sqlalchemy.exc.OperationalError": _database_away,
    "sqlalchemy.exc.InterfaceError": _database_away,
    "sqlalchemy.exc.TimeoutError": _database_away,
    "sqlalchemy.exc.ProgrammingError": _database_refused,
    "psycopg.OperationalError": _database_away,
    "redis.exceptions.RedisError": _broker_away,
    "kombu.exceptions.OperationalError": _broker_away,
}
