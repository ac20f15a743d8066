"""`evergrant db`: the tables, and which database this is."""

from dataclasses import asdict
from typing import Any

import click
from sqlalchemy import Connection, text

from models import database, installation, journal, migrations
from models.installation import Identity, adopt, adopted, observed, remember
from models.sealing import key_use
from models.states.installation import DatabaseState
from settings import Settings, unknown_variables
from worker.cli import keyrings, output, session
from worker.cli.arguments import confirm, yes_option
from worker.cli.commands import Command
from worker.cli.db_roles import roles
from worker.cli.failures import ExitCode, misuse
from worker.cli.output import Column, json_option

OLDEST_SERVER = 150000
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
FINDINGS = [Column("check"), Column("finding"), Column("next", spare=1)]


@click.group()
def db() -> None:
    """The tables in the database: upgrade, check, adopt, roles."""


db.add_command(roles)


@db.command(cls=Command, example="evergrant db upgrade")
@json_option
def upgrade(*, as_json: bool) -> None:
    """Bring the tables to this release; the first time, remember which database this is."""
    settings, environment = _named_environment()
    migrations.upgrade()
    with database.transaction() as connection:
        remember(connection, observed(connection, environment), who=settings.who)
        revision = migrations.current(connection)
    output.done({"revision": revision}, f"The database is at revision {revision}.", as_json=as_json)


@db.command("current", cls=Command, example="evergrant db current --json")
@json_option
def current_(*, as_json: bool) -> None:
    """Show the revision of the tables and the one that this release needs."""
    session.prepared()
    with database.transaction() as connection:
        found = {"revision": migrations.current(connection), "needed": migrations.HEAD}
    output.one(found, as_json=as_json)


@db.command(cls=Command, example="evergrant db check && echo fine")
@json_option
def check(*, as_json: bool) -> None:
    """Look for what would bite later; exit 1 where something was found."""
    _, environment = _named_environment()
    with database.transaction() as connection:
        findings = list(_findings(connection, environment))
    output.rows(findings, FINDINGS, as_json=as_json, nothing="Nothing was found: the database is fit.")
    if findings:
        raise click.exceptions.Exit(ExitCode.FAILED)


@db.command("adopt", cls=Command, example="evergrant db adopt")
@yes_option
@json_option
def adopt_(*, yes: bool, as_json: bool) -> None:
    """Declare that this restored or copied database is the one to work with from now on."""
    settings, environment = _named_environment()
    with session.transaction() as connection:
        here, before = observed(connection, environment), adopted(connection)
        state = installation.state(connection, environment)
    if state == DatabaseState.FIT:
        output.done(asdict(here), "This database is adopted already; nothing to do.", as_json=as_json)
        return
    if state == DatabaseState.REWOUND:
        _go_on_without(settings, here, yes=yes, as_json=as_json)
        return
    _show_both(before, here)
    confirm("Is every other copy stopped, and shall work go on in this one?", yes=yes)
    with session.transaction() as connection:
        adopt(connection, here, who=settings.who)
    output.done(asdict(here), f"Adopted as '{environment}'.", as_json=as_json)


def _go_on_without(settings: Settings, here: Identity, *, yes: bool, as_json: bool) -> None:
    """Give up the journals that an incident still waits for; the next look of a worker lets work go on."""
    with session.transaction() as connection:
        installation.raise_incident(connection, "timeline")
        awaited = installation.not_replayed(connection)
    for each in awaited:
        line = f"journal {each.id} of {each.host}, last seen {each.seen_at:%Y-%m-%d %H:%M:%SZ}, was not replayed"
        click.echo(line, err=True)
    if awaited:
        confirm("Commits may be missing. Are these journals gone for good, and shall work go on without?", yes=yes)
    with session.transaction() as connection:
        for each in awaited:
            journal.abandon(connection, each.id, by=settings.who)
    told = f"{len(awaited)} journals are given up; work goes on as soon as a worker has looked."
    output.done({**asdict(here), "abandoned": [each.id for each in awaited]}, told, as_json=as_json)


def _show_both(before: Identity | None, here: Identity) -> None:
    was = asdict(before) if before else {}
    records = [{"what": name, "adopted": was.get(name), "here": value} for name, value in asdict(here).items()]
    for record in records:
        mark = " " if record["adopted"] == record["here"] else "*"
        what = str(record["what"]).replace("_", " ")
        click.echo(f"{mark} {what:<18} {record['adopted'] or '-'}  →  {record['here']}", err=True)


def _named_environment() -> tuple[Settings, str]:
    """The settings and the environment's name, which a database of one's own needs.

    Raises:
        Failure: there is no name.

    """
    settings = session.prepared()
    if settings.environment is None:
        raise misuse(
            code="no_environment",
            message="A database of your own needs the name of its environment",
            next_step="set EVERGRANT_ENVIRONMENT, for example to production",
        )
    return settings, settings.environment


def _findings(connection: Connection, environment: str) -> list[dict[str, Any]]:
    found = [*_unknown_variables(), *_unfit_server(connection)]
    revision = migrations.current(connection)
    if revision is None:
        return [*found, _finding("tables", "there are none", "evergrant db upgrade")]
    try:
        migrations.require(connection)
    except migrations.NotUpgraded:
        found.append(_finding("tables", f"at {revision}, not {migrations.HEAD}", "evergrant db upgrade"))
    except migrations.NewerDatabase:
        found.append(_finding("tables", f"at {revision}, of a newer release", "install that release here"))
    else:
        found += [_finding("keys", what, remedy) for what, remedy in keyrings.missing_keys(connection, key_use.missing)]
    return [*found, *_foreign(connection, environment)]


def _unknown_variables() -> list[dict[str, Any]]:
    return [
        _finding("environment", f"{name} is no setting and is ignored", f"set {meant} instead" if meant else "unset it")
        for name, meant in unknown_variables().items()
    ]


def _unfit_server(connection: Connection) -> list[dict[str, Any]]:
    found = []
    version = connection.execute(text("show server_version_num")).scalar_one()
    if int(version) < OLDEST_SERVER:
        found.append(_finding("server", f"PostgreSQL {int(version) // 10000}", "use PostgreSQL 15 or newer"))
    off = [name for name in DURABLE if connection.execute(text(f"show {name}")).scalar_one() == "off"]
    return found + [
        _finding(name, "off: a crash loses committed token sets", f"set {name} = on in PostgreSQL") for name in off
    ]


def _foreign(connection: Connection, environment: str) -> list[dict[str, Any]]:
    here, before = observed(connection, environment), adopted(connection)
    if before is None:
        return [_finding("adopted", "no database was adopted", "evergrant db upgrade")]
    if installation.state(connection, environment) == DatabaseState.REWOUND:
        awaited = ", ".join(f"{each.id} of {each.host}" for each in installation.not_replayed(connection))
        remedy = "start a worker where they are; where one is gone for good: evergrant db adopt"
        return [_finding("commits", f"some may be missing; not replayed yet: journals {awaited or 'none'}", remedy)]
    different = before.differs_from(here)
    if not different:
        return []
    names = ", ".join(different).replace("_", " ")
    return [_finding("adopted", f"another {names} than was adopted", "evergrant db adopt")]


def _finding(check: str, finding: str, next_step: str) -> dict[str, Any]:
    return {"check": check, "finding": finding, "next": next_step}
