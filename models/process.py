"""Processes: beats, workers and webs that say now and then that they are alive."""

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


SEE = text("""
insert into evergrant.processes (id, kind, host, pid, metrics_port) values (:id, :kind, :host, :pid, :metrics_port)
on conflict (id) do update set seen_at = clock_timestamp()
""")
LEAVE = text("delete from evergrant.processes where id = :id")
FORGET = text("delete from evergrant.processes where seen_at < clock_timestamp() - interval '1 hour'")


def see(
    connection: Connection, process_id: UUID, *, kind: str, host: str, pid: int, metrics_port: int | None = None
) -> None:
    """Note that a process is alive, and where on its machine it serves metrics."""
    facts = {"id": process_id, "kind": kind, "host": host, "pid": pid, "metrics_port": metrics_port}
    connection.execute(SEE, facts)


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
