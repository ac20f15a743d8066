"""Lock holders: sessions whose open transaction has locked rows, or a whole table, of ours for longer than a second."""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, text

from models.database import passing_transaction
from models.rows import made_of

LONG = timedelta(seconds=10)  # what holds rows for so long is no passing transaction of an application's


class LockHolder(NamedTuple):
    """A session and what it holds; since when a role without pg_read_all_stats is not told."""

    pid: int
    user_name: str | None
    application: str | None
    since: datetime | None
    seconds: int | None
    tables: list[str]

    def __str__(self) -> str:
        """Who it is and what it holds."""
        long = "" if self.seconds is None else f" for {self.seconds} s"
        whose = f"{self.application or 'a program'} of {self.user_name or 'somebody'}"
        return f"process {self.pid}, {whose}, has locks on {', '.join(self.tables)}{long}"

    @property
    def remedy(self) -> str:
        """What ends it."""
        return f"it must commit or roll back; `select pg_terminate_backend({self.pid})` ends it"


# Who merely reads holds nobody up, and neither does a vacuum. Row locks stand in the rows: the mode of a table's lock
# tells that its transaction has taken some.
HOLDERS = text("""
select a.pid, a.usename::text as user_name, a.application_name as application, a.xact_start as since,
    extract(epoch from clock_timestamp() - a.xact_start)::int as seconds,
    array_agg(distinct c.relname::text order by c.relname::text) as tables
from pg_locks l
join pg_class c on c.oid = l.relation and c.relkind = 'r'
join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'evergrant'
join pg_stat_activity a on a.pid = l.pid
where l.granted and l.locktype = 'relation' and l.pid <> pg_backend_pid()
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
    and l.mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock')
    and case when a.xact_start is null then a.application_name <> 'evergrant'
        else a.xact_start < clock_timestamp() - interval '1 second' end
group by a.pid, a.usename, a.application_name, a.xact_start
order by a.xact_start
""")


def holders(connection: Connection) -> list[LockHolder]:
    """Who holds locks on rows or tables of ours, the longest first."""
    return made_of(connection.execute(HOLDERS), LockHolder)


def holder_now() -> LockHolder | None:
    """Who has held some for the longest, asked on a connection of its own; what met the lock may have the other one."""
    with passing_transaction() as connection:
        return next(iter(holders(connection)), None)


def long_holder(connection: Connection) -> LockHolder | None:
    """Who has held some for very long, the longest; or one of whom this role is not told since when."""
    least = LONG.total_seconds()
    return next((each for each in holders(connection) if each.seconds is None or each.seconds >= least), None)
