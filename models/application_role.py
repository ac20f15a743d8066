"""Application role: a role of the database for one application, and the clients whose grants it may have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base
from models.roles import CREATE, LINKS, REQUESTS


class ApplicationRole(Base):
    """Read by `evergrant.own_clients`; written by the statements below."""

    __tablename__ = "application_roles"

    role: Mapped[str] = mapped_column(primary_key=True)
    client_ids: Mapped[list[int]]
    may: Mapped[list[str]]
    made_at: Mapped[datetime]
    made_by: Mapped[str]


# What the role of an application may, and what it needs for that.
MAY = {
    "read": "grant select on evergrant.own_access_tokens to {role}",
    "refresh": f"grant execute on function {REQUESTS[0]} to {{role}}",
    "revoke": f"grant execute on function {REQUESTS[1]} to {{role}}",
    "connect": f"grant execute on function {', '.join(LINKS)} to {{role}}",
}
PREFIX = "evergrant_app_"
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # so that the role's name needs no quotes, and is not cut
# A login that waits for nothing long, holds nothing long, and cannot take every connection.
LIMITS = {
    "statement_timeout": "10s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
}
CONNECTIONS = 20


@dataclass(frozen=True, slots=True)
class OwnRole:
    """The role that one application is to have: for the grants of `clients` alone, by their names."""

    application: str
    clients: Sequence[str]
    may: Sequence[str]
    login: str | None = None

    @property
    def name(self) -> str:
        """As the database knows it."""
        return PREFIX + self.application

    def statements(self) -> list[str]:
        """Every statement that makes it so, in order, and anew where it was there."""
        return [
            CREATE.format(role=self.name),
            f"revoke all on all tables in schema evergrant from {self.name}",
            f"revoke all on all functions in schema evergrant from {self.name}",
            f"grant usage on schema evergrant to {self.name}",
            self._remember(),  # before it has a right: a role that is not remembered would not be narrowed
            *(MAY[each].format(role=self.name) for each in self.may),
            *self._of_login(),
        ]

    def _remember(self) -> str:
        names = ", ".join(map(_literal, self.clients))
        may = ", ".join(map(_literal, self.may))
        return f"""insert into evergrant.application_roles (role, client_ids, may)
select {_literal(self.name)}, array(select c.id from evergrant.clients c where c.name in ({names}) order by c.id),
    array[{may}]
on conflict (role) do update set client_ids = excluded.client_ids, may = excluded.may,
    made_at = excluded.made_at, made_by = excluded.made_by"""  # noqa: S608  # literals, quoted

    def _of_login(self) -> list[str]:
        if self.login is None:
            return []
        login = _identifier(self.login)
        return [
            f"grant {self.name} to {login}",
            f"alter role {login} connection limit {CONNECTIONS}",
            *(f"alter role {login} set {name} = '{limit}'" for name, limit in LIMITS.items()),
        ]


def login_exists(connection: Connection, name: str) -> bool:
    """Whether there is a role of this name that may log in."""
    query = text("select exists (select from pg_roles where rolname = :name and rolcanlogin)")
    return bool(connection.execute(query, {"name": name}).scalar())


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
