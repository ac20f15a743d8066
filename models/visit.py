"""Visits: a customer's way from a ticket through the provider and back, and what became of it.

The row's id is that of its connect request, and of the grant to be: so a grant that a journal's replay has made tells
that the customer is connected, whatever became of the process that sent the code.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, CursorResult, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base
from models.predicates import IS_LIVING
from models.states.visit import VisitOutcome, VisitReason

# A code lives ten minutes at most (RFC 6749 §4.1.2): what could not be sent by then is sent no more.
CODE_LIVES: Final = timedelta(minutes=10)
# Offered again to workers after so long: a message may be lost, and what could not be sent may be sent now.
LEASE: Final = timedelta(seconds=10)
# Whoever has sent a code writes its end by then, or never will.
EXCHANGE_ENDS: Final = timedelta(minutes=3)
REMEMBERED: Final = timedelta(days=7)


class Visit(Base):
    """One way through the provider."""

    __tablename__ = "visits"
    __table_args__ = (
        Index(None, "ticket_id"),
        Index("ix_visits_waiting", "answered_at", postgresql_where=text("sealed_answer is not null")),
        Index(None, "ended_at", postgresql_where=text("ended_at is not null")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.tickets.id", ondelete="CASCADE"))
    began_at: Mapped[datetime]
    sealed_answer: Mapped[bytes | None]
    answered_at: Mapped[datetime | None]
    offered_at: Mapped[datetime | None]
    journal_id: Mapped[int | None]
    held_by: Mapped[str | None]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    reason: Mapped[str | None]
    code: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class Guest:
    """Who stands at the public listener: the ticket they came with, the client it speaks for, and how far they are.

    `browser_hash`: of the browser that has used the ticket. `visit_id`: the newest visit by this ticket, or the one
    that was asked for; `is_late`: its state has ended before anybody came back with it.
    """

    ticket_id: UUID
    client_id: int
    client: str
    provider: str
    overrides: dict[str, Any]
    registered_as: str
    client_scopes: list[str]
    ref: str
    labels: dict[str, list[str]]
    scopes: list[str]
    return_to: str | None
    locale: str | None
    title: str
    logo_url: str | None
    colour: str | None
    expired: bool
    revoked: bool
    browser_hash: bytes | None = field(repr=False)
    visit_id: UUID | None
    answered: bool
    is_late: bool | None
    outcome: str | None
    reason: str | None
    held_by: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A visit whose code nobody has sent yet."""

    id: UUID
    sealed_answer: bytes = field(repr=False)
    created_by: str


# Nobody will write an end: the process that sent the code is gone and its journal was read to the end, or it should
# have written it long ago.
_IS_LOST = f"""(
        r.used_at < clock_timestamp() - interval '{EXCHANGE_ENDS.total_seconds():.0f} s'
        or r.used_at is not null and exists (
            select from evergrant.journals j
            where j.id = v.journal_id and (j.drained_at is not null or j.abandoned_at is not null))
    )"""
_IS_TOO_LATE = f"""(
        r.used_at is null and v.answered_at < clock_timestamp() - interval '{CODE_LIVES.total_seconds():.0f} s'
    )"""
_HAS_GRANT = f"exists (select from evergrant.grants g where g.id = v.id and {IS_LIVING})"
_UNCLEAR = VisitReason.EXCHANGE_UNCLEAR.value
_IS_CONNECTED = f"(v.ended_at is null or v.reason = '{_UNCLEAR}') and v.answered_at is not null and {_HAS_GRANT}"
OUTCOME: Final = f"""case
            when {_IS_CONNECTED} then '{VisitOutcome.CONNECTED.value}'
            when v.ended_at is not null then v.outcome
            when {_IS_LOST} or {_IS_TOO_LATE} then '{VisitOutcome.FAILED.value}'
        end"""
REASON: Final = f"""case
            when {_IS_CONNECTED} then null
            when v.ended_at is not null then v.reason
            when {_IS_LOST} then '{_UNCLEAR}'
            when {_IS_TOO_LATE} then coalesce(v.held_by, '{VisitReason.TOO_LATE.value}')
        end"""
