"""Revocation: the database-driven queue of grants that must die at the provider."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity
from models.states.former_token import PairKind


class Revocation(Base):
    """A request to kill a grant at the provider, and its state. Applications only insert it."""

    __tablename__ = "revocations"
    __table_args__ = (
        UniqueConstraint("grant_id"),
        UniqueConstraint("client_id", "idempotency_key"),
        Index("ix_revocations_queued", "client_id", "due_at", postgresql_where=text("status = 'queued'")),
    )

    id: Mapped[int] = identity()
    client_id: Mapped[int]
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.grants.id"))
    ref: Mapped[str]
    reason: Mapped[str | None]
    status: Mapped[str]
    evidence: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(Integer)
    failing_since: Mapped[datetime | None]
    last_error_code: Mapped[str | None]
    last_error_http_status: Mapped[int | None] = mapped_column(Integer)
    last_error_at: Mapped[datetime | None]
    current_dead_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Branch:
    """A pair of a grant; `former_token_id` is null for the pair that the row holds. Tokens are sealed.

    `generation`: that it is or was; of a surplus pair that it was asked from.
    """

    former_token_id: int | None
    kind: str
    generation: int
    sealed_refresh_token: bytes = field(repr=False)
    sealed_access_token: bytes | None = field(repr=False)
    refresh_fingerprint: bytes
    access_expires_at: datetime | None
    expired: bool
    dead: bool  # for certain

    def precedes(self, other: "Branch") -> bool:
        """Whether `other` came of a refresh with this pair: then, at `on_use`, any use of it kills this one."""
        if self.kind != PairKind.PREDECESSOR:
            return False
        return other.generation == self.generation + (other.kind != PairKind.SURPLUS)


@dataclass(frozen=True, slots=True)
class Task:
    """A revocation that was started, with every pair of its grant, the newest first."""

    id: int
    reason: str | None
    attempts: int
    failing_since: datetime | None
    requested_at: datetime
    ever_in_doubt: bool
    predecessors_dropped: bool
    freshened: bool  # the row's pair came of a refresh since the request
    older_access_ends_at: datetime | None  # the last of the access tokens that were replaced; null: none lives
    branches: list[Branch]


TASK = text("""
select r.id, r.reason, r.attempts, r.failing_since, r.requested_at,
    g.ever_in_doubt or g.doubt_since is not null as ever_in_doubt, g.predecessors_dropped,
    coalesce(g.refreshed_at > r.requested_at, false) as freshened,
    case when g.older_access_ends_at > clock_timestamp() then g.older_access_ends_at end as older_access_ends_at
from evergrant.revocations r
join evergrant.grants g on g.id = r.grant_id
where r.grant_id = :grant_id
""")

# Dead ones are told, too, until they are shredded: their access tokens still kill their predecessors.
BRANCHES = text("""
select null as former_token_id, 'current' as kind, g.generation, g.sealed_refresh_token, g.sealed_access_token,
    g.refresh_fingerprint, g.access_expires_at, coalesce(g.access_expires_at <= clock_timestamp(), true) as expired,
    exists (select from evergrant.revocations r where r.grant_id = g.id and r.current_dead_at is not null) as dead
from evergrant.grants g
where g.id = :grant_id and g.sealed_refresh_token is not null
union all
(
    select t.id, t.kind, t.generation, t.sealed_refresh_token, t.sealed_access_token,
        t.refresh_fingerprint, t.access_expires_at, coalesce(t.access_expires_at <= clock_timestamp(), true),
        t.known_dead_at is not null
    from evergrant.former_tokens t
    where t.grant_id = :grant_id and t.sealed_refresh_token <> ''
    order by t.id desc
)
""")

CURRENT_DEAD = text("""
update evergrant.revocations set current_dead_at = coalesce(:now, clock_timestamp()) where grant_id = :grant_id
""")
FORMER_DEAD = text("""
update evergrant.former_tokens set known_dead_at = coalesce(:now, clock_timestamp())
where id = any (cast(:ids as bigint[]))
""")

# Asked before the end is written: whose claim is it, and did a pair arrive that this attempt has not seen?
OURS = text("select claim_no = :claim_no from evergrant.grants where id = :grant_id for no key update")
UNSEEN = text("""
select exists (
    select from evergrant.former_tokens t
    where t.grant_id = :grant_id and t.known_dead_at is null and t.refresh_fingerprint <> all (:seen)
)
""")

# What killed a grant is told; what it held is shredded at once. Fingerprints stay while journals are kept: a late
# answer that a journal still holds must be recognised.
DONE = text("""
with done as (
    update evergrant.revocations
    set status = 'done', evidence = :evidence, done_at = clock.at, attempts = attempts + 1, failing_since = null,
        last_error_code = null, last_error_http_status = null, last_error_at = null
    from (select coalesce(:now, clock_timestamp()) as at) clock
    where grant_id = :grant_id
    returning grant_id
),
former as (
    update evergrant.former_tokens t
    set sealed_refresh_token = '', sealed_access_token = null, known_dead_at = coalesce(known_dead_at, clock.at)
    from done, (select coalesce(:now, clock_timestamp()) as at) clock
    where t.grant_id = done.grant_id
)
update evergrant.grants g
set status = 'revoked', sealed_refresh_token = null, sealed_access_token = null, claimed_at = null,
    started_at = null, claim_no = g.claim_no + 1
