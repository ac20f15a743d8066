"""What the fleet page reads: lists by the page, each from where the last one ended; nothing is counted in passing.

A search goes through grants in the order of their refs, a number at a time, until a page is full or the time that it
may take is over: however few match, and however many there are, an answer comes at once, and says how far it looked.
It reads no sealed column.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from models.predicates import END_IS_ASKED_FOR, IS_LIVING, IS_STILL_HELD
from models.states.grant import GrantStatus
from models.views.listing import DEAD_LETTERS, GRANTS, REVOCATIONS, STATUS

STEP: Final = 10_000  # grants looked through by one statement
FIRST_STEP: Final = 1_000
LAST_CHARACTER: Final = 0x10FFFF
SURROGATES: Final = range(0xD800, 0xE000)

Key = tuple[str, UUID]
"""Where a page of grants ended: ref and id."""

# By the small indexes of them; where most of a fleet is so, in the order of the refs until the page is full.
CONDITIONS: Final = {
    "failing": "g.status = 'active' and g.failures > 0",
    "suspect": "g.status = 'active' and g.suspect_at is not null",
    "in_doubt": "g.status = 'active' and g.doubt_since is not null",
}
STATES: Final = (*GrantStatus, *CONDITIONS, "all")
IN_INDEX: Final = frozenset({None, GrantStatus.ACTIVE, GrantStatus.PAUSED, GrantStatus.NEEDS_CONSENT})
HAS_CAUSE: Final = """(g.reason = :cause
        or g.last_error_code = :cause and (g.failures > 0 or g.suspect_at is not null))"""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; `state`: a word of STATES, None: all that live; `label`: a name and one of its values."""

    prefix: str = ""
    client_id: int | None = None
    state: str | None = None
    label: tuple[str, str] | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of grants; `looked_at`: how many were looked through for it; `next`: where to go on, None: that is all."""

    rows: Sequence[RowMapping]
    looked_at: int
    next: Key | None


def grants(
    connection: Connection, search: Search, *, after: Key | None, most: int, enough: Callable[[], bool]
) -> Found:
    """A page of the grants that match, by ref; `enough`: whether the time is over, asked between two steps."""
    scope, filters, values = _conditions(connection, search)
    ids: list[UUID] = []
    looked, step, key = 0, FIRST_STEP if filters else most + 1, after
    while True:
        row = _step(connection, scope, filters, values, after=key, step=step, most=most + 1 - len(ids))
        ids, looked = [*ids, *row["ids"]], looked + row["looked"]
        key = (row["last_ref"], row["last_id"])
        if len(ids) > most:
            rows = _read(connection, ids[:most])
            return Found(rows, looked, (rows[-1]["ref"], rows[-1]["id"]))
        if row["looked"] < step:
            return Found(_read(connection, ids), looked, None)
        if enough():
            return Found(_read(connection, ids), looked, key)
        step = STEP


def _conditions(connection: Connection, search: Search) -> tuple[list[str], list[str], dict[str, Any]]:
    """What bounds the steps, by an index; what is asked of each grant in them; and the values of both."""
    scope, filters = [], []
    in_index = search.client_id is not None and search.state in IN_INDEX
    if in_index:
        scope += ["g.client_id = :client_id", IS_LIVING]
    elif search.client_id is not None:
        filters.append("g.client_id = :client_id")
    if search.state in CONDITIONS:
        scope.append(CONDITIONS[search.state])
    elif search.state is None and not in_index:
        filters.append(IS_LIVING)
    elif search.state in (GrantStatus.ACTIVE, GrantStatus.PAUSED, GrantStatus.NEEDS_CONSENT):
        filters.append(f"g.status = :state and not {END_IS_ASKED_FOR}")
    elif search.state in (GrantStatus.REVOKING, GrantStatus.REVOKED):
        filters.append(f"{STATUS} = :state")
    if search.label is not None:
        filters.append("g.labels @> cast(:label as jsonb)")
    if search.cause is not None:
        filters.append(HAS_CAUSE)
    bounds, values = _bounds(connection, search.prefix)
    values |= {"client_id": search.client_id, "state": search.state, "cause": search.cause}
    if search.label is not None:
        values["label"] = json.dumps({search.label[0]: [search.label[1]]})
    return scope + bounds, filters + (["starts_with(g.ref, :prefix)"] if search.prefix else []), values


def _bounds(connection: Connection, prefix: str) -> tuple[list[str], dict[str, Any]]:
    """Where the refs that begin with a prefix stand in the index; they end nowhere known in a language's own order."""
    if not prefix:
        return [], {}
    above = _above(prefix) if _sorts_by_code_point(connection) else None
    bounds = ["g.ref >= :prefix", *(["g.ref < :above"] if above else [])]
    return bounds, {"prefix": prefix, "above": above}


