"""Waiting requests: what was asked for by message and cannot be had now, for somebody else's transaction holds it.

A row for each, tried again until it is carried out or refused: the message is gone from the broker, and nobody would
send it once more.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity
from models.rows import made_of

# Long enough for a transaction of an application that does nothing else, and short enough that hundreds of requests
# which all meet a lock are through in seconds.
PATIENCE = timedelta(milliseconds=20)
FUNCTIONS = frozenset({"request_refresh", "request_revocation"})


class WaitingRequest(Base):
    """One request, with the arguments of its SQL function."""

    __tablename__ = "waiting_requests"
    __table_args__ = (Index(None, "try_at"),)

    id: Mapped[int] = identity()
    function: Mapped[str]
    arguments: Mapped[dict[str, Any]] = mapped_column(JSONB)
    asked_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(Integer)
    try_at: Mapped[datetime]


class Waiting(NamedTuple):
    """A request whose turn it is, locked."""

    id: int
    function: str
    arguments: dict[str, Any]


KEEP = text("""
insert into evergrant.waiting_requests (function, arguments) values (:function, cast(:arguments as jsonb))
""")
# Of one ref in the order in which they came, and of all those refs first that never met a lock: so one that is held
# costs one try a second, however many wait for it, and keeps no other waiting.
NEXT = text("""
with first as (
    select min(w.id) as id from evergrant.waiting_requests w group by w.arguments -> 'ref', w.arguments -> 'client'
)
select w.id, w.function, w.arguments
from first join evergrant.waiting_requests w on w.id = first.id
where w.try_at <= clock_timestamp()
order by w.tries > 0, w.try_at
limit :most
for update of w skip locked
""")
LATER = text("""
update evergrant.waiting_requests
set tries = tries + 1, try_at = clock_timestamp() + least(0.25 * (tries + 1), 1) * interval '1 second'
where id = :id
""")
DONE = text("delete from evergrant.waiting_requests where id = :id")
COUNT = text("select count(*) from evergrant.waiting_requests")
IMPATIENT = text("select set_config('lock_timeout', :wait, true)")


def call(connection: Connection, function: str, arguments: Mapping[str, Any]) -> None:
    """Call a function of the SQL surface.

    Raises:
        OperationalError: somebody holds what it needs (`database.is_locked`).
        DBAPIError: it refuses the arguments.

    """
    connection.execute(IMPATIENT, {"wait": f"{PATIENCE.total_seconds() * 1000:.0f}ms"})
    named = ", ".join(f"{name} => :{name}" for name in arguments)
    connection.execute(text(f"select evergrant.{function}({named})"), dict(arguments))


def keep(connection: Connection, function: str, arguments: str) -> None:
    """Keep a request, with its arguments as JSON, until it can be carried out."""
    connection.execute(KEEP, {"function": function, "arguments": arguments})


def take(connection: Connection, *, most: int) -> list[Waiting]:
    """Lock requests whose turn it is, at most one of each ref."""
    return made_of(connection.execute(NEXT, {"most": most}), Waiting)


def later(connection: Connection, request: Waiting) -> None:
    """Leave one for later: somebody holds what it needs still."""
    connection.execute(LATER, {"id": request.id})


def done(connection: Connection, request: Waiting) -> None:
    """Forget one that was carried out, or refused."""
    connection.execute(DONE, {"id": request.id})


def count(connection: Connection) -> int:
    """How many wait."""
    return int(connection.execute(COUNT).scalar_one())
