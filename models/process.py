"""Processes: beats, workers and webs that say now and then that they are alive, and what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Process(Base):
    """One beat, worker or web process."""

    __tablename__ = "processes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    metrics_port: Mapped[int | None] = mapped_column(Integer)
    environment: Mapped[str | None]
    refresh_key_ids: Mapped[list[str] | None]
    access_key_ids: Mapped[list[str] | None]
    consumed_at: Mapped[datetime | None]
    fault: Mapped[str | None]
    disk_free: Mapped[int | None]
    clock_at: Mapped[datetime | None]
    ignored_variables: Mapped[list[str] | None]


@dataclass(frozen=True, slots=True)
class Presence:
    """What a process says of itself; of its key rings the ids alone, the active one first, none where it holds none.

    `consumed_ago`: a worker's, since it last took a message up. `fault`: why it can do nothing now. `disk_free`: bytes,
    where its journal lies.
    """

    id: UUID
    kind: str
    host: str
    pid: int
    environment: str | None
    clock_at: datetime
    metrics_port: int | None = None
    refresh_key_ids: Sequence[str] = ()
    access_key_ids: Sequence[str] = ()
    consumed_ago: timedelta | None = None
    fault: str | None = None
    disk_free: int | None = None
    ignored_variables: Sequence[str] = ()


SEE = text("""
insert into evergrant.processes (id, kind, host, pid, metrics_port, environment, refresh_key_ids, access_key_ids,
    consumed_at, fault, disk_free, clock_at, ignored_variables)
values (:id, :kind, :host, :pid, :metrics_port, :environment, cast(:refresh_key_ids as text[]),
    cast(:access_key_ids as text[]), clock_timestamp() - cast(:consumed_ago as interval), :fault, :disk_free,
    :clock_at, cast(:ignored_variables as text[]))
on conflict (id) do update set seen_at = clock_timestamp(), environment = excluded.environment,
    refresh_key_ids = excluded.refresh_key_ids, access_key_ids = excluded.access_key_ids,
    consumed_at = excluded.consumed_at, fault = excluded.fault, disk_free = excluded.disk_free,
    clock_at = excluded.clock_at, ignored_variables = excluded.ignored_variables
""")
LEAVE = text("delete from evergrant.processes where id = :id")
FORGET = text("delete from evergrant.processes where seen_at < clock_timestamp() - interval '1 hour'")


def see(connection: Connection, presence: Presence) -> None:
    """Note that a process is alive, and what it says of itself."""
    lists = ("refresh_key_ids", "access_key_ids", "ignored_variables")
    said = {name: getattr(presence, name) for name in Presence.__slots__}
    connection.execute(SEE, said | {name: list(said[name]) for name in lists})


def leave(connection: Connection, process_id: UUID) -> None:
    """Note that a process has ended well."""
    connection.execute(LEAVE, {"id": process_id})


def forget_silent(connection: Connection) -> None:
    """Forget the processes that were not seen for an hour."""
    connection.execute(FORGET)


# A claim that is published is started within moments where somebody consumes; one of 1970 never was published.
UNSTARTED = text("""
select exists (
    select from evergrant.grants g
    where g.claimed_at > 'epoch' and g.claimed_at < clock_timestamp() - cast(:wait as interval)
)
""")


def work_is_unstarted(connection: Connection, *, wait: timedelta) -> bool:
    """Whether a claim was published longer than `wait` ago, and nobody has started it."""
    return bool(connection.execute(UNSTARTED, {"wait": wait}).scalar())
