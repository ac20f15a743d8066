"""The fleet at a glance: all that `status` and the fleet page show, read in one transaction."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from models.states.application import KeyState
from models.states.client import ClientState
from models.states.grant import GrantStatus
from models.states.process import ProcessKind
from tasks.runtime import disk
from worker.cli import keyrings, locks, provider_files
from worker.cli.attention import attention
from worker.cli.clients.drift import drift_of
from worker.cli.clients.record import pace, state
from worker.cli.clients.secrets import certificates_ending
from worker.cli.tickets import attention as customers
from worker.cli.units import rate
from worker.cli.webhooks import attention as webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, RowMapping

    from settings import Settings

FACTS = ("due", "under_way", "failing", "in_doubt", "suspect", "lapsed", "expiring")
ENDING = ("10m", "20m", "40m")


def read(
    connection: "Connection",
    settings: "Settings",
    *,
    sealed: bool = True,
    no_commit: "Callable[[], str | None] | None" = None,
) -> dict[str, Any]:
    """Everything, and what of it needs attention.

    `sealed`: whoever asks may read what is sealed; else nothing is said of keys that are missing and of certificates.
    `no_commit`: finds out why nothing is committed; asked where no beat or no worker says that it lives, as none can
    who cannot write.
    """
    from models.views import fleet

    clients, processes = fleet.by_client(connection), fleet.processes(connection)
    clock = fleet.clock(connection)
    found = {
        **_place(connection, settings, clock, uncommitted=lambda: _uncommitted(processes, no_commit)),
        **_grants(connection, clients),
        **_work(connection),
        **_keys(connection, settings, sealed=sealed),
        **_outside(connection, settings),
        **_trouble(connection),
        "clients": [_client(row, clock["at"]) for row in clients],
        "provider_files": provider_files.unusable(clients, settings) if sealed else [],
        "processes": _processes(connection, processes, sealed=sealed),
    }
    told: dict[str, Any] = {
        "full_disk": None if found["full_disk"] is None else str(found["full_disk"]),
        "missing_keys": [what for what, _ in found["missing_keys"]],
        "attention": [asdict(each) for each in attention(found)],
    }
    for each in found["processes"]:
        each["missing_keys"] = [what for what, _ in each["missing_keys"]]
    return found | told


def _place(
    connection: "Connection", settings: "Settings", clock: "RowMapping", *, uncommitted: "Callable[[], str | None]"
) -> dict[str, Any]:
    """Where this is, and whether anything can be written here."""
    from models import installation

    return {
        "at": clock["at"],
        "environment": clock["environment"],
        "environment_here": settings.environment,
        "full_disk": disk.full(settings.home),
        "database": installation.state(connection, settings.environment),
        "unwritable": installation.unwritable(connection) or uncommitted(),
        "lock_holder": locks.holder(connection),
        "database_name": clock["database_name"],
        "database_name_adopted": clock["adopted_name"],
    }


def _grants(connection: "Connection", clients: "Sequence[RowMapping]") -> dict[str, Any]:
    """How the grants of all clients are, and what ends first."""
    from models.views import expiring

    return {
        "grants": {name: sum(row[name] for row in clients) for name in GrantStatus},
        **{name: sum(row[name] for row in clients) for name in FACTS},
        "lateness_seconds": _seconds(max((r["lateness"] for r in clients if r["lateness"]), default=None)),
        "runway_seconds": _seconds(min((r["runway"] for r in clients if r["runway"]), default=None)),
        "ending": {name: sum(row[f"ending_{name}"] for row in clients) for name in ENDING},
        "first_expires_at": min((r["first_expires_at"] for r in clients if r["first_expires_at"]), default=None),
        "expiring_first": _row(expiring.first(connection)) if any(row["expiring"] for row in clients) else None,
    }


def _work(connection: "Connection") -> dict[str, Any]:
    """What was given up, or waits to be carried out."""
    from models import held_revocation
    from models.views import fleet

    revocations = fleet.open_revocations(connection)
    return {
        "dead_letters": fleet.open_dead_letters(connection),
        "revocations": {name: revocations.get(name, 0) for name in ("queued", "dead", "held")},
        "revocations_held": [asdict(each) for each in held_revocation.held(connection)],
        "journals_waited_for": fleet.journals_waited_for(connection),
        "journals_damaged": [dict(row) for row in fleet.damaged_journals(connection)],
        "chores_overdue": [dict(row) for row in fleet.overdue_chores(connection)],
    }


def _keys(connection: "Connection", settings: "Settings", *, sealed: bool) -> dict[str, Any]:
    """What opens nothing, or soon will not."""
    from models.sealing import key_use
    from models.views import fleet

    return {
        "missing_keys": keyrings.missing_keys(connection, key_use.missing_now) if sealed else [],
        "secrets_refused": [dict(row) for row in fleet.secrets_refused(connection)],
        "certificates_ending": _certificates_ending(connection, settings) if sealed else [],
        "application_keys_ending": _application_keys_ending(connection),
    }


def _outside(connection: "Connection", settings: "Settings") -> dict[str, Any]:
    """Whom it concerns beyond operators: the receivers of webhooks, and customers who connect."""
    from models import public_listener, webhook
    from models.views import visits

    return {
        "webhooks": webhooks.shown(webhook.listed(connection)),
        "visits_waiting": customers.waiting(visits.waiting(connection, longer_than=customers.LONG)),
        "visits_failed": customers.failed(visits.hour(connection)),
        "public_listener": customers.listener(public_listener.known(connection), settings.public_url),
    }


def _trouble(connection: "Connection") -> dict[str, Any]:
    """What goes wrong with many, by its cause."""
    from models.views import fleet, unconfirmed

    return {
        "untaken": dict(fleet.untaken(connection)),
        "causes": [dict(row) for row in fleet.failing(connection)],
        "unconfirmed": [dict(row) for row in unconfirmed.failing(connection)],
        "suspects": [dict(row) for row in fleet.suspects(connection)],
    }


def _uncommitted(processes: "Sequence[RowMapping]", no_commit: "Callable[[], str | None] | None") -> str | None:
    alive = {each["kind"] for each in processes if each["alive"]}
    if no_commit is None or alive >= {ProcessKind.BEAT, ProcessKind.WORKER}:
        return None
    return no_commit()


def _processes(connection: "Connection", rows: "list[RowMapping]", *, sealed: bool) -> list[dict[str, Any]]:
    missing = keyrings.missing_keys_of(connection, rows) if sealed else [[] for _ in rows]
    return [dict(row) | {"missing_keys": lacking} for row, lacking in zip(rows, missing, strict=True)]


def _certificates_ending(connection: "Connection", settings: "Settings") -> list[dict[str, Any]]:
    from models.sealing.vault import KeysError

    try:
        return certificates_ending(connection, keyrings.vault(), settings)
    except KeysError:
        return []  # told with the keys that are missing


def _application_keys_ending(connection: "Connection") -> list[dict[str, Any]]:
    from models import application

    rows = [row for row in application.listed(connection) if row["state"] != KeyState.OPENS]
    return [{"name": row["name"], "state": row["state"], "expires_at": row["expires_at"]} for row in rows]


def _client(row: "RowMapping", at: datetime) -> dict[str, Any]:
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
        "backlog": _backlog(row, at) if what == ClientState.OPEN else None,
        **counts,
        "lateness_seconds": _seconds(row["lateness"]),
        "runway_seconds": _seconds(row["runway"]),
        "ending": {name: row[f"ending_{name}"] for name in ENDING},
        "first_expires_at": row["first_expires_at"],
    }


def _row(row: "RowMapping | None") -> dict[str, Any] | None:
    return None if row is None else dict(row)


def _backlog(row: "RowMapping", at: datetime) -> dict[str, Any] | None:
    """What is due and waits for the client's rate or burst."""
    from tasks.policy.backlog import Waiting, backlog
    from tasks.policy.pace import Pace, allowed
    from tasks.policy.valve import Valve, interval

    slow = allowed(Pace(slowed_by=row["slowed_by"] or 0, slowed_from=row["slowed_from"]))
    found = backlog(
        Waiting(
            at=at,
            due=row["due"],
            late=row["lateness"] or timedelta(0),
            under_way=row["under_way"],
            burst=row["burst"],
            interval=interval(Valve(row["rate_per_minute"], row["burst"], at, 0, pace_per_minute=slow)),
            next_slot_at=row["next_slot_at"],
        )
    )
    return None if found is None else {"grants": row["due"], "last_turn_in_seconds": _seconds(found.last_turn)}


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 1)