def _above(prefix: str) -> str | None:
    """The least text above all that begin with a prefix, by code points; None: there is none."""
    for cut in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[cut]) + 1
        if code <= LAST_CHARACTER:
            return prefix[:cut] + chr(SURROGATES.stop if code in SURROGATES else code)
    return None


def _sorts_by_code_point(connection: Connection) -> bool:
    query = """
        select datlocprovider = 'b' or datlocprovider = 'c' and datcollate in ('C', 'POSIX', 'C.UTF-8', 'C.utf8')
        from pg_database where datname = current_database()"""
    return bool(connection.execute(text(query)).scalar_one())


def _step(
    connection: Connection,
    scope: Sequence[str],
    filters: Sequence[str],
    values: dict[str, Any],
    *,
    after: Key | None,
    step: int,
    most: int,
) -> RowMapping:
    where = [*scope, *(["(g.ref, g.id) > (:after_ref, cast(:after_id as uuid))"] if after else [])]
    query = f"""
        with looked as materialized (
            select g.id, g.ref, g.client_id, g.status, g.reason, g.failures, g.suspect_at, g.last_error_code, g.labels
            from evergrant.grants g where {" and ".join(where) or "true"}
            order by g.ref, g.id limit :step
        ),
        matching as (
            select g.id, g.ref from looked g where {" and ".join(filters) or "true"}
            order by g.ref, g.id limit :most
        ),
        last as (select l.ref, l.id from looked l order by l.ref desc, l.id desc limit 1)
        select (select count(*) from looked) as looked, (select ref from last) as last_ref,
            (select id from last) as last_id, array(select m.id from matching m order by m.ref, m.id) as ids"""  # noqa: S608  # constants
    more = {} if after is None else {"after_ref": after[0], "after_id": after[1]}
    return connection.execute(text(query), {**values, **more, "step": step, "most": most}).mappings().one()


def _read(connection: Connection, ids: Sequence[UUID]) -> Sequence[RowMapping]:
    query = f"{GRANTS} where g.id = any (cast(:ids as uuid[])) order by g.ref, g.id"
    return connection.execute(text(query), {"ids": list(ids)}).mappings().all()


# Of a client what is on this page alone; counts come from the fleet's.
CLIENTS = text(f"""
select c.id, c.name, c.provider, c.keep, c.rotation, c.rate_per_minute, c.burst, c.created_at, c.updated_at,
    c.former_secret_at, c.secret_refused_at, c.secret_refused_code, c.revocation_limit,
    (select count(distinct h.grant_id) from evergrant.held_revocations h
        where h.client_id = c.id and {IS_STILL_HELD}) as revocations_held,
    v.next_slot_at, v.paused_until, v.pause_reason, v.changed_at,
    case when v.minute_at > clock_timestamp() - interval '1 minute' then v.minute_at end as minute_at,
    case when v.minute_at > clock_timestamp() - interval '1 minute' then v.minute_asked else 0 end as minute_asked,
    w.remaining, w.remaining_at
from evergrant.clients c
left join evergrant.valves v on v.client_id = c.id
left join evergrant.witnesses w on w.client_id = c.id
order by c.name
""")  # noqa: S608  # constants


def clients(connection: Connection) -> Sequence[RowMapping]:
    """Every client with its valve, by name; `minute_asked`: requests that ended in the minute that is under way."""
    return connection.execute(CLIENTS).mappings().all()