_GUEST = f"""
select t.id as ticket_id, t.client_id, c.name as client, c.provider, c.overrides, c.client_id as registered_as,
    c.scopes as client_scopes, t.ref, t.labels, t.scopes,
    case when evergrant.is_return_to(t.return_to, coalesce(c.return_to_urls, array[c.return_to])) then t.return_to end
        as return_to,
    t.locale, coalesce(c.title, c.name) as title, c.logo_url, c.colour,
    t.expires_at <= clock_timestamp() as expired, t.revoked_at is not null as revoked, t.browser_hash,
    v.id as visit_id, v.answered_at is not null as answered,
    v.answered_at is null and r.expires_at <= clock_timestamp() as is_late,
    {OUTCOME} as outcome, {REASON} as reason, v.held_by
"""  # constants
BY_TICKET = text(f"""{_GUEST}, t.ticket_hash as came_with
from unnest(cast(:hashes as bytea[])) as asked (ticket_hash)
join evergrant.tickets t on t.ticket_hash = asked.ticket_hash
join evergrant.clients c on c.id = t.client_id
left join lateral (
    select id, ticket_id, answered_at, journal_id, held_by, ended_at, outcome, reason from evergrant.visits
    where ticket_id = t.id order by began_at desc limit 1
) v on true
left join evergrant.connect_requests r on r.id = v.id
""")  # noqa: S608  # constants
BY_STATE = text(f"""{_GUEST}, r.state_hash as came_with
from unnest(cast(:hashes as bytea[])) as asked (state_hash)
join evergrant.connect_requests r on r.state_hash = asked.state_hash
join evergrant.visits v on v.id = r.id
join evergrant.tickets t on t.id = v.ticket_id
join evergrant.clients c on c.id = t.client_id
""")  # constants
BY_ID = text(f"""{_GUEST}, v.id as came_with
from unnest(cast(:ids as uuid[])) as asked (id)
join evergrant.visits v on v.id = asked.id
join evergrant.tickets t on t.id = v.ticket_id
join evergrant.clients c on c.id = t.client_id
left join evergrant.connect_requests r on r.id = v.id
""")  # constants
ENDED = text(f"""
select v.id
from unnest(cast(:ids as uuid[])) as asked (id)
join evergrant.visits v on v.id = asked.id
left join evergrant.connect_requests r on r.id = v.id
where {OUTCOME} is not null
""")  # noqa: S608  # constants

# One browser may begin anew, as when its user went back: what it began before leads nowhere then.
BEGIN = text(f"""
with former as (
    update evergrant.visits set ended_at = clock_timestamp(), outcome = '{VisitOutcome.FAILED.value}',
        reason = '{VisitReason.BEGUN_AGAIN.value}'
    where ticket_id = :ticket_id and ended_at is null and answered_at is null
)
insert into evergrant.visits (id, ticket_id) values (:id, :ticket_id)
""")  # noqa: S608  # constants
# From here on it is the code's life that counts, not that of the state.
ANSWER = text("""
with answered as (
    update evergrant.visits v set sealed_answer = brought.sealed, answered_at = clock_timestamp()
    from unnest(cast(:ids as uuid[]), cast(:sealed as bytea[])) as brought (id, sealed)
    where v.id = brought.id and v.answered_at is null and v.ended_at is null
    returning v.id
)
update evergrant.connect_requests r set expires_at = greatest(r.expires_at, clock_timestamp() + :lives)
from answered where r.id = answered.id
returning r.id
""")
END = text("""
update evergrant.visits
set ended_at = clock_timestamp(), outcome = :outcome, reason = :reason, code = :code, sealed_answer = null,
    answered_at = coalesce(answered_at, clock_timestamp())
where id = any (cast(:ids as uuid[])) and ended_at is null
returning id
""")
# Of many at once nobody waits for a stranger's lock on one of them, which is offered again.
FREE = text("""
select v.id from evergrant.visits v
join evergrant.connect_requests r on r.id = v.id
where v.id = any (cast(:ids as uuid[]))
for no key update of v, r skip locked
""")
TAKE = text("""
update evergrant.visits set journal_id = :journal_id, held_by = null where id = any (cast(:ids as uuid[]))
""")
HOLD = text("""
update evergrant.visits set held_by = :why where id = any (cast(:ids as uuid[])) and ended_at is null
""")
OFFER = text("""
with due as (
    select v.id from evergrant.visits v
    join evergrant.connect_requests r on r.id = v.id
    where v.sealed_answer is not null and v.ended_at is null and r.used_at is null
        and v.answered_at > clock_timestamp() - cast(:lives as interval)
        and (v.offered_at is null or v.offered_at < clock_timestamp() - cast(:lease as interval))
    order by v.answered_at
    limit 100
    for no key update of v skip locked
)
update evergrant.visits v set offered_at = clock_timestamp() from due where v.id = due.id returning v.id
""")
OFFER_AGAIN = text("update evergrant.visits set offered_at = null, held_by = null where id = :id and ended_at is null")
WAITING = text("""
select v.id, v.sealed_answer, t.created_by
from evergrant.visits v
join evergrant.tickets t on t.id = v.ticket_id
where v.id = any (cast(:ids as uuid[])) and v.sealed_answer is not null and v.ended_at is null
""")
END_LOST = text(f"""
update evergrant.visits set ended_at = clock_timestamp(), sealed_answer = null, outcome = lost.outcome,
    reason = lost.reason
from (
    select v.id, {OUTCOME} as outcome, {REASON} as reason
    from evergrant.visits v
    join evergrant.connect_requests r on r.id = v.id
    where v.ended_at is null and v.sealed_answer is not null
) lost
where evergrant.visits.id = lost.id and lost.outcome is not null
""")  # noqa: S608  # constants
FORGET = text("""
delete from evergrant.tickets where expires_at < clock_timestamp() - cast(:remembered as interval)
""")


