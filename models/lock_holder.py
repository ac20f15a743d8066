"""Lock holders: sessions whose open transaction has locked rows, or a whole table, of ours for longer than a second.

And those that hold so many locks, of whatever, that there may be no room left in the server for anybody else's.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

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
    locks: int

    def __str__(self) -> str:
        """Who it is and what it holds."""
        long = "" if self.seconds is None else f" for {self.seconds} s"
        whose = f"{self.application or 'a program'} of {self.user_name or 'somebody'}"
        what = f"locks on {', '.join(self.tables)}" if self.tables else f"{self.locks} locks"
        return f"process {self.pid}, {whose}, has {what}{long}"

    @property
    def remedy(self) -> str:
        """What ends it."""
        return f"it must commit or roll back; `select pg_terminate_backend({self.pid})` ends it"


MANY: Final = 1000  # nobody needs so many; a server has room for some 6 400, or 64 for each of its connections
# Who merely reads holds nobody up, and neither does a vacuum. Row locks stand in the rows: the mode of a table's lock
# tells that its transaction has taken some.
HOLDERS = text(f"""
select a.pid, a.usename::text as user_name, a.application_name as application, a.xact_start as since,
    extract(epoch from clock_timestamp() - a.xact_start)::int as seconds,
    coalesce(array_agg(distinct ours.name order by ours.name) filter (where ours.name is not null), '{{}}') as tables,
    count(*)::int as locks
from pg_locks l
join pg_stat_activity a on a.pid = l.pid
left join (
    select c.oid, d.oid as database, c.relname::text as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'evergrant'
    join pg_database d on d.datname = current_database()
    where c.relkind = 'r'
) ours on ours.oid = l.relation and ours.database = l.database and l.locktype = 'relation'
    and l.mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock')
where l.granted and l.pid <> pg_backend_pid()
    and case when a.xact_start is null then a.application_name <> 'evergrant'
        else a.xact_start < clock_timestamp() - interval '1 second' end
group by a.pid, a.usename, a.application_name, a.xact_start
having count(ours.name) > 0 or count(*) > {MANY}
order by a.xact_start
""")  # noqa: S608  # a constant


def holders(connection: Connection) -> list[LockHolder]:
    """Who holds locks on rows or tables of ours, the longest first."""
    return made_of(connection.execute(HOLDERS), LockHolder)


def holder_now() -> LockHolder | None:
    """Who has held some for the longest, asked on a connection of its own; what met the lock may have the other one."""
    with passing_transaction() as connection:
        return next(iter(holders(connection)), None)


def long_holder(connection: Connection) -> LockHolder | None:
    """Who has held some of ours for very long, the longest; or one of whom this role is not told since when."""
    least, found = LONG.total_seconds(), holders(connection)
    return next((each for each in found if each.tables and (each.seconds is None or each.seconds >= least)), None)
