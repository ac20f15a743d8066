"""Application: someone else's program that may use the token interface; what it may, and for whose grants."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, ForeignKey, RowMapping, text
from sqlalchemy.orm import Mapped, mapped_column

from models import application_key
from models.application_key import hashed, new_key
from models.base import Base, identity
from models.errors import ApplicationExists, UnknownApplication
from models.states.application import KeyState, Right
from models.states.event import EventType

__all__ = ["Application", "ApplicationClient", "Holder", "hashed", "new_key"]

EVERYTHING: Final = frozenset(Right)
# What every key may that was made before keys could say what they may; no later right is in it.
FIRST_RIGHTS: Final = frozenset({Right.READ, Right.REFRESH, Right.REVOKE, Right.ERASE})
SOON: Final = timedelta(days=14)  # a key that ends within is told


class Application(Base):
    """Who may use the token interface."""

    __tablename__ = "applications"

    id: Mapped[int] = identity()
    name: Mapped[str] = mapped_column(unique=True)
    client_id: Mapped[int | None] = mapped_column(ForeignKey("evergrant.clients.id"))
    key_hash: Mapped[bytes] = mapped_column(
        doc="for the release before: the newest key's, where it may all that it knows"
    )
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    may: Mapped[list[str] | None]


class ApplicationClient(Base):
    """One of several clients whose grants an application may see."""

    __tablename__ = "application_clients"

    application_id: Mapped[int] = mapped_column(
        ForeignKey("evergrant.applications.id", ondelete="CASCADE"), primary_key=True
    )
    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"), primary_key=True)


@dataclass(frozen=True, slots=True)
class Holder:
    """One key of an application as the token interface knows it.

    `clients` None: it sees the grants of every one. `left`: how long it had to open anything when this was read; None:
    for good. `key_id` None: it has no row of its own yet.
    """

    id: int
    name: str
    clients: frozenset[str] | None
    key_hash: bytes = field(repr=False)
    may: frozenset[str] = EVERYTHING
    left: timedelta | None = None
    key_id: int | None = None

    def may_see(self, client: str | None) -> bool:
        """Whether it may see grants of a client; None: where it names none."""
        return self.clients is None or client is None or client in self.clients

    @property
    def only(self) -> str | None:
        """The client whose grants are all that it sees, where it is one."""
        return next(iter(self.clients)) if self.clients is not None and len(self.clients) == 1 else None


INSERT = text("""
insert into evergrant.applications (name, client_id, key_hash, created_by, may)
values (:name, :client_id, :key_hash, :who, cast(:may as text[]))
on conflict (name) do nothing returning id
""")

INSERT_CLIENTS = text("""
insert into evergrant.application_clients (application_id, client_id)
select :id, unnest(cast(:client_ids as bigint[]))
""")

SHOW_TO_THE_RELEASE_BEFORE = text("update evergrant.applications set key_hash = :key_hash where id = :id")

TOLD = text("""
insert into evergrant.events (type, client_id, data, actor)
values (:type, :client_id, cast(:data as jsonb), :who)
""")

# One row alone says for which client, several for which of them.
CLIENTS = """
    nullif(array(
        select c.name from evergrant.clients c
        where c.id = a.client_id or exists (
            select from evergrant.application_clients x where x.application_id = a.id and x.client_id = c.id
        )
        order by c.name
    ), '{}')"""

HOLDERS = text(f"""
select a.id, a.name, {CLIENTS} as clients, a.may, coalesce(k.key_hash, a.key_hash) as key_hash,
    k.id as key_id, k.expires_at - clock_timestamp() as left
from evergrant.applications a left join evergrant.application_keys k on k.application_id = a.id
""")  # noqa: S608  # constants

ALL = text(f"""
select a.name, {CLIENTS} as clients, a.may, a.created_at, a.created_by, newest.expires_at, used.at as used_at,
    greatest(used.keys, case when newest.found is null then 1 end) as keys,
    case
        when newest.expires_at <= clock_timestamp() then '{KeyState.ENDED}'
        when newest.expires_at <= clock_timestamp() + cast(:soon as interval) then '{KeyState.ENDS_SOON}'
        else '{KeyState.OPENS}'
    end as state
from evergrant.applications a
left join lateral (
    select k.expires_at, true as found from evergrant.application_keys k
    where k.application_id = a.id order by k.id desc limit 1
) newest on true
cross join lateral (
    select max(k.used_at) as at,
        count(*) filter (where k.expires_at is null or k.expires_at > clock_timestamp()) as keys
    from evergrant.application_keys k where k.application_id = a.id
) used
order by a.name
""")  # noqa: S608  # constants

FIND = text("""
select a.id, a.client_id, a.may,
    exists (select from evergrant.application_clients x where x.application_id = a.id) as has_several
