"""Valves as rows: read one for the policy, write one back, feed it with the ends of requests."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from models import claim, event, witness
from models import client as clients
from models.states.event import EventType
from tasks.policy import valve as policy
from tasks.policy.valve import Result, Sign, Valve

# A client that was never fed, or by the release before alone.
NO_WITNESS: dict[str, Any] = {
    "refused_since": None,
    "refused_code": None,
    "refused_grant_ids": [],
    "witness_at": None,
    "witness_grant_ids": [],
}
FIELDS = [field.name for field in fields(Valve) if field.name not in NO_WITNESS]


def of_row(row: Mapping[str, Any], witness: Mapping[str, Any] | None = None) -> Valve:
    """The valve of a row that holds the client's rate and burst, too; `witness`: its client's, where that matters."""
    known = NO_WITNESS if witness is None else witness
    return Valve(**{name: row[name] for name in FIELDS}, **{name: known[name] for name in NO_WITNESS})


def write(
    connection: Connection,
    client_id: int,
    valve: Valve,
    *,
    proven_no: int | None = None,
    succeeded_at: datetime | None = None,
) -> None:
    """Write a locked valve back, with what a success proves."""
    values = {name: getattr(valve, name) for name in FIELDS}
    claim.set_valve(connection, client_id, values, proven_no=proven_no, succeeded_at=succeeded_at)


def feed(
    connection: Connection,
    results: Mapping[int, Sequence[Result]],
    credentials: Mapping[int, int],
    *,
    now: datetime | None = None,
) -> dict[int, timedelta | None]:
    """Tell each client's valve how its requests ended; returns for how long each is shut now, None: open.

    `credentials`: the number of those that each client's success proves; a revocation's 200 proves none.
    """
    shut: dict[int, timedelta | None] = {}
    rows = clients.lock_valves(connection, list(results), now=now)
    witnesses = witness.read(connection, list(results))
    for row in rows:
        client_id, at, ended = row["client_id"], row["at"], results[row["client_id"]]
        before = of_row(row, witnesses.get(client_id))
        after = policy.feed(before, ended, at=at)
        _write_witness(connection, client_id, before, after)
        proven = credentials.get(client_id) if any(result.sign is Sign.GOOD for result in ended) else None
        write(connection, client_id, after, proven_no=proven, succeeded_at=at)
        _tell(connection, client_id, before, after, now)
        shut[client_id] = None if after.paused_until is None else max(after.paused_until - at, timedelta(0))
    return shut


def _write_witness(connection: Connection, client_id: int, before: Valve, after: Valve) -> None:
    values = {name: getattr(after, name) for name in NO_WITNESS}
    if values != {name: getattr(before, name) for name in NO_WITNESS}:
        witness.write(connection, client_id, values)


def _tell(connection: Connection, client_id: int, before: Valve, after: Valve, now: datetime | None) -> None:
    if before.paused_until is None and after.paused_until is not None:
        until = after.paused_until.isoformat()
        event.of_client(
            connection, client_id, EventType.CLIENT_PAUSED, reason=after.pause_reason, data={"until": until}, now=now
        )
    elif before.paused_until is not None and after.paused_until is None:
        event.of_client(connection, client_id, EventType.CLIENT_RESUMED, reason=before.pause_reason, now=now)
