"""Ticks: random ids that beat writes every few seconds, so that missing commits are noticed."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Connection, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Tick(Base):
    """One id; a journal that noted it must find it here, or commits were lost."""

    __tablename__ = "ticks"
    __table_args__ = (Index(None, "at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]


WRITE = text("insert into evergrant.ticks (id) values (:id)")
FORGET = text("delete from evergrant.ticks where at < clock_timestamp() - interval '48 hours'")
LATEST = text("select id, at from evergrant.ticks order by at desc limit 1")
MISSING = text("""
select noted.id from unnest(cast(:ids as uuid[])) as noted (id)
where not exists (select from evergrant.ticks t where t.id = noted.id)
""")

PUT_BACK = text("""
insert into evergrant.ticks (id) select noted.id from unnest(cast(:ids as uuid[])) as noted (id)
on conflict do nothing
""")


def write(connection: Connection) -> None:
    """Write a new tick, and forget those that no journal is asked for any longer."""
    connection.execute(WRITE, {"id": uuid4()})
    connection.execute(FORGET)


def latest(connection: Connection) -> tuple[UUID, datetime] | None:
    """The newest tick."""
    row = connection.execute(LATEST).one_or_none()
    return None if row is None else (row.id, row.at)


def missing(connection: Connection, noted: list[UUID]) -> list[UUID]:
    """Those of the noted ticks that this database lacks."""
    return list(connection.execute(MISSING, {"ids": noted}).scalars())


def put_back(connection: Connection, noted: list[UUID]) -> None:
    """Write ticks anew that a journal noted: what they warned of was replayed, and is no news to anybody else."""
    connection.execute(PUT_BACK, {"ids": noted})
