"""Journal: the register of journals, who holds which, drained or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity
from models.predicates import WAITS_FOR_IT, of


class Journal(Base):
    """One worker process's file of provider answers."""

    __tablename__ = "journals"

    id: Mapped[int] = identity()
    host: Mapped[str]
    process: Mapped[str]
    opened_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    drained_at: Mapped[datetime | None]
    abandoned_at: Mapped[datetime | None]
    abandoned_by: Mapped[str | None]
    replayed_incident: Mapped[int | None]
    damaged_at: Mapped[datetime | None]
    damage: Mapped[str | None] = mapped_column(doc="what of it cannot be read; null: nothing, as far as is known")


# One registration at a time: else the sequence might be set back below a number that is given but not committed.
# A lock of the table, in the mode that only vacuum and itself wait for: an advisory lock may be held by every login.
# Whoever freezes in the middle holds it for a while: to wait for that here keeps nobody else waiting.
PATIENT = text("select set_config('lock_timeout', '10s', true)")
ALONE = text("lock table evergrant.journals in share update exclusive mode")
REGISTER = text("insert into evergrant.journals (host, process) values (:host, :process) returning id")
# A restored sequence would repeat numbers: those on this disk, those that a replay has put back into the table, and
# those on the disks of other machines, of which nobody here knows. So numbers follow the clock, a second each.
SKIP = text("""
select setval(sequence, above)
from (
    select pg_get_serial_sequence('evergrant.journals', 'id') as sequence,
        greatest(
            cast(:above as bigint), (select max(id) from evergrant.journals),
            cast(extract(epoch from coalesce(:now, clock_timestamp()) - timestamptz '2020-01-01 00:00Z') as bigint)
        ) as above
) found
where above > coalesce(pg_sequence_last_value(cast(sequence as regclass)), 0)
""")
# Whoever says that it lives was abandoned by mistake: from now on grants in doubt wait for its answers again.
SEE = text("""
update evergrant.journals
set seen_at = coalesce(:now, clock_timestamp()), abandoned_at = null, abandoned_by = null
where id = :id
""")

# Drained: nothing in it is unsettled any more, so nobody in doubt needs to wait for it. Rows are locked in the order
# of their ids, as settling does. Not in an incident: what it calls settled may be among the missing commits, and an
# incident does not wait for what is drained.
DRAINED = text(f"""
with drained as (
    update evergrant.journals
    set drained_at = coalesce(drained_at, coalesce(:now, clock_timestamp())), damaged_at = null, damage = null
    where id = :id and not exists (select from evergrant.installation i where i.incident_at is not null)
    returning id
),
waiting as (
    select g.id, drained.id as journal_id from evergrant.grants g, drained
    where {of("drained", WAITS_FOR_IT, was="j")}
    order by g.id
    for no key update of g
)
update evergrant.grants g set doubt_journals = array_remove(g.doubt_journals, waiting.journal_id)
from waiting where g.id = waiting.id
""")  # noqa: S608  # constants
# Nor does an incident wait for it, also where its process says later that it lives.
ABANDONED = text(f"""
with abandoned as (
    update evergrant.journals
    set abandoned_at = coalesce(abandoned_at, coalesce(:now, clock_timestamp())), abandoned_by = :by,
        replayed_incident = (select incident_no from evergrant.installation)
    where id = :id and drained_at is null returning id
),
waiting as (
    select g.id, abandoned.id as journal_id from evergrant.grants g, abandoned
    where {of("abandoned", WAITS_FOR_IT, was="j")}
    order by g.id
    for no key update of g
)
update evergrant.grants g set doubt_journals = array_remove(g.doubt_journals, waiting.journal_id)
from waiting where g.id = waiting.id
""")  # noqa: S608  # constants


# What cannot be read may hold an answer: grants in doubt go on waiting for it. No news of what is over.
DAMAGED = text("""
update evergrant.journals j
set damage = cast(:damage as text),
    damaged_at = case when cast(:damage as text) is not null then coalesce(j.damaged_at, :now, clock_timestamp()) end
where j.id = :id and j.damage is distinct from cast(:damage as text)
    and j.drained_at is null and j.abandoned_at is null
returning j.id
""")

UNDRAINED = text("""
select id from evergrant.journals
where id = any (cast(:ids as bigint[])) and drained_at is null and abandoned_at is null
""")

