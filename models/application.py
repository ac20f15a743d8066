"""Application: someone else's program that may use the token interface, and the hash of its key."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, ForeignKey, RowMapping, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity
from models.errors import ApplicationExists, UnknownApplication
from models.states.event import EventType

KEY_BYTES = 32


class Application(Base):
    """Who may read tokens over HTTP: of one client's grants, or of all."""

    __tablename__ = "applications"

    id: Mapped[int] = identity()
    name: Mapped[str] = mapped_column(unique=True)
    client_id: Mapped[int | None] = mapped_column(ForeignKey("evergrant.clients.id"))
    key_hash: Mapped[bytes]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


@dataclass(frozen=True, slots=True)
class Holder:
    """An application as the token interface knows it; `client` None: it may read the grants of every client."""

    id: int
    name: str
    client: str | None
    key_hash: bytes = field(repr=False)


INSERT = text("""
insert into evergrant.applications (name, client_id, key_hash, created_by)
values (:name, :client_id, :key_hash, :who)
on conflict (name) do nothing returning id
""")

TOLD = text("""
insert into evergrant.events (type, client_id, data, actor)
values (:type, :client_id, cast(:data as jsonb), :who)
""")

ALL = text("""
select a.id, a.name, c.name as client, a.key_hash, a.created_at, a.created_by
from evergrant.applications a left join evergrant.clients c on c.id = a.client_id
order by a.name
""")


def new_key() -> str:
    """Make a key that nobody can guess, as it stands after `Bearer`."""
    return f"egk_{secrets.token_urlsafe(KEY_BYTES)}"


def hashed(key: str) -> bytes:
    """What is stored of a key: SHA-256, since a random key needs no slow hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def add(connection: Connection, name: str, *, client_id: int | None, key: str, who: str) -> None:
    """Let an application use the token interface.

    Raises:
        ApplicationExists: the name is taken.

    """
    wanted = {"name": name, "client_id": client_id, "key_hash": hashed(key), "who": who}
    if connection.execute(INSERT, wanted).scalar() is None:
        raise ApplicationExists(name)
    _tell(connection, EventType.APPLICATION_ADDED, {"name": name}, client_id=client_id, who=who)


def remove(connection: Connection, name: str, *, who: str) -> None:
    """Let an application's key open nothing from now on.

    Raises:
        UnknownApplication: there is none of that name.

    """
    query = "delete from evergrant.applications where name = :name returning client_id"
    gone = connection.execute(text(query), {"name": name}).one_or_none()
    if gone is None:
        raise UnknownApplication(name, [row["name"] for row in listed(connection)])
    _tell(connection, EventType.APPLICATION_REMOVED, {"name": name}, client_id=gone.client_id, who=who)


def listed(connection: Connection) -> Sequence[RowMapping]:
    """Every application, by name."""
    return connection.execute(ALL).mappings().all()


def holders(connection: Connection) -> list[Holder]:
    """Every application with the hash of its key."""
    return [Holder(row["id"], row["name"], row["client"], row["key_hash"]) for row in listed(connection)]


def _tell(connection: Connection, kind: str, data: Mapping[str, str], *, client_id: int | None, who: str) -> None:
    connection.execute(TOLD, {"type": kind, "client_id": client_id, "data": json.dumps(data), "who": who})
