"""When a look of beat could find something: looks between those instants are left out."""

from datetime import datetime, timedelta

from tests.simulation.statements.claims import canary_lapses_at, is_claimed
from tests.simulation.tables import Row, Tables

TOLERANCE = timedelta(seconds=1)  # a slot may be taken so much earlier
YOUNGEST = timedelta(seconds=60)
NOT_WELL = timedelta(seconds=60)  # a refresh request for a grant that must get well first


def next_look(tables: Tables, client_id: int) -> datetime | None:
    """The next instant at which something of a client may be claimed, past or to come; None: nothing waits."""
    return min(_instants(tables, client_id), default=None)


def _instants(tables: Tables, client_id: int) -> list[datetime]:
    valve, client, agenda = tables.valves[client_id], tables.clients[client_id], tables.agenda(client_id)
    shut_until = valve["paused_until"] or tables.now
    shut_until = min(shut_until, canary_lapses_at(tables, valve) or shut_until)
    opens_at = max(shut_until, tables.now, valve["next_slot_at"] - TOLERANCE)
    found: list[datetime] = []
    for row in agenda.queued:
        grant = tables.grants[row["grant_id"]]
        found.append(max(row["due_at"], opens_at, grant["due_at"] if is_claimed(grant) else opens_at))
    if valve["paused_by_operator"]:
        return found
    if agenda.due_at is not None:
        found.append(max(agenda.due_at, opens_at))
    if client["grace"] is not None:  # a repeat in its grace goes ahead of the valve
        after = tables.now - client["grace"]
        found += [grant["due_at"] for grant in agenda.doubtful if _may_repeat(grant, after)]
    found += [max(_request_at(tables, each), opens_at) for each in tables.of_client("refresh_requests", client_id)]
    return found


def _may_repeat(grant: Row, after: datetime) -> bool:
    started, since = grant["started_at"], grant["doubt_since"]
    unended = started is not None and started > after
    return bool(unended or (since is not None and since > after and not grant["doubt_repeated"]))


def _request_at(tables: Tables, request: Row) -> datetime:
    """When a refresh request may be used, or is found void."""
    grant = tables.grants[request["grant_id"]]
    if grant["generation"] != request["generation"] or grant["status"] not in ("active", "paused"):
        return tables.now
    well = grant["failures"] == 0 and grant["suspect_at"] is None and grant["doubt_since"] is None
    if not well or grant["status"] == "paused" or grant["refreshed_at"] is None:
        return tables.now + NOT_WELL
    youngest = YOUNGEST if grant["life"] is None else min(YOUNGEST, grant["life"] / 4)
    old_enough_at: datetime = grant["refreshed_at"] + youngest
    return max(old_enough_at, grant["due_at"]) if is_claimed(grant) else old_enough_at