# Locked, so that what a human was told of it is still true when it is abandoned.
STANDING = text(f"""
select j.id, j.host, j.process, j.seen_at, j.drained_at, j.abandoned_at, j.abandoned_by, j.damage,
    j.seen_at > coalesce(:now, clock_timestamp()) - cast(:silent_after as interval) as alive,
    (
        select count(*) from evergrant.grants g
        where {WAITS_FOR_IT}
    ) as grants_waiting
from evergrant.journals j
where j.id = :id
for no key update of j
""")  # noqa: S608  # constants


@dataclass(frozen=True, slots=True)
class Standing:
    """A journal as the register knows it; `alive`: its process said so lately."""

    id: int
    host: str
    process: str
    seen_at: datetime
    drained_at: datetime | None
    abandoned_at: datetime | None
    abandoned_by: str | None
    damage: str | None
    alive: bool
    grants_waiting: int


def standing(
    connection: Connection, journal_id: int, *, silent_after: timedelta, now: datetime | None = None
) -> Standing | None:
    """Lock a journal's row and read it; None where there is no such number."""
    parameters = {"id": journal_id, "silent_after": silent_after, "now": now}
    row = connection.execute(STANDING, parameters).mappings().one_or_none()
    return None if row is None else Standing(**row)


def undrained(connection: Connection, journal_ids: Sequence[int]) -> list[int]:
    """Those of these journals that the register does not know to be drained."""
    return list(connection.execute(UNDRAINED, {"ids": list(journal_ids)}).scalars())


def register(connection: Connection, *, host: str, process: str, above: int = 0, now: datetime | None = None) -> int:
    """Give a new journal its number, higher than `above` and than any that was given before a restore."""
    connection.execute(PATIENT)
    connection.execute(ALONE)
    connection.execute(SKIP, {"above": above, "now": now})
    return int(connection.execute(REGISTER, {"host": host, "process": process}).scalar_one())


def see(connection: Connection, journal_id: int, *, now: datetime | None = None) -> None:
    """Note that the journal's holder is alive."""
    connection.execute(SEE, {"id": journal_id, "now": now})


def drained(connection: Connection, journal_id: int, *, now: datetime | None = None) -> None:
    """Note that a journal was settled to its end; no grant in doubt waits for it any longer.

    Nothing is noted in an incident: then it has to be replayed as a whole first.
    """
    connection.execute(DRAINED, {"id": journal_id, "now": now})


def note_damage(connection: Connection, journal_id: int, damage: str | None, *, now: datetime | None = None) -> bool:
    """Note what of a journal cannot be read, none where all of it can; returns whether that is news."""
    return connection.execute(DAMAGED, {"id": journal_id, "damage": damage, "now": now}).scalar() is not None


def abandon(connection: Connection, journal_id: int, *, by: str, now: datetime | None = None) -> None:
    """Note that a journal's disk is gone for good; no grant in doubt waits for it any longer."""
    connection.execute(ABANDONED, {"id": journal_id, "by": by, "now": now})


# The row itself may be among the commits that are missing.
REPLAYED = text("""
insert into evergrant.journals (id, host, process, replayed_incident, drained_at)
overriding system value
values (:id, :host, :process, :incident_no, case when :drained then clock_timestamp() end)
on conflict (id) do update set replayed_incident = excluded.replayed_incident, damaged_at = null, damage = null,
    drained_at = case when :drained then coalesce(journals.drained_at, clock_timestamp()) end
""")


def replayed(
    connection: Connection, journal_id: int, *, host: str, process: str, incident_no: int, drained: bool
) -> None:
    """Note that a journal was replayed as a whole for an incident; `drained`: nobody writes it any longer."""
    parameters = {"id": journal_id, "host": host, "process": process, "incident_no": incident_no, "drained": drained}
    connection.execute(REPLAYED, parameters)


# A living process's may have got more since, so it counts only once nobody writes it any longer.
REPLAYED_ALREADY = text("""
select id from evergrant.journals
where id = any (cast(:ids as bigint[])) and replayed_incident = :incident_no and drained_at is not null
""")
AWAITED = text("""
insert into evergrant.journals (id, host, process)
overriding system value
select each.id, :host, :process from unnest(cast(:ids as bigint[])) as each (id)
on conflict (id) do nothing
""")


def replayed_already(connection: Connection, journal_ids: Sequence[int], *, incident_no: int) -> set[int]:
    """Those of these journals that were replayed as a whole for this incident, and that nobody writes any longer."""
    return set(connection.execute(REPLAYED_ALREADY, {"ids": journal_ids, "incident_no": incident_no}).scalars())


def await_all(connection: Connection, journal_ids: Sequence[int], *, host: str, process: str) -> None:
    """Let an incident wait for these journals, also for those whose rows are among the missing commits."""
    connection.execute(AWAITED, {"ids": journal_ids, "host": host, "process": process})