def by_tickets(connection: Connection, ticket_hashes: Sequence[bytes]) -> dict[bytes, Guest | None]:
    """Who came with each of these tickets."""
    return dict.fromkeys(ticket_hashes) | _guests(connection.execute(BY_TICKET, {"hashes": list(ticket_hashes)}))


def by_states(connection: Connection, state_hashes: Sequence[bytes]) -> dict[bytes, Guest | None]:
    """Who came back with each of these states."""
    return dict.fromkeys(state_hashes) | _guests(connection.execute(BY_STATE, {"hashes": list(state_hashes)}))


def by_ids(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Guest | None]:
    """Whose visit each of these is."""
    return dict.fromkeys(ids) | _guests(connection.execute(BY_ID, {"ids": list(ids)}))


def _guests(found: CursorResult[Any]) -> dict[Any, Guest]:
    """Guests by what they came with, which is the last column; the others are named as the fields are."""
    rows: Iterable[Sequence[Any]] = found
    return {row[-1]: Guest(*row[:-1]) for row in rows}


def ended(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, bool]:
    """Whether each of these visits has ended: many wait for it, and ask again and again."""
    found = connection.execute(ENDED, {"ids": list(ids)}).scalars()
    return dict.fromkeys(ids, False) | dict.fromkeys(found, True)


def begin(connection: Connection, begun: Sequence[tuple[UUID, UUID]]) -> None:
    """Remember that customers go to the provider: their visits, and the tickets that they came with."""
    connection.execute(BEGIN, [{"id": visit_id, "ticket_id": ticket_id} for visit_id, ticket_id in begun])


def answer(connection: Connection, brought: Mapping[UUID, bytes]) -> set[UUID]:
    """Keep what customers came back with; returns the visits of those who had not come back before."""
    kept = {"ids": list(brought), "sealed": list(brought.values()), "lives": CODE_LIVES}
    return set(connection.execute(ANSWER, kept).scalars())


def end(
    connection: Connection,
    visit_id: UUID,
    outcome: VisitOutcome,
    reason: VisitReason | None,
    *,
    code: str | None = None,
) -> bool:
    """Write how a visit ended; False: it has ended already. What the browser brought is gone with it.

    `code`: what the provider said, told to operators.
    """
    return bool(_end(connection, [visit_id], outcome, reason, code=code))


def end_connected(connection: Connection, visit_ids: Sequence[UUID]) -> None:
    """Write that these customers are connected."""
    if visit_ids:
        _end(connection, visit_ids, VisitOutcome.CONNECTED, None, code=None)


def _end(
    connection: Connection,
    visit_ids: Sequence[UUID],
    outcome: VisitOutcome,
    reason: VisitReason | None,
    *,
    code: str | None,
) -> set[UUID]:
    ended = {"ids": list(visit_ids), "outcome": outcome, "reason": reason, "code": code}
    return set(connection.execute(END, ended).scalars())


def free(connection: Connection, visit_ids: Sequence[UUID]) -> list[UUID]:
    """Lock those of these visits, and their code flows, that nobody else has locked."""
    return list(connection.execute(FREE, {"ids": list(visit_ids)}).scalars())


def take(connection: Connection, visit_ids: Sequence[UUID], journal_id: int) -> None:
    """Note whose journal will have the answers to their codes."""
    connection.execute(TAKE, {"ids": list(visit_ids), "journal_id": journal_id})


def hold(connection: Connection, visit_ids: Sequence[UUID], why: VisitReason) -> None:
    """Note why nothing could be sent yet; they are offered again."""
    connection.execute(HOLD, {"ids": list(visit_ids), "why": why})


def offer_again(connection: Connection, visit_id: UUID) -> None:
    """Let beat offer a visit at its next look."""
    connection.execute(OFFER_AGAIN, {"id": visit_id})


def offer(connection: Connection) -> list[UUID]:
    """The visits whose code a worker is to send now."""
    return list(connection.execute(OFFER, {"lives": CODE_LIVES, "lease": LEASE}).scalars())


def waiting(connection: Connection, visit_ids: Sequence[UUID]) -> list[Waiting]:
    """Those of these visits whose code is to be sent; the end of the others was written meanwhile."""
    return [Waiting(**row) for row in connection.execute(WAITING, {"ids": list(visit_ids)}).mappings()]


def tend(connection: Connection) -> None:
    """End what nobody will end any more, and forget tickets that ended a week ago."""
    connection.execute(END_LOST)
    connection.execute(FORGET, {"remembered": REMEMBERED})
