"""Chores: periodic work as rows, claimed like a grant, so that any number of beats may run."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Chore(Base):
    """One kind of periodic work and when it is due."""

    __tablename__ = "chores"

    name: Mapped[str] = mapped_column(primary_key=True)
    every: Mapped[timedelta]
    due_at: Mapped[datetime]
    done_at: Mapped[datetime | None]


CLAIM = text("""
with due as (
    select name from evergrant.chores where due_at <= coalesce(:now, clock_timestamp())
    for no key update skip locked
)
update evergrant.chores c set due_at = coalesce(:now, clock_timestamp()) + c.every
from due where c.name = due.name
returning c.name
""")
DONE = text("update evergrant.chores set done_at = coalesce(:now, clock_timestamp()) where name = :name")


def claim(connection: Connection, *, now: datetime | None = None) -> list[str]:
    """Take the chores that are due; each is due again after its interval, done or not."""
    return list(connection.execute(CLAIM, {"now": now}).scalars())


def done(connection: Connection, name: str, *, now: datetime | None = None) -> None:
    """Note that a chore was carried out."""
    connection.execute(DONE, {"name": name, "now": now})
