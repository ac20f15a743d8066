"""Witness: who of a client succeeded last, and who was refused since; it tells whose fault a refusal is.

Apart from the valve, whose columns are what the release before reads: a column more, and each of its prepared
statements would fail. Written only by who holds the valve's lock; a client without a row has no witness yet.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Double, ForeignKey, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Witness(Base):
    """One row a client."""

    __tablename__ = "witnesses"

    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"), primary_key=True)
    refused_since: Mapped[datetime | None]
    refused_code: Mapped[str | None]
    refused_grant_ids: Mapped[list[UUID]]
    witness_at: Mapped[datetime | None]
    witness_grant_ids: Mapped[list[UUID]]
    slowed_by: Mapped[int] = mapped_column(Integer)
    slowed_at: Mapped[datetime | None]
    slowed_from: Mapped[float | None] = mapped_column(Double)
    slowed_code: Mapped[str | None]
    minute_at: Mapped[datetime | None]
    minute_asked: Mapped[int] = mapped_column(Integer)
    minute_refused: Mapped[int] = mapped_column(Integer)
    minute_code: Mapped[str | None]
    passing_code: Mapped[str | None]
    passing_at: Mapped[datetime | None]
    mixed_since: Mapped[datetime | None]
    mixed_grant_ids: Mapped[list[UUID]]
    remaining: Mapped[int | None] = mapped_column(Integer)
    remaining_at: Mapped[datetime | None]
    scarce_until: Mapped[datetime | None]


# In a statement of its own, after the valves were locked: one that waits for a lock reads other tables as they were.
READ = text("""
select client_id, refused_since, refused_code, refused_grant_ids, witness_at, witness_grant_ids, mixed_since,
    mixed_grant_ids, slowed_by, slowed_at, slowed_from, slowed_code, minute_at, minute_asked, minute_refused,
    minute_code, passing_code, passing_at
from evergrant.witnesses where client_id = any (cast(:ids as bigint[]))
""")
WRITE = text("""
insert into evergrant.witnesses
    (client_id, refused_since, refused_code, refused_grant_ids, witness_at, witness_grant_ids, mixed_since,
    mixed_grant_ids, slowed_by, slowed_at, slowed_from, slowed_code, minute_at, minute_asked, minute_refused,
    minute_code, passing_code, passing_at)
values (
    :client_id, :refused_since, :refused_code, cast(:refused_grant_ids as uuid[]), :witness_at,
    cast(:witness_grant_ids as uuid[]), :mixed_since, cast(:mixed_grant_ids as uuid[]), :slowed_by, :slowed_at,
    :slowed_from, :slowed_code, :minute_at, :minute_asked, :minute_refused, :minute_code, :passing_code, :passing_at
)
on conflict (client_id) do update set
    refused_since = excluded.refused_since, refused_code = excluded.refused_code,
    refused_grant_ids = excluded.refused_grant_ids, witness_at = excluded.witness_at,
    witness_grant_ids = excluded.witness_grant_ids, mixed_since = excluded.mixed_since,
    mixed_grant_ids = excluded.mixed_grant_ids, slowed_by = excluded.slowed_by, slowed_at = excluded.slowed_at,
    slowed_from = excluded.slowed_from, slowed_code = excluded.slowed_code, minute_at = excluded.minute_at,
    minute_asked = excluded.minute_asked, minute_refused = excluded.minute_refused,
    minute_code = excluded.minute_code, passing_code = excluded.passing_code, passing_at = excluded.passing_at
""")

# What the provider said last of what is left; apart from the rest, for most clients have no such word.
NOTE_QUOTA = text("""
insert into evergrant.witnesses (client_id, refused_grant_ids, witness_grant_ids, remaining, remaining_at, scarce_until)
select :client_id, '{}', '{}', :remaining, clock.at, clock.at + cast(:scarce_for as interval)
from (select coalesce(:now, clock_timestamp()) as at) clock
on conflict (client_id) do update set
    remaining = excluded.remaining, remaining_at = excluded.remaining_at, scarce_until = excluded.scarce_until
""")


def read(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What is known of these clients, whose valves the caller has locked."""
    return {row["client_id"]: dict(row) for row in connection.execute(READ, {"ids": list(ids)}).mappings()}


def write(connection: Connection, client_id: int, values: dict[str, Any]) -> None:
    """Write what the policy made of it."""
    connection.execute(WRITE, {**values, "client_id": client_id})


def note_quota(
    connection: Connection,
    client_id: int,
    *,
    remaining: int,
    scarce_for: timedelta | None,
    now: datetime | None = None,
) -> None:
    """Note how many requests are left, as the provider said; `scarce_for`: that is so few, for so long at most."""
    parameters = {"client_id": client_id, "remaining": remaining, "scarce_for": scarce_for, "now": now}
    connection.execute(NOTE_QUOTA, parameters)
