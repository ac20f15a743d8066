"""Valves as rows: read one for the policy, write one back, feed it with the ends of requests."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from models import claim, event, witness
from models import client as clients
from models.states.event import EventType
from tasks.policy import pace
from tasks.policy import valve as policy
from tasks.policy.pace import Pace
from tasks.policy.valve import Result, Sign, Valve

log = structlog.get_logger()

# A client that was never fed, or by the release before alone.
NO_WITNESS: dict[str, Any] = {
    "refused_since": None,
    "refused_code": None,
    "refused_grant_ids": [],
    "mixed_since": None,
    "mixed_grant_ids": [],
    "witness_at": None,
    "witness_grant_ids": [],
}
NOT_COLUMNS = {*NO_WITNESS, "pace_per_minute", "canary_has_lapsed"}
FIELDS = [field.name for field in fields(Valve) if field.name not in NOT_COLUMNS]
PACE_FIELDS = [field.name for field in fields(Pace)]


def of_row(row: Mapping[str, Any], witness: Mapping[str, Any] | None = None) -> Valve:
    """The valve of a row that holds the client's rate and burst, too; `witness`: its client's, where that matters."""
    known = NO_WITNESS if witness is None else witness
    slow = allowed(row if witness is None else witness)
    return policy.trued(
        Valve(
            **{name: row[name] for name in FIELDS},
            **{name: known[name] for name in NO_WITNESS},
            canary_has_lapsed=bool(row.get("canary_has_lapsed")),
            pace_per_minute=slow,
        )
    )


def allowed(row: Mapping[str, Any]) -> float | None:
    """Requests a minute of a row that holds its client's pace; None: as many as its rate allows."""
    by = row.get("slowed_by")
    return pace.allowed(Pace(slowed_by=by, slowed_from=row["slowed_from"])) if by else None


def pace_of(witness: Mapping[str, Any] | None) -> Pace:
    """The pace of a client, of the row of its witness."""
    return pace.FULL if witness is None else Pace(**{name: witness[name] for name in PACE_FIELDS})


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
        known = witnesses.get(client_id)
        before, pace_before = of_row(row, known), pace_of(known)
        after = policy.feed(before, ended, at=at)
        rate, seen = row["rate_per_minute"], after.witness_at
        pace_after = pace.feed(pace_before, ended, at=at, rate=rate, witness_at=seen)
        if (values := _of_witness(after, pace_after)) != _held_of(known):
            witness.write(connection, client_id, values)
        proven = credentials.get(client_id) if any(result.sign is Sign.GOOD for result in ended) else None
        write(connection, client_id, after, proven_no=proven, succeeded_at=at)
        _tell(connection, client_id, before, after, now)
        _tell_pace(connection, row, pace_before, pace_after, now=now)
        shut[client_id] = None if after.paused_until is None else max(after.paused_until - at, timedelta(0))
    return shut


def _of_witness(valve: Valve, slow: Pace) -> dict[str, Any]:
    return {name: getattr(valve, name) for name in NO_WITNESS} | {name: getattr(slow, name) for name in PACE_FIELDS}


def _held_of(known: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if known is None else {name: known[name] for name in (*NO_WITNESS, *PACE_FIELDS)}


def _tell(connection: Connection, client_id: int, before: Valve, after: Valve, now: datetime | None) -> None:
    if before.paused_until is None and after.paused_until is not None:
        until = after.paused_until.isoformat()
        event.of_client(
            connection, client_id, EventType.CLIENT_PAUSED, reason=after.pause_reason, data={"until": until}, now=now
        )
    elif before.paused_until is not None and after.paused_until is None:
        event.of_client(connection, client_id, EventType.CLIENT_RESUMED, reason=before.pause_reason, now=now)


def _tell_pace(
    connection: Connection, client: Mapping[str, Any], before: Pace, after: Pace, *, now: datetime | None
) -> None:
    """Tell each step in the log, and in the client's history when it begins and ends."""
    if before.slowed_by == after.slowed_by:
        return
    slow, client_id = pace.allowed(after), client["client_id"]
    code = after.slowed_code or before.slowed_code
    log.warning("client.pace", client=client["name"], requests_a_minute=slow, reason=code)
    if not before.slowed_by:
        data = {"requests_a_minute": slow}
        event.of_client(connection, client_id, EventType.CLIENT_SLOWED, reason=code, data=data, now=now)
    elif not after.slowed_by:
        event.of_client(connection, client_id, EventType.CLIENT_AT_FULL_PACE, reason=code, now=now)