from done where g.id = done.grant_id
""")

# A replaced consent waited for its successor's end, because there one revocation kills both.
WAKE_REPLACED = text("""
update evergrant.revocations w set status = 'queued', due_at = coalesce(:now, clock_timestamp())
from evergrant.revocations r
where r.grant_id = :grant_id and w.client_id = r.client_id and w.ref = r.ref and w.status = 'waiting'
""")

AGAIN = text("""
update evergrant.revocations r
set due_at = coalesce(clock.at + cast(:wait as interval), r.due_at),
    attempts = r.attempts + case when :failed then 1 else 0 end,
    failing_since = case when :failed then coalesce(r.failing_since, clock.at) else r.failing_since end,
    status = case when :dead then 'dead' else r.status end,
    last_error_code = cast(:code as text), last_error_http_status = cast(:http_status as integer),
    last_error_at = case when cast(:code as text) is null then r.last_error_at else clock.at end
from (select coalesce(:now, clock_timestamp()) as at) clock
where r.grant_id = :grant_id and r.status = 'queued'
returning r.id, r.attempts, r.failing_since
""")

FREE = text("""
update evergrant.grants set claimed_at = null, started_at = null
where id = :grant_id and claim_no = :claim_no
""")


def task(connection: Connection, grant_id: UUID) -> Task | None:
    """Read a revocation with every pair of its grant."""
    row = connection.execute(TASK, {"grant_id": grant_id}).mappings().one_or_none()
    if row is None:
        return None
    return Task(**row, branches=branches(connection, grant_id))


def branches(connection: Connection, grant_id: UUID) -> list[Branch]:
    """Every pair of a grant that is not shredded: the row's own first, then the newest."""
    return [Branch(**each) for each in connection.execute(BRANCHES, {"grant_id": grant_id}).mappings()]


def note_dead(
    connection: Connection, grant_id: UUID, former_token_ids: Sequence[int | None], *, now: datetime | None = None
) -> None:
    """Note pairs that are known dead; null stands for the pair that the row holds."""
    if None in former_token_ids:
        connection.execute(CURRENT_DEAD, {"grant_id": grant_id, "now": now})
    former = [each for each in former_token_ids if each is not None]
    if former:
        connection.execute(FORMER_DEAD, {"ids": former, "now": now})


def is_ours(connection: Connection, grant_id: UUID, claim_no: int) -> bool:
    """Lock the grant, before its revocation as settling does, and see whether the claim is still ours."""
    return bool(connection.execute(OURS, {"grant_id": grant_id, "claim_no": claim_no}).scalar())


def has_unseen(connection: Connection, grant_id: UUID, seen: Sequence[Branch]) -> bool:
    """Whether a pair that may live is none of those seen; the grant is locked, so none arrives meanwhile."""
    fingerprints = [each.refresh_fingerprint for each in seen]
    return bool(connection.execute(UNSEEN, {"grant_id": grant_id, "seen": fingerprints}).scalar())


def done(connection: Connection, grant_id: UUID, *, evidence: str, now: datetime | None = None) -> None:
    """End a revocation well: the sealed tokens are shredded in the same transaction."""
    connection.execute(DONE, {"grant_id": grant_id, "evidence": evidence, "now": now})
    connection.execute(WAKE_REPLACED, {"grant_id": grant_id, "now": now})


def again(
    connection: Connection,
    grant_id: UUID,
    claim_no: int,
    *,
    wait: timedelta | None,
    failed: bool = False,
    dead: bool = False,
    code: str | None = None,
    http_status: int | None = None,
    now: datetime | None = None,
) -> dict[str, object] | None:
    """Queue a revocation for later, or give it up (`dead`); its attempt on the grant is over.

    Without a `wait` it keeps its place in the queue: behind a long one what was refreshed to be revoked would expire.
    Nothing is written, and None returned, where the claim has moved on: another attempt, or a token set that was
    stored meanwhile, has queued it already.
    """
    if not is_ours(connection, grant_id, claim_no):
        return None
    parameters = {
        "grant_id": grant_id,
        "wait": wait,
        "failed": failed,
        "dead": dead,
        "code": code,
        "http_status": http_status,
        "now": now,
    }
    row = connection.execute(AGAIN, parameters).mappings().one_or_none()
    connection.execute(FREE, {"grant_id": grant_id, "claim_no": claim_no})
    return None if row is None else dict(row)


# Its end was among the commits that are missing: the tokens are dead at the provider, whatever the row says.
END_AGAIN = text("""
with ended as (
    insert into evergrant.revocations (client_id, grant_id, ref, reason, status, evidence, done_at)
    select g.client_id, g.id, g.ref, 'restored', 'done', :evidence, :ended_at
    from evergrant.grants g where g.id = :grant_id and g.status <> 'revoked'
    on conflict (grant_id) do update set status = 'done', evidence = excluded.evidence, done_at = excluded.done_at
    returning grant_id
)
select grant_id from ended
""")


def end_again(connection: Connection, grant_id: UUID, *, evidence: str, ended_at: datetime) -> None:
    """End a grant again whose end a journal has noted and the database has forgotten."""
    parameters = {"grant_id": grant_id, "evidence": evidence, "ended_at": ended_at}
    if connection.execute(END_AGAIN, parameters).scalar() is not None:
        connection.execute(DONE, {"grant_id": grant_id, "evidence": evidence, "now": ended_at})
