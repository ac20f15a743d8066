"""`evergrant status`: the fleet at a glance, once or live."""

import time
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from models.states.application import KeyState
from models.states.grant import GrantStatus
from worker.cli import keyrings, output, session
from worker.cli.arguments import Duration
from worker.cli.attention import attention, needs_human
from worker.cli.clients.drift import drift_of
from worker.cli.clients.record import pace, state
from worker.cli.clients.secrets import certificates_ending
from worker.cli.commands import Command
from worker.cli.failures import ExitCode
from worker.cli.output import json_option
from worker.cli.units import rate
from worker.cli.webhooks import attention as webhooks

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

FACTS = ("due", "under_way", "failing", "in_doubt", "suspect", "lapsed", "expiring")
ENDING = ("10m", "20m", "40m")


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant status --watch
    evergrant status --json | jq .attention
    """,
)
@click.option("--watch", is_flag=True, help="Look again and again until Ctrl-C.")
@click.option("--interval", type=Duration(), default="2s", show_default=True, help="How often to look.")
@json_option
def status(*, watch: bool, interval: timedelta, as_json: bool) -> None:
    """The fleet at a glance.

    What is not well comes first, each with its cause and the next step; with --json it is `attention`, where `human`
    says whether somebody must act: then it ends with exit code 1. `causes` says what the grants of each client fail
    with, and since when, `suspects` which were refused once. `chores_overdue` names periodic work (erasures, late
    grants, shredding) that was not done for three of its intervals, and for five minutes at least. `journals_damaged`
    names journals that cannot be read, `revocations_held` what waits until somebody decides, and `database` says
    whether this is the one that was adopted.
    """
    pause = max(interval.total_seconds(), 0.2)
    if not watch:
        found = snapshot()
        _print(found, as_json=as_json)
        if needs_human(found):
            raise click.exceptions.Exit(ExitCode.FAILED)
    elif as_json or not output.on_terminal():
        _print_again_and_again(pause, as_json=as_json)
    else:
        from worker.cli.status_view import live

        live(snapshot, pause=pause)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.one(found, as_json=True)
        return
    from worker.cli.status_view import rendered

    rendered(found)


def snapshot() -> dict[str, Any]:
    """Everything that `status` shows, read in one transaction."""
    with session.reading() as connection:
        return _read(connection)


def _read(connection: "Connection") -> dict[str, Any]:
    from models import held_revocation, installation, webhook
    from models.sealing import key_use
    from models.views import fleet

    clock = fleet.clock(connection)
    clients = fleet.by_client(connection)
    processes = fleet.processes(connection)
    letters = fleet.open_dead_letters(connection)
    revocations = fleet.open_revocations(connection)
    held = held_revocation.held(connection)
    orphaned = fleet.journals_waited_for(connection)
    overdue = fleet.overdue_chores(connection)
    found = {
        "at": clock["at"],
        "environment": clock["environment"],
        "environment_here": session.prepared().environment,
        "database": installation.state(connection, session.prepared().environment),
        "grants": {name: sum(row[name] for row in clients) for name in GrantStatus},
        **{name: sum(row[name] for row in clients) for name in FACTS},
        "lateness_seconds": _seconds(max((r["lateness"] for r in clients if r["lateness"]), default=None)),
        "runway_seconds": _seconds(min((r["runway"] for r in clients if r["runway"]), default=None)),
        "ending": {name: sum(row[f"ending_{name}"] for row in clients) for name in ENDING},
        "first_expires_at": min((r["first_expires_at"] for r in clients if r["first_expires_at"]), default=None),
        "dead_letters": letters,
        "revocations": {name: revocations.get(name, 0) for name in ("queued", "dead", "held")},
        "revocations_held": [asdict(each) for each in held],
        "journals_waited_for": orphaned,
        "journals_damaged": [dict(row) for row in fleet.damaged_journals(connection)],
        "chores_overdue": [dict(row) for row in overdue],
        "missing_keys": keyrings.missing_keys(connection, key_use.missing_now),
        "secrets_refused": [dict(row) for row in fleet.secrets_refused(connection)],
        "certificates_ending": _certificates_ending(connection),
        "application_keys_ending": _application_keys_ending(connection),
        "webhooks": webhooks.shown(webhook.listed(connection)),
        "causes": [dict(row) for row in fleet.failing(connection)],
        "suspects": [dict(row) for row in fleet.suspects(connection)],
        "clients": [_client(row) for row in clients],
        "processes": [
            dict(row) | {"missing_keys": lacking}
            for row, lacking in zip(processes, keyrings.missing_keys_of(connection, processes), strict=True)
        ],
    }
    told = {
        "missing_keys": [what for what, _ in found["missing_keys"]],
        "attention": [asdict(each) for each in attention(found)],
    }
    for each in found["processes"]:
        each["missing_keys"] = [what for what, _ in each["missing_keys"]]
    return found | told


def _certificates_ending(connection: "Connection") -> list[dict[str, Any]]:
    from models.sealing.vault import KeysError

    try:
        return certificates_ending(connection, keyrings.vault(), session.prepared())
    except KeysError:
        return []  # told with the keys that are missing


def _application_keys_ending(connection: "Connection") -> list[dict[str, Any]]:
    from models import application

    rows = [row for row in application.listed(connection) if row["state"] != KeyState.OPENS]
    return [{"name": row["name"], "state": row["state"], "expires_at": row["expires_at"]} for row in rows]


def _client(row: "RowMapping") -> dict[str, Any]:
    what, reason = state(row)
    counts = {name: row[name] for name in (*GrantStatus, *FACTS)}
    return {
        "name": row["name"],
        "provider": row["provider"],
        "rate": rate(row["rate_per_minute"]),
        "pace": pace(row),
        "pace_reason": row["slowed_code"] if row["slowed_by"] else None,
        "state": what,
        "reason": reason,
        "paused_until": row["paused_until"],
        "rotation": row["rotation"],
        "drift": drift_of(row["drift"]),
        **counts,
        "lateness_seconds": _seconds(row["lateness"]),
        "runway_seconds": _seconds(row["runway"]),
        "ending": {name: row[f"ending_{name}"] for name in ENDING},
        "first_expires_at": row["first_expires_at"],
    }


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 1)


def _print_again_and_again(pause: float, *, as_json: bool) -> None:
    """Print snapshots until somebody ends it: JSON Lines, or plain text with an empty line between."""
    while True:
        _print(snapshot(), as_json=as_json)
        if not as_json:
            click.echo()
        time.sleep(pause)