from evergrant.applications a where a.name = :name for update
""")


def add(
    connection: Connection,
    name: str,
    *,
    client_ids: Sequence[int] = (),
    key: str,
    who: str,
    may: Collection[str] = EVERYTHING,
    expires_in: timedelta | None = None,
) -> datetime | None:
    """Let an application use the token interface; returns when its key ends, None where it never does.

    `client_ids`: whose grants it sees; none: those of every client.

    Raises:
        ApplicationExists: the name is taken.

    """
    ids = sorted(set(client_ids))
    client_id = ids[0] if len(ids) == 1 else None
    is_plain = set(may) >= FIRST_RIGHTS and expires_in is None and len(ids) <= 1
    wanted = {
        "name": name,
        "client_id": client_id,
        "key_hash": hashed(key) if is_plain else application_key.of_nobody(),
        "who": who,
        "may": None if set(may) == FIRST_RIGHTS else in_order(may),
    }
    application_id = connection.execute(INSERT, wanted).scalar()
    if application_id is None:
        raise ApplicationExists(name)
    if len(ids) > 1:
        connection.execute(INSERT_CLIENTS, {"id": application_id, "client_ids": ids})
    expires_at = application_key.add(connection, application_id, key, expires_in=expires_in, who=who)
    told = {"name": name, "may": in_order(may), "expires_at": None if expires_at is None else expires_at.isoformat()}
    _tell(connection, EventType.APPLICATION_ADDED, told, client_id=client_id, who=who)
    return expires_at


def rotate(
    connection: Connection, name: str, *, key: str, overlap: timedelta, expires_in: timedelta | None, who: str
) -> datetime | None:
    """Give an application another key; the one before ends after `overlap`. Returns when the new one ends.

    `expires_in` None: it lives as long as the one before was given.

    Raises:
        UnknownApplication: there is none of that name.

    """
    found = _found(connection, name)
    expires_at = application_key.replace(connection, found.id, key, overlap=overlap, expires_in=expires_in, who=who)
    is_plain = _rights(found.may) >= FIRST_RIGHTS and expires_at is None and not found.has_several
    shown = hashed(key) if is_plain else application_key.of_nobody()
    connection.execute(SHOW_TO_THE_RELEASE_BEFORE, {"id": found.id, "key_hash": shown})
    told = {"name": name, "overlap_seconds": overlap.total_seconds()}
    _tell(connection, EventType.APPLICATION_ROTATED, told, client_id=found.client_id, who=who)
    return expires_at


def _found(connection: Connection, name: str) -> Any:
    found = connection.execute(FIND, {"name": name}).one_or_none()
    if found is None:
        raise UnknownApplication(name, [row["name"] for row in listed(connection)])
    return found


def remove(connection: Connection, name: str, *, who: str) -> None:
    """Let an application's keys open nothing from now on.

    Raises:
        UnknownApplication: there is none of that name.

    """
    found = _found(connection, name)
    connection.execute(text("delete from evergrant.applications where id = :id"), {"id": found.id})
    _tell(connection, EventType.APPLICATION_REMOVED, {"name": name}, client_id=found.client_id, who=who)


def listed(connection: Connection) -> Sequence[RowMapping]:
    """Every application, by name."""
    return connection.execute(ALL, {"soon": SOON}).mappings().all()


def holders(connection: Connection) -> list[Holder]:
    """Every key of every application."""
    return [_holder(row) for row in connection.execute(HOLDERS).mappings()]


def _holder(row: RowMapping) -> Holder:
    return Holder(
        id=row["id"],
        name=row["name"],
        clients=None if row["clients"] is None else frozenset(row["clients"]),
        key_hash=row["key_hash"],
        may=_rights(row["may"]),
        left=row["left"],
        key_id=row["key_id"],
    )


def _rights(may: Sequence[str] | None) -> frozenset[str]:
    return FIRST_RIGHTS if may is None else frozenset(may)


def in_order(may: Collection[str]) -> list[str]:
    """Rights as they are told."""
    return [str(each) for each in Right if each in may]


def _tell(connection: Connection, kind: str, data: Mapping[str, Any], *, client_id: int | None, who: str) -> None:
    connection.execute(TOLD, {"type": kind, "client_id": client_id, "data": json.dumps(data), "who": who})
