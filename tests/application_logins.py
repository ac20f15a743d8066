"""Logins of applications, each with a role of its own, on the tests' database; roles belong to the whole cluster."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import make_conninfo

from models import roles
from models.application_role import MAY, OwnRole
from models.database import transaction
from tests.harness import Harness


@dataclass
class Logins:
    """Makes logins; `close` drops them with their roles."""

    harness: Harness
    made: list[str] = field(default_factory=list)
    opened: list[psycopg.Connection] = field(default_factory=list)

    def login(self, *groups: str) -> str:
        """A new login, a member of these; returns its name."""
        name = f"login_{secrets.token_hex(6)}"
        self._run(f"create role {name} login password 'hush'")
        self.made.append(name)
        for group in groups:
            self._run(f"grant {group} to {name}")
        return name

    def role(self, *clients: str, may: Sequence[str] = tuple(MAY), login: str | None = None) -> str:
        """The role of a new application, as `db roles --application` makes it; returns its name."""
        own = OwnRole(f"t{secrets.token_hex(6)}", clients, may, login)
        with transaction() as connection:
            roles.carry_out(connection, own.statements())
        self.made.append(own.name)
        return own.name

    def connect(self, login: str) -> psycopg.Connection:
        """A connection of a login, each statement in a transaction of its own."""
        self.opened.append(psycopg.connect(self.address(login), autocommit=True))
        return self.opened[-1]

    def address(self, login: str) -> str:
        """Where and as whom such a login connects."""
        found = self.harness.settings.database_url
        assert found is not None
        return make_conninfo(found.get_secret_value(), user=login, password="hush")

    def application(self, *clients: str, may: Sequence[str] = tuple(MAY)) -> psycopg.Connection:
        """A connection of a new login that has a new application's role."""
        return self.connect(self.login(self.role(*clients, may=may)))

    def close(self) -> None:
        """Drop everything that was made."""
        for connection in self.opened:
            connection.close()
        for name in self.made:
            self._run(f"drop owned by {name} cascade; drop role {name}")

    def _run(self, statement: str) -> None:
        self.harness.run(statement)


@contextmanager
def logins(harness: Harness) -> Iterator[Logins]:
    """Logins for one test."""
    with transaction() as connection:
        roles.apply(connection)
    made = Logins(harness)
    try:
        yield made
    finally:
        made.close()


def allowed(connection: psycopg.Connection, statement: str) -> bool:
    """Whether a statement is permitted; what it does is undone."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True
