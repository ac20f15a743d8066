"""`evergrant status`: the fleet at a glance, once or live."""

import json
import time
from datetime import timedelta
from typing import Any

import click
from sqlalchemy import Connection, RowMapping

from models.sealing import key_use
from models.states.client import ClientState
from models.states.grant import GrantStatus
from models.states.process import ProcessKind
from models.states.revocation import RevocationStatus
from models.views import fleet
from worker.cli import keyrings, output, session
from worker.cli.advice import advice
from worker.cli.arguments import Duration
from worker.cli.clients import state
from worker.cli.commands import Command
from worker.cli.output import json_option
from worker.cli.providers import rate
from worker.cli.status_view import live, rendered

FACTS = ("due", "under_way", "failing", "in_doubt", "suspect", "lapsed")
ENDING = ("10m", "20m", "40m")


@click.command(
    cls=Command,
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

    What needs a human comes first, with the next step; with --json it is `attention`. `chores_overdue` names periodic
    work (erasures, late grants, shredding) that was not done for three of its intervals, and for five minutes at least.
    """
    if not watch:
        found = snapshot()
        if as_json:
            output.one(found, as_json=True)
        else:
            rendered(found)
        return
    pause = max(interval.total_seconds(), 0.2)
    if as_json or not output.on_terminal():
        _print_again_and_again(pause, as_json=as_json)
    else:
        live(snapshot, pause=pause)


def snapshot() -> dict[str, Any]:
    """Everything that `status` shows, read in one transaction."""
    with session.reading() as connection:
        return _read(connection)


def _read(connection: Connection) -> dict[str, Any]:
    clock = fleet.clock(connection)
    clients = fleet.by_client(connection)
    processes = fleet.processes(connection)
    letters = fleet.open_dead_letters(connection)
    revocations = fleet.open_revocations(connection)
    orphaned = fleet.journals_waited_for(connection)
    overdue = fleet.overdue_chores(connection)
    found = {
        "at": clock["at"],
        "environment": clock["environment"],
        "grants": {name: sum(row[name] for row in clients) for name in GrantStatus},
        **{name: sum(row[name] for row in clients) for name in FACTS},
        "lateness_seconds": _seconds(max((r["lateness"] for r in clients if r["lateness"]), default=None)),
        "runway_seconds": _seconds(min((r["runway"] for r in clients if r["runway"]), default=None)),
        "ending": {name: sum(row[f"ending_{name}"] for row in clients) for name in ENDING},
        "dead_letters": letters,
        "revocations": {name: revocations.get(name, 0) for name in (RevocationStatus.QUEUED, RevocationStatus.DEAD)},
        "journals_waited_for": orphaned,
        "chores_overdue": [dict(row) for row in overdue],
        "missing_keys": keyrings.missing_keys(connection, key_use.missing_now),
        "clients": [_client(row) for row in clients],
        "processes": [dict(row) for row in processes],
    }
    return found | {"missing_keys": [what for what, _ in found["missing_keys"]], "attention": _attention(found)}


def _client(row: RowMapping) -> dict[str, Any]:
    what, reason = state(row)
    counts = {name: row[name] for name in (*GrantStatus, *FACTS)}
    return {
        "name": row["name"],
        "provider": row["provider"],
        "rate": rate(row["rate_per_minute"]),
        "state": what,
        "reason": reason,
        "paused_until": row["paused_until"],
        **counts,
        "lateness_seconds": _seconds(row["lateness"]),
        "runway_seconds": _seconds(row["runway"]),
        "ending": {name: row[f"ending_{name}"] for name in ENDING},
    }


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 1)


def _needing_consent(grants: int) -> str:
    return f"{_many(grants, 'grant')} {'needs its user' if grants == 1 else 'need their users'} to consent again"


def _attention(found: dict[str, Any]) -> list[dict[str, str]]:
    """What needs a human, each with the next step; a list of checks."""
    alive = {kind: [p for p in found["processes"] if p["kind"] == kind and p["alive"]] for kind in ProcessKind}
    letters = sum(found["dead_letters"].values())
    checks = [
        (
            not alive[ProcessKind.BEAT],
            "no beat is alive: nothing is claimed",
            "start `evergrant up` or `evergrant beat`",
        ),
        (
            not alive[ProcessKind.WORKER],
            "no worker is alive: nothing is sent",
            "start `evergrant up` or `evergrant worker`",
        ),
        (letters > 0, f"{_many(letters, 'dead letter')} open", "evergrant dead-letters list"),
        (
            found["grants"][GrantStatus.NEEDS_CONSENT] > 0,
            _needing_consent(found["grants"][GrantStatus.NEEDS_CONSENT]),
            "evergrant grants list --status needs_consent",
        ),
        (
            found["lapsed"] > 0,
            f"{_many(found['lapsed'], 'access token')} lapsed although kept warm",
            "evergrant grants list --due-within 0s",
        ),
        (
            found["journals_waited_for"] > 0,
            f"grants in doubt wait for {_many(found['journals_waited_for'], 'journal')} that nobody holds",
            "start a worker on that machine: evergrant journals list",
        ),
        (
            bool(found["chores_overdue"] and alive[ProcessKind.BEAT] and alive[ProcessKind.WORKER]),
            f"periodic work is not done: {', '.join(map(_last_done, found['chores_overdue']))}",
            "search the workers' logs for evergrant.upkeep",
        ),
    ]
    clients = [
        (f"{each['name']} is {each['state']}: {each['reason']}", _client_step(each))
        for each in found["clients"]
        if each["state"] != ClientState.OPEN
    ]
    told = [(what, step) for applies, what, step in checks if applies] + found["missing_keys"] + clients
    return [{"what": what, "next": step} for what, step in told]


def _last_done(chore: dict[str, Any]) -> str:
    return f"{chore['name']} ({'never' if chore['done_at'] is None else 'last ' + output.iso(chore['done_at'])})"


def _client_step(client: dict[str, Any]) -> str:
    match client["state"]:
        case ClientState.PAUSED:
            return f"evergrant clients resume {client['name']}"
        case ClientState.HOLDING:
            return f"evergrant clients accept-deaths {client['name']}"
        case _:
            told = advice(client["reason"], client=client["name"])
            return told or f"it opens by itself; see evergrant clients show {client['name']}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _print_again_and_again(pause: float, *, as_json: bool) -> None:
    """Print snapshots until somebody ends it: JSON Lines, or plain text with an empty line between."""
    while True:
        found = snapshot()
        if as_json:
            click.echo(json.dumps(output.plain(found)))
        else:
            rendered(found)
            click.echo()
        time.sleep(pause)