FORMER = text("""
select kind, generation, stored_at, tried_at, known_dead_at, access_expires_at
from evergrant.former_tokens where grant_id = :id order by id desc
""")
ATTEMPTS = text("""
select g.attempts, g.claim_no, g.claimed_at, g.started_at, g.journal_id, g.life,
    g.doubt_journals, g.ever_in_doubt, g.predecessors_dropped
from evergrant.grants g where g.id = :id
""")
CONSENTS = text(f"""
select g.id, {STATUS} as status, g.generation, g.created_at, g.refreshed_at
from evergrant.grants g where g.id = any (cast(:ids as uuid[])) order by g.created_at desc, g.id
""")  # noqa: S608  # constants
DELIVERIES = text("""
select d.id, d.webhook_id, d.queued_at, d.tries, d.ended_at, d.outcome, d.last_code, e.type
from (
    select id, type from evergrant.events where grant_id = any (cast(:ids as uuid[])) order by id desc limit :most
) e
cross join evergrant.webhooks w
join evergrant.webhook_deliveries d on d.webhook_id = w.id and d.event_id = e.id
order by d.event_id desc, d.webhook_id limit :most
""")


def former_tokens(connection: Connection, grant_id: UUID) -> Sequence[RowMapping]:
    """The pairs of a grant that were replaced, the newest first: when, and what is known of them."""
    return connection.execute(FORMER, {"id": grant_id}).mappings().all()


def attempts(connection: Connection, grant_id: UUID) -> RowMapping:
    """How far the work on a grant is."""
    return connection.execute(ATTEMPTS, {"id": grant_id}).mappings().one()


def consents(connection: Connection, ids: Sequence[UUID]) -> Sequence[RowMapping]:
    """Every grant that a ref has had, the newest first."""
    return connection.execute(CONSENTS, {"ids": list(ids)}).mappings().all()


def deliveries(connection: Connection, ids: Sequence[UUID], *, most: int) -> Sequence[RowMapping]:
    """What webhooks were told of these grants, the newest first."""
    return connection.execute(DELIVERIES, {"ids": list(ids), "most": most}).mappings().all()


def dead_letters(
    connection: Connection, *, client: str | None, cause: str | None, closed: bool, before: int | None, most: int
) -> Sequence[RowMapping]:
    """A page of dead letters, the newest first: those that are open, or all."""
    where = """
        where (cast(:client as text) is null or c.name = :client) and (cast(:cause as text) is null or d.cause = :cause)
            and (:closed or d.resolved_at is null) and (cast(:before as bigint) is null or d.id < :before)
        order by d.id desc limit :most"""
    values = {"client": client, "cause": cause, "closed": closed, "before": before, "most": most}
    return connection.execute(text(DEAD_LETTERS + where), values).mappings().all()


# Why the evidence is no better stands in the event of a grant's end.
BECAUSE = text("""
select distinct on (e.grant_id) e.grant_id, e.data -> 'because' as because
from evergrant.events e
where e.grant_id = any (cast(:ids as uuid[])) and e.type = 'grant.revoked' order by e.grant_id, e.id desc
""")


def revocations(
    connection: Connection, *, client: str | None, status: str | None, before: int | None, most: int
) -> list[dict[str, Any]]:
    """A page of revocations, the newest first, each with why its evidence is no better."""
    where = """
        where (cast(:client as text) is null or c.name = :client)
            and (cast(:status as text) is null or r.status = :status)
            and (cast(:before as bigint) is null or r.id < :before)
        order by r.id desc limit :most"""
    values = {"client": client, "status": status, "before": before, "most": most}
    rows = connection.execute(text(REVOCATIONS + where), values).mappings().all()
    because = {
        row.grant_id: row.because for row in connection.execute(BECAUSE, {"ids": [row["grant_id"] for row in rows]})
    }
    return [dict(row) | {"because": because.get(row["grant_id"]) or []} for row in rows]


def read_only(connection: Connection, *, within: timedelta) -> None:
    """Let this transaction change nothing and see one moment, and no statement of it take longer; the first in it."""
    connection.execute(text("set transaction isolation level repeatable read, read only"))
    query = text("select set_config('statement_timeout', :ms, true)")
    connection.execute(query, {"ms": str(round(within.total_seconds() * 1000))})
