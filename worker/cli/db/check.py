"""`evergrant db check`: what would bite later."""

from typing import TYPE_CHECKING, Any

import click

from tasks.policy.explanation.machinery import of_a_copy
from worker.cli import keyrings, output, patience
from worker.cli.commands import Command
from worker.cli.db.environment import named_environment
from worker.cli.failures import ExitCode
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from sqlalchemy import Connection

OLDEST_SERVER = 150000
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
FINDINGS = [Column("check"), Column("finding"), Column("next", spare=1)]


@click.command(cls=Command, changes=False, example="evergrant db check && echo fine")
@json_option
def check(*, as_json: bool) -> None:
    """Look for what would bite later; exit 1 where something was found.

    It commits once, a record in PostgreSQL's log that changes no row: a database may answer, and commit nothing.
    """
    _, environment = named_environment()
    findings = patience.patiently(lambda: _found(environment))
    output.rows(findings, FINDINGS, as_json=as_json, nothing="Nothing was found: the database is fit.")
    if findings:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _found(environment: str) -> list[dict[str, Any]]:
    from models import database

    with database.transaction() as connection:
        return findings_of(connection, environment)


def findings_of(connection: "Connection", environment: str) -> list[dict[str, Any]]:
    """What would bite later, each with its next step."""
    from models import migrations
    from models.errors import NewerDatabase, NotUpgraded
    from models.sealing import key_use

    found = [*_unwritable(connection), *_unknown_variables(), *_unfit_server(connection)]
    revision = migrations.current(connection)
    if revision is None:
        return [*found, _finding("tables", "there are none", "evergrant db upgrade")]
    try:
        migrations.require(connection)
    except NotUpgraded:
        found.append(_finding("tables", f"at {revision}, not {migrations.HEAD}", "evergrant db upgrade"))
    except NewerDatabase:
        found.append(_finding("tables", f"at {revision}, of a newer release", "install that release here"))
    else:
        found += [_finding("keys", what, remedy) for what, remedy in keyrings.missing_keys(connection, key_use.missing)]
    return [*found, *_foreign(connection, environment)]


def _unwritable(connection: "Connection") -> list[dict[str, Any]]:
    """What comes first: a database that takes no write, by what it says of itself or by a commit that has no end."""
    from models import installation
    from models.states.installation import DatabaseState
    from tasks.policy.explanation.faults import mended
    from worker.cli.attention import UNFIT

    if installation.recovers(connection):
        return [_finding("writes", *UNFIT[DatabaseState.STANDBY])]
    fault = installation.unwritable(connection) or patience.no_commit()
    return [] if fault is None else [_finding("writes", f"{fault}: nothing is sent", mended(fault).remedy)]


def _unknown_variables() -> list[dict[str, Any]]:
    from settings import unknown_variables

    return [
        _finding("environment", f"{name} is no setting and is ignored", f"set {meant} instead" if meant else "unset it")
        for name, meant in unknown_variables().items()
    ]


def _unfit_server(connection: "Connection") -> list[dict[str, Any]]:
    from sqlalchemy import text

    found = []
    version = connection.execute(text("show server_version_num")).scalar_one()
    if int(version) < OLDEST_SERVER:
        found.append(_finding("server", f"PostgreSQL {int(version) // 10000}", "use PostgreSQL 15 or newer"))
    off = [name for name in DURABLE if connection.execute(text(f"show {name}")).scalar_one() == "off"]
    return found + [
        _finding(name, "off: a crash loses committed token sets", f"set {name} = on in PostgreSQL") for name in off
    ]


def _foreign(connection: "Connection", environment: str) -> list[dict[str, Any]]:
    from models import installation
    from models.installation import adopted, observed

    here, before = observed(connection, environment), adopted(connection)
    if before is None:
        return [_finding("adopted", "no database was adopted", "evergrant db upgrade")]
    if installation.state(connection, environment) == "rewound":
        awaited = ", ".join(f"{each.id} of {each.host}" for each in installation.not_replayed(connection))
        remedy = "start a worker where they are; where one is gone for good: evergrant db adopt"
        return [_finding("commits", f"some may be missing; not replayed yet: journals {awaited or 'none'}", remedy)]
    different = before.differs_from(here) + (["data_folder"] if installation.moved(connection) else [])
    if not different:
        return []
    names = ", ".join(different).replace("_", " ")
    remedy = of_a_copy(before.database_name, here.database_name)
    if different == ["environment"]:  # the wrong shell, most likely: adopted from there, everybody else is refused
        remedy = f"export EVERGRANT_ENVIRONMENT={before.environment}; only a copy is adopted"
    return [_finding("adopted", f"another {names} than was adopted", remedy)]


def _finding(check: str, finding: str, next_step: str) -> dict[str, Any]:
    return {"check": check, "finding": finding, "next": next_step}
