"""Client: our registration at a provider; and the valve of everything that is sent there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Double, ForeignKey, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity


class Client(Base):
    """Our registration at a provider (RFC 6749 §2), and what differs from the provider's file."""

    __tablename__ = "clients"

    id: Mapped[int] = identity()
    name: Mapped[str] = mapped_column(unique=True)
    provider: Mapped[str]
    overrides: Mapped[dict[str, Any]]
    client_id: Mapped[str]
    sealed_client_secret: Mapped[bytes | None]
    credentials_no: Mapped[int] = mapped_column(Integer)
    redirect_uri: Mapped[str | None]
    scopes: Mapped[list[str]]
    return_to: Mapped[str | None]
    keep: Mapped[str]
    rotation: Mapped[str]
    rate_per_minute: Mapped[float | None] = mapped_column(Double)
    burst: Mapped[int] = mapped_column(Integer)
    attempt_lease: Mapped[timedelta]
    grace: Mapped[timedelta | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    sealed_former_secret: Mapped[bytes | None]
    former_secret_at: Mapped[datetime | None]
    secret_refused_at: Mapped[datetime | None]
    secret_refused_code: Mapped[str | None]
    grant_interval: Mapped[timedelta | None]
    drift: Mapped[dict[str, Any] | None]
    drift_watch: Mapped[dict[str, Any] | None]
    after_grace: Mapped[str | None]
    revocation_limit: Mapped[int | None] = mapped_column(Integer)
    revocations_accepted_at: Mapped[datetime | None]
    title: Mapped[str | None]
    logo_url: Mapped[str | None]
    colour: Mapped[str | None]
    return_to_urls: Mapped[list[str] | None]


class Valve(Base):
    """What may be sent now: rate, pauses and the breaker's memory (one row a client)."""

    __tablename__ = "valves"

    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"), primary_key=True)
    next_slot_at: Mapped[datetime]
    slot_no: Mapped[int]
    paused_by_operator: Mapped[bool]
    paused_until: Mapped[datetime | None]
    pause_reason: Mapped[str | None]
    pause_seconds: Mapped[float] = mapped_column(Double)
    changed_at: Mapped[datetime | None]
    canary_grant_id: Mapped[UUID | None]
    strike_grant_ids: Mapped[list[UUID]]
    minute_at: Mapped[datetime | None]
    minute_asked: Mapped[int] = mapped_column(Integer)
    minute_bad: Mapped[int] = mapped_column(Integer)
    minute_grant_ids: Mapped[list[UUID]]
    last_success_at: Mapped[datetime | None]
    credentials_proven_no: Mapped[int | None] = mapped_column(Integer)
    deaths_held_at: Mapped[datetime | None]
    deaths_accepted_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Known:
    """A client as a worker needs it; the secret is sealed."""

    id: int
    name: str
    provider: str
    overrides: dict[str, Any]
    client_id: str
    sealed_client_secret: bytes | None = field(repr=False)
    credentials_no: int
    redirect_uri: str | None
    attempt_lease: timedelta
    keep: str
    updated_at: datetime
    proven: bool
    sealed_former_secret: bytes | None = field(repr=False, default=None)
    secret_refused_at: datetime | None = None
    scopes: list[str] = field(default_factory=list)

    @property
    def may_fall_back(self) -> bool:
        """Whether its secret is new, and the one before is kept until it is proven."""
        return self.sealed_former_secret is not None and self.secret_refused_at is None

    @property
    def has_secret_on_trial(self) -> bool:
        """Whether the newer secret was refused, and is kept to be tried again."""
        return self.sealed_former_secret is not None and self.secret_refused_at is not None


KNOWN = text("""
select c.id, c.name, c.provider, c.overrides, c.client_id, c.sealed_client_secret, c.credentials_no, c.redirect_uri,
    c.attempt_lease, c.keep, c.updated_at, coalesce(v.credentials_proven_no = c.credentials_no, false) as proven,
    c.sealed_former_secret, c.secret_refused_at, c.scopes
from evergrant.clients c
join evergrant.valves v on v.client_id = c.id
where c.id = any (cast(:ids as bigint[]))
""")

LOCK_FOR_RESULTS = text("""
select v.client_id, v.next_slot_at, v.slot_no, v.paused_by_operator, v.paused_until, v.pause_reason, v.pause_seconds,
    v.changed_at, v.canary_grant_id, v.strike_grant_ids, v.minute_at, v.minute_asked, v.minute_bad, v.minute_grant_ids,
    c.rate_per_minute, c.burst, c.name, coalesce(:now, clock_timestamp()) as at
from evergrant.valves v
join evergrant.clients c on c.id = v.client_id
where v.client_id = any (cast(:ids as bigint[]))
order by v.client_id
for no key update of v
""")

UNLOCKED_VALVE = text("""
select from evergrant.valves where client_id = :client_id for no key update skip locked
""")

# Every request that beat did not budget takes its slot here, before it is sent.
DEBIT = text("""
update evergrant.valves v set
    next_slot_at = greatest(v.next_slot_at, coalesce(:now, clock_timestamp()))
        + cast(:slots as integer) * coalesce(interval '1 minute' / (c.rate_per_minute * :usable_share), interval '0'),
    slot_no = v.slot_no + cast(:slots as integer)
from evergrant.clients c
where v.client_id = :client_id and c.id = v.client_id
""")

# The same for a request of a revocation: three slots more are the others' before a revocation has its turn again, as
# tasks/policy/valve.py has it.
DEBIT_REVOCATION = text("""
update evergrant.valves v set
    next_slot_at = greatest(v.next_slot_at, coalesce(:now, clock_timestamp()))
        + coalesce(interval '1 minute' / (c.rate_per_minute * :usable_share), interval '0'),
    slot_no = greatest(
        least(v.slot_no, v.slot_no % (cast(:others as integer) + 1)) - cast(:others as integer),
        - cast(:most_owed as integer)
    )
from evergrant.clients c
where v.client_id = :client_id and c.id = v.client_id
""")

HAS_SLOT = text("""
select v.next_slot_at <= coalesce(:now, clock_timestamp()) + :tolerance
from evergrant.valves v where v.client_id = :client_id
""")

# The same for those who can wait: taken where the rate has one now, or within the tolerance; else how long to wait.
TAKE_SLOT = text("""
with found as (
    select v.client_id, clock.at, greatest(v.next_slot_at - clock.at, interval '0') as wait
    from evergrant.valves v
    cross join (select coalesce(:now, clock_timestamp()) as at) clock
    where v.client_id = :client_id
    for no key update of v
),
taken as (
    update evergrant.valves v set
        next_slot_at = greatest(v.next_slot_at, found.at)
            + coalesce(interval '1 minute' / (c.rate_per_minute * :usable_share), interval '0'),
        slot_no = v.slot_no + 1
    from found
    join evergrant.clients c on c.id = found.client_id
    where v.client_id = found.client_id and found.wait <= :tolerance
)
select wait from found
""")

# For what is sent without a grant's start, which asks all this in its own statement.
MAY_SEND = text("""
select clock.at,
    case
        when (select evergrant.database_state(cast(:environment as text))) <> 'fit' then 'database_unfit'
        when v.paused_by_operator then 'client_is_paused'
        when v.paused_until > clock.at then 'valve_is_shut'
    end as held
from evergrant.valves v
cross join (select coalesce(:now, clock_timestamp()) as at) clock
where v.client_id = :client_id
""")


def known(connection: Connection, ids: Sequence[int]) -> dict[int, Known]:
    """Read clients by id, each with whether its present credentials ever had a success."""
    rows = connection.execute(KNOWN, {"ids": sorted(set(ids))}).mappings()
    return {row["id"]: Known(**row) for row in rows}


def every(connection: Connection) -> list[Known]:
    """Read all clients."""
    ids = connection.execute(text("select id from evergrant.clients")).scalars()
    return list(known(connection, list(ids)).values())


def has_due(connection: Connection, client_id: int, *, longer_than: timedelta = timedelta(0)) -> bool:
    """Whether a grant or a revocation of the client has been due for so long: then nothing less urgent is sent."""
    query = text("""
        select exists (
            select from evergrant.grants
            where client_id = :client_id and status = 'active' and due_at <= clock_timestamp()
                - cast(:longer_than as interval)
        ) or exists (
            select from evergrant.revocations
            where client_id = :client_id and status = 'queued' and due_at <= clock_timestamp()
                - cast(:longer_than as interval)
        )
    """)
    return bool(connection.execute(query, {"client_id": client_id, "longer_than": longer_than}).scalar())


def id_of(connection: Connection, name: str) -> int | None:
    """The id of the client of this name, if there is one."""
    return connection.execute(text("select id from evergrant.clients where name = :name"), {"name": name}).scalar()


def lock_valves(connection: Connection, ids: Sequence[int], *, now: datetime | None = None) -> list[dict[str, Any]]:
    """Lock the valves of these clients, in order, to feed them results."""
    return [dict(row) for row in connection.execute(LOCK_FOR_RESULTS, {"ids": sorted(set(ids)), "now": now}).mappings()]


def debit(
    connection: Connection, client_id: int, *, usable_share: float, slots: int = 1, now: datetime | None = None
) -> None:
    """Take slots of the client's rate, one for each request that beat did not budget."""
    parameters = {"client_id": client_id, "usable_share": usable_share, "slots": slots, "now": now}
    connection.execute(DEBIT, parameters)


def debit_revocation(
    connection: Connection,
    client_id: int,
    *,
    usable_share: float,
    others: int,
    most_owed: int,
    now: datetime | None = None,
) -> None:
    """Take a slot of the client's rate for a further request of a revocation: so many after it are the `others'`."""
    shares = {"usable_share": usable_share, "others": others, "most_owed": most_owed}
    connection.execute(DEBIT_REVOCATION, {"client_id": client_id, "now": now, **shares})


def has_slot(connection: Connection, client_id: int, *, tolerance: timedelta, now: datetime | None = None) -> bool:
    """Whether the client's rate has a slot now, or within the tolerance; takes none."""
    parameters = {"client_id": client_id, "tolerance": tolerance, "now": now}
    return bool(connection.execute(HAS_SLOT, parameters).scalar_one())


def valve_is_locked(connection: Connection, client_id: int) -> bool:
    """Whether somebody else holds the client's valve now; waits for nobody."""
    return connection.execute(UNLOCKED_VALVE, {"client_id": client_id}).first() is None


def take_slot(
    connection: Connection,
    client_id: int,
    *,
    usable_share: float,
    tolerance: timedelta,
    now: datetime | None = None,
) -> timedelta | None:
    """Take one slot of the client's rate if there is one now; else returns how long until the next, taking none."""
    parameters = {"client_id": client_id, "usable_share": usable_share, "tolerance": tolerance, "now": now}
    wait: timedelta = connection.execute(TAKE_SLOT, parameters).scalar_one()
    return None if wait <= tolerance else wait


def may_send(
    connection: Connection, client_id: int, *, environment: str | None, now: datetime | None = None
) -> tuple[datetime, str | None]:
    """The database's time, and what forbids to send anything for a client, if something does."""
    parameters = {"client_id": client_id, "environment": environment, "now": now}
    row = connection.execute(MAY_SEND, parameters).one()
    return row.at, row.held
