"""Dead letters: what we gave up on, and why; each is closed by a success, a redrive or a discard."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity


class DeadLetter(Base):
    """One thing that needs a human, with its cause."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        Index(
            "uq_dead_letters_open",
            "grant_id",
            "kind",
            "cause",
            unique=True,
            postgresql_where=text("resolved_at is null"),
        ),
    )

    id: Mapped[int] = identity()
    kind: Mapped[str]
    client_id: Mapped[int]
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.grants.id"))
    revocation_id: Mapped[int | None] = mapped_column(ForeignKey("evergrant.revocations.id"))
    ref: Mapped[str]
    generation: Mapped[int]
    cause: Mapped[str]
    detail: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(Integer)
    first_failed_at: Mapped[datetime]
    dead_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None]
    resolved_by: Mapped[str | None]
    rule: Mapped[str | None]
    looks: Mapped[int] = mapped_column(Integer)
    look_at: Mapped[datetime | None]


WRITE = text("""
insert into evergrant.dead_letters
    (kind, client_id, grant_id, revocation_id, ref, generation, cause, detail, attempts, first_failed_at, dead_at, rule,
    look_at)
select :kind, g.client_id, g.id, cast(:revocation_id as bigint), g.ref, g.generation, :cause, cast(:detail as text),
    :attempts, coalesce(cast(:first_failed_at as timestamptz), clock.at), clock.at, cast(:rule as text),
    clock.at + cast(:look_in as interval)
from evergrant.grants g
cross join (select coalesce(:now, clock_timestamp()) as at) clock
where g.id = :grant_id
on conflict (grant_id, kind, cause) where resolved_at is null do nothing
returning id
""")

CLOSE = text("""
update evergrant.dead_letters
set resolved_at = coalesce(:now, clock_timestamp()), resolution = :resolution, resolved_by = :resolved_by
where grant_id = any (cast(:grant_ids as uuid[])) and kind = :kind and resolved_at is null
returning grant_id
""")


def write(
    connection: Connection,
    grant_id: UUID,
    *,
    kind: str,
    cause: str,
    detail: str | None,
    attempts: int,
    first_failed_at: datetime | None,
    rule: str | None = None,
    revocation_id: int | None = None,
    look_in: timedelta | None = None,
    now: datetime | None = None,
) -> bool:
    """Write a dead letter unless one of this kind and cause is open; returns whether it is new.

    `look_in`: when the grant is asked once more all the same; None: never.
    """
    parameters = {
        "grant_id": grant_id,
        "kind": kind,
        "cause": cause,
        "detail": detail,
        "attempts": attempts,
        "first_failed_at": first_failed_at,
        "rule": rule,
        "revocation_id": revocation_id,
        "look_in": look_in,
        "now": now,
    }
    return connection.execute(WRITE, parameters).scalar() is not None


def close(
    connection: Connection,
    grant_ids: Sequence[UUID],
    *,
    kind: str,
    resolution: str,
    resolved_by: str,
    now: datetime | None = None,
) -> set[UUID]:
    """Close every open letter of this kind of these grants; returns the grants that had one."""
    parameters = {
        "grant_ids": list(grant_ids),
        "kind": kind,
        "resolution": resolution,
        "resolved_by": resolved_by,
        "now": now,
    }
    return set(connection.execute(CLOSE, parameters).scalars())
