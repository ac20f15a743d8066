"""Installation: which database this is, by the environment's name and the identity that was adopted (one row)."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base
from models.errors import ForeignEnvironment
from models.predicates import IS_UNDRAINED


class Installation(Base):
    """The one row that says which database was adopted, and under which name."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    environment: Mapped[str]
    system_identifier: Mapped[str]
    database_name: Mapped[str]
    timeline: Mapped[str]
    adopted_at: Mapped[datetime]
    adopted_by: Mapped[str]
    incident_no: Mapped[int]
    incident_at: Mapped[datetime | None]
    incident_reason: Mapped[str | None]
    place: Mapped[str | None]
    place_found: Mapped[str | None]
    public_url: Mapped[str | None]
    public_url_seen_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Identity:
    """What tells one database from its copies (docs/howto/back-up-and-restore.md)."""

    environment: str
    system_identifier: str
    database_name: str
    timeline: str

    def differs_from(self, other: "Identity") -> list[str]:
        """Name every part that is not the same."""
        mine, theirs = asdict(self), asdict(other)
        return [name for name in mine if mine[name] != theirs[name]]


# pg_control_checkpoint() would still show the old timeline after a promotion.
OBSERVED = """
    select (select system_identifier::text from pg_control_system()) as system_identifier,
        current_database() as database_name,
        substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) as timeline"""

REMEMBER = """
    insert into evergrant.installation
        (environment, system_identifier, database_name, timeline, adopted_by)
    values (:environment, :system_identifier, :database_name, :timeline, :who)
    on conflict (id) do """

REPLACE = """update set environment = excluded.environment,
    system_identifier = excluded.system_identifier, database_name = excluded.database_name,
    timeline = excluded.timeline, place = evergrant.installation.place_found,
    incident_at = null, incident_reason = null, adopted_by = excluded.adopted_by, adopted_at = clock_timestamp()"""


def observed(connection: Connection, environment: str) -> Identity:
    """What this database is, under the environment's name that this process was given."""
    return Identity(environment=environment, **connection.execute(text(OBSERVED)).mappings().one())


def adopted(connection: Connection) -> Identity | None:
    """What was adopted; None before the first `evergrant db upgrade`."""
    query = "select environment, system_identifier, database_name, timeline from evergrant.installation"
    row = connection.execute(text(query)).mappings().one_or_none()
    return Identity(**row) if row else None


def remember(connection: Connection, identity: Identity, *, who: str) -> None:
    """Adopt the identity where none was adopted yet."""
    connection.execute(text(REMEMBER + "nothing"), {**asdict(identity), "who": who})


def found_at(connection: Connection, place: str) -> bool:
    """Note where the data of this database lie, by whoever started its server; whether that is where they should.

    The first place counts until another one is adopted.
    """
    return bool(connection.execute(FOUND_AT, {"place": place}).scalar_one())


def moved(connection: Connection) -> bool:
    """Whether the data lie elsewhere than where they were adopted."""
    return bool(connection.execute(text("select place <> place_found from evergrant.installation")).scalar())


def adopt(connection: Connection, identity: Identity, *, who: str) -> None:
    """Adopt the identity, whatever was adopted before."""
    connection.execute(text(REMEMBER + REPLACE), {**asdict(identity), "who": who})


FOUND_AT = text("""
update evergrant.installation set place = coalesce(place, :place), place_found = :place returning place = place_found
""")

# Each of these off loses committed rows when the server crashes (seen: five times of five).
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


class NotDurable(Exception):
    """This PostgreSQL may forget what it has committed: turn the named settings on."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"{self.__doc__} ({', '.join(names)})")
        self.names = names


def not_durable(connection: Connection) -> list[str]:
    """Name the settings of this server that are off and must not be."""
    query = text("select name from pg_settings where name = any (:names) and setting = 'off' order by name")
    return list(connection.execute(query, {"names": list(DURABLE)}).scalars())


READ_ONLY = "the database is read-only"
COMMITS_NOTHING = "the database commits nothing"

# For everybody who connects: a role or a session that has been given this alone concerns nobody else.
IS_READ_ONLY = """coalesce((
    select s.setting = 'on' and s.source not in ('user', 'database user', 'client', 'interactive', 'session')
    from pg_settings s where s.name = 'default_transaction_read_only'
), false)"""


# A replica commits nothing by design, and its state says so.
COMMIT_NOTHING = text("""
select pg_logical_emit_message(true, 'evergrant', 'is anything committed?') where not pg_is_in_recovery()
""")


def unwritable(connection: Connection) -> str | None:
    """Why nothing can be written here, as far as reading tells; a standby's state says it itself."""
    if connection.execute(text(f"select {IS_READ_ONLY}")).scalar_one():
        return f"{READ_ONLY} (default_transaction_read_only is on)"
    return None


def recovers(connection: Connection) -> bool:
    """Whether this server follows another one, and takes no write."""
    return bool(connection.execute(text("select pg_is_in_recovery()")).scalar_one())


def commit_nothing(connection: Connection) -> None:
    """Give this transaction something to commit, and so to be fsynced: a record in PostgreSQL's log, and no row."""
    connection.execute(COMMIT_NOTHING)


STATE = text("select evergrant.database_state(cast(:environment as text))")
RAISE = text("""
update evergrant.installation
set incident_no = incident_no + 1, incident_at = clock_timestamp(), incident_reason = :reason
where incident_at is null
""")
NOT_REPLAYED = text(f"""
select j.id, j.host, j.seen_at
from evergrant.journals j cross join evergrant.installation i
where {IS_UNDRAINED} and j.replayed_incident is distinct from i.incident_no
order by j.id
""")  # noqa: S608  # constants
# Over when every journal that is not marked drained was replayed for this incident. Not at once: the row of a living
# worker's journal may be among the missing commits, and it is back only after that worker's next heartbeat.
CLOSE = text(f"""
update evergrant.installation i
set incident_at = null, incident_reason = null, timeline = substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
where i.incident_at <= clock_timestamp() - cast(:least as interval) and not exists (
    select from evergrant.journals j
    where {IS_UNDRAINED} and j.replayed_incident is distinct from i.incident_no
)
returning i.incident_no
""")  # noqa: S608  # constants


def state(connection: Connection, environment: str | None) -> str:
    """Whether anything may be claimed and sent here.

    `fit`, `rewound` (commits may be missing), `copied`, `standby` or `not_adopted`.
    """
    return str(connection.execute(STATE, {"environment": environment}).scalar_one())


def require_environment(connection: Connection, environment: str) -> None:
    """Refuse to change what is another environment's.

    Raises:
        ForeignEnvironment: this database was adopted for another one.

    """
    known = adopted(connection)
    if known is not None and known.environment != environment:
        raise ForeignEnvironment(known.environment, environment)


def raise_incident(connection: Connection, reason: str) -> int:
    """Stop all claims and starts until every journal was replayed; returns the incident's number."""
    connection.execute(RAISE, {"reason": reason})
    return int(connection.execute(text("select incident_no from evergrant.installation")).scalar_one())


@dataclass(frozen=True, slots=True)
class Awaited:
    """A journal that an incident waits for."""

    id: int
    host: str
    seen_at: datetime


def not_replayed(connection: Connection) -> list[Awaited]:
    """The journals that the present incident waits for."""
    return [Awaited(**row) for row in connection.execute(NOT_REPLAYED).mappings()]


def close_incident(connection: Connection, *, least: timedelta) -> bool:
    """Let work go on if every journal was replayed; returns whether it does.

    `least`: how long an incident lasts, so that every living process has noticed it.
    """
    return connection.execute(CLOSE, {"least": least}).scalar() is not None
