"""`evergrant status`: the fleet at a glance, once or live."""

import time
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from models.states.application import KeyState
from models.states.client import ClientState
from models.states.grant import GrantStatus
from models.states.installation import DatabaseState
from tasks.policy.advice import advice
from worker.cli import keyrings, output, session
from worker.cli.arguments import Duration
from worker.cli.clients.drift import drift_of, next_step, sentence
from worker.cli.clients.record import pace, state
from worker.cli.clients.secrets import certificates_ending
from worker.cli.commands import Command
from worker.cli.failures import ExitCode
from worker.cli.journals.list import mend
from worker.cli.output import json_option
from worker.cli.units import rate
from worker.cli.webhooks import attention as webhooks

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

FACTS = ("due", "under_way", "failing", "in_doubt", "suspect", "lapsed", "expiring")
ENDING = ("10m", "20m", "40m")


# What of `database` needs a human, and what to do.
UNFIT = {
    DatabaseState.COPIED: ("this database is a copy: nothing is sent from it", "evergrant db check"),
    DatabaseState.NOT_ADOPTED: ("nobody has adopted this database: nothing is sent from it", "evergrant db upgrade"),
    DatabaseState.REWOUND: ("commits may be missing: nothing is sent before all journals are", "evergrant db check"),
}


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

    What needs a human comes first, with the next step; with --json it is `attention`. `chores_overdue` names periodic
    work (erasures, late grants, shredding) that was not done for three of its intervals, and for five minutes at least.
    `journals_damaged` names journals that cannot be read, `revocations_held` what waits until somebody decides, and
    `database` says whether this is the one that was adopted. Where it is neither `fit` nor a `standby`, or one of those
    is there, it ends with exit code 1.
    """
    pause = max(interval.total_seconds(), 0.2)
    if not watch:
        found = snapshot()
        _print(found, as_json=as_json)
        if found["journals_damaged"] or found["revocations_held"] or found["database"] in UNFIT:
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
        "clients": [_client(row) for row in clients],
        "processes": [dict(row) for row in processes],
    }
    return found | {"missing_keys": [what for what, _ in found["missing_keys"]], "attention": _attention(found)}


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


def _needing_consent(grants: int) -> str:
    return f"{_many(grants, 'grant')} {'needs its user' if grants == 1 else 'need their users'} to consent again"


def _expiring(found: dict[str, Any]) -> str:
    first = output.iso(found["first_expires_at"]) if found["first_expires_at"] else "-"
    return f"{_many(found['expiring'], 'grant')} will end unless somebody does something, the first at {first}"


def _attention(found: dict[str, Any]) -> list[dict[str, str]]:
    """What needs a human, each with the next step; a list of checks."""
    alive = {kind: [p for p in found["processes"] if p["kind"] == kind and p["alive"]] for kind in ("beat", "worker")}
    letters = sum(found["dead_letters"].values())
    checks = [
        (found["database"] in UNFIT, *UNFIT.get(found["database"], ("", ""))),
        (not alive["beat"], "no beat is alive: nothing is claimed", "start `evergrant up` or `evergrant beat`"),
        (not alive["worker"], "no worker is alive: nothing is sent", "start `evergrant up` or `evergrant worker`"),
        (letters > 0, f"{_many(letters, 'dead letter')} open", "evergrant dead-letters list"),
        (
            found["grants"]["needs_consent"] > 0,
            _needing_consent(found["grants"]["needs_consent"]),
            "evergrant grants list --status needs_consent",
        ),
        (
            found["lapsed"] > 0,
            f"{_many(found['lapsed'], 'access token')} lapsed although kept warm",
            "evergrant grants list --due-within 0s",
        ),
        (
            found["expiring"] > 0,
            _expiring(found),
            "evergrant grants list --expiring-within 14d",
        ),
        (
            found["journals_waited_for"] > 0,
            f"grants in doubt wait for {_many(found['journals_waited_for'], 'journal')} that nobody holds",
            "start a worker on that machine: evergrant journals list",
        ),
        (
            bool(found["chores_overdue"] and alive["beat"] and alive["worker"]),
            f"periodic work is not done: {', '.join(map(_last_done, found['chores_overdue']))}",
            "search the workers' logs for evergrant.upkeep",
        ),
    ]
    clients = [
        (f"{each['name']} is {each['state']}: {each['reason']}", _client_step(each))
        for each in found["clients"]
        if each["state"] != ClientState.OPEN
    ] + [
        (
            f"{each['name']} goes at {each['pace']}: many are refused ({each['pace_reason']}) while others succeed",
            f"ask the provider for its limit: evergrant clients set {each['name']} --rate",
        )
        for each in found["clients"]
        if each["pace"] is not None
    ]
    drifted = [
        (f"{each['name']} has changed: {sentence(each['drift'][-1])}", next_step(each["name"], each["drift"]))
        for each in found["clients"]
        if each["drift"]
    ]
    damaged = [
        (f"journal {each['id']} of {each['host']} is damaged: {each['damage']}", mend(each["id"]))
        for each in found["journals_damaged"]
    ]
    told = [(what, step) for applies, what, step in checks if applies] + damaged + found["missing_keys"]
    told += _about_held_revocations(found) + _about_secrets(found) + clients + drifted
    told += webhooks.attention(found["webhooks"])
    return [{"what": what, "next": step} for what, step in told]


def _about_held_revocations(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            f"{_many(each['count'], 'revocation')} of {each['client']} held: {each['asked_by']} asked for very many",
            f"evergrant clients accept-revocations {each['client']}, or with --discard",
        )
        for each in found["revocations_held"]
    ]


def _about_secrets(found: dict[str, Any]) -> list[tuple[str, str]]:
    refused = [
        (
            f"{each['name']} goes on with its former secret: the new one was refused ({each['code']})",
            f"check it at the provider, then evergrant clients set-secret {each['name']}",
        )
        for each in found["secrets_refused"]
    ]
    ending = [
        (
            f"the certificate of {each['name']} ends {output.iso(each['ends_at'])}",
            f"evergrant clients set-secret {each['name']} --private-key-file FILE --certificate-file FILE",
        )
        for each in found["certificates_ending"]
    ]
    keys = [
        (
            f"the key of application {each['name']} {_ends(each['state'])} {output.iso(each['expires_at'])}",
            f"evergrant apps rotate {each['name']} --key-file FILE",
        )
        for each in found["application_keys_ending"]
    ]
    return refused + ending + keys


def _ends(state: str) -> str:
    return "ended" if state == KeyState.ENDED else "ends"


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
        _print(snapshot(), as_json=as_json)
        if not as_json:
            click.echo()
        time.sleep(pause)
