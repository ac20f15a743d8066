"""Which database this is: the environment's name and the identity that was adopted (one row)."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


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


@dataclass(frozen=True)
class Identity:
    """What tells one database from its copies (protocol.md §8)."""

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
    timeline = excluded.timeline, adopted_by = excluded.adopted_by, adopted_at = clock_timestamp()"""


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


def adopt(connection: Connection, identity: Identity, *, who: str) -> None:
    """Adopt the identity, whatever was adopted before."""
    connection.execute(text(REMEMBER + REPLACE), {**asdict(identity), "who": who})
