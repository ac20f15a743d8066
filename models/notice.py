"""Notices: what providers told by themselves, on its way from the process that heard it to a worker that proves it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base
from models.predicates import REFRESH_IS_REQUESTED

MOST_WAITING: Final = 1000  # of one client: more than that is no notice, but noise
MOST_MARKED: Final = 100  # grants by one notice
ASKER: Final = "notice"


class Notice(Base):
    """One request that came in, sealed with its proof, until it is read."""

    __tablename__ = "notices"
    __table_args__ = (Index(None, "client_id", "received_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"))
    sealed_notice: Mapped[bytes]
    received_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Heard:
    """A notice that nobody has read yet."""

    id: UUID
    client_id: int
    sealed_notice: bytes = field(repr=False)


CLIENT = text("select id, provider, overrides from evergrant.clients where name = :name")
KEEP = text("""
insert into evergrant.notices (id, client_id, sealed_notice)
select :id, :client_id, :sealed
where (select count(*) from (
    select from evergrant.notices where client_id = :client_id limit :most
) waiting) < :most
returning id
""")
# Read by one worker, and gone with the transaction that marks its grants.
TAKE = text("""
delete from evergrant.notices where id in (
    select id from evergrant.notices order by received_at limit :most for update skip locked
)
returning id, client_id, sealed_notice
""")
MARK = text(f"""
insert into evergrant.refresh_requests (client_id, grant_id, generation, rejected, requested_by)
select g.client_id, g.id, g.generation, false, :asker
from (
    select g.id, g.client_id, g.generation from evergrant.grants g
    where g.client_id = :client_id and g.status = 'active'
        and (cast(:ref as text) is null or g.ref = :ref) and g.labels @> cast(:labels as jsonb)
    limit :most
) g
where not {REFRESH_IS_REQUESTED}
""")  # noqa: S608  # constants
MATCHING = text("""
select count(*) from (
    select from evergrant.grants g
    where g.client_id = :client_id and g.status = 'active'
        and (cast(:ref as text) is null or g.ref = :ref) and g.labels @> cast(:labels as jsonb)
    limit :most
) g
""")


def client(connection: Connection, name: str) -> tuple[int, str, dict[str, Any]] | None:
    """The id of a client, its provider, and what it says differently; None: there is none of that name."""
    row = connection.execute(CLIENT, {"name": name}).one_or_none()
    return None if row is None else (row.id, row.provider, row.overrides)


def keep(connection: Connection, notice_id: UUID, client_id: int, sealed: bytes) -> bool:
    """Keep a notice until it is read; False: too many wait."""
    parameters = {"id": notice_id, "client_id": client_id, "sealed": sealed, "most": MOST_WAITING}
    return connection.execute(KEEP, parameters).scalar() is not None


def take(connection: Connection, *, most: int) -> list[Heard]:
    """Take the oldest notices; they are gone once the caller commits."""
    return [Heard(**row) for row in connection.execute(TAKE, {"most": most}).mappings()]


def mark(connection: Connection, client_id: int, *, ref: str | None, labels: Mapping[str, Sequence[str]]) -> int:
    """Ask for an early refresh of the active grants that a notice is about; returns how many these are.

    It shortens neither a lease nor a back-off, and comes no sooner than any other early refresh.
    """
    about = {"client_id": client_id, "ref": ref, "labels": json.dumps(labels), "most": MOST_MARKED}
    connection.execute(MARK, {**about, "asker": ASKER})
    connection.execute(text("notify evergrant_work"))
    return int(connection.execute(MATCHING, about).scalar_one())
