"""A whole installation that other applications use: worker and beat that run, and a provider with one client."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from tests.acceptance.installation import Installation
from tests.acceptance.providers import ORG, Simulated, simulated


@dataclass
class Serving:
    """An installation with one client, `app`, whose grants are due in an hour."""

    installation: Installation
    provider: Simulated

    @property
    def broker_url(self) -> str:
        return self.installation.env["EVERGRANT_BROKER_URL"]

    def refreshed(self, ref: str) -> int:
        return len(self.provider.refreshes().get(ref, []))

    def revocations(self) -> dict[str, str]:
        return {row["ref"]: row["status"] for row in self.installation.listed("revocations", "list")}

    def ready_for_requests(self) -> None:
        """Let the token sets be old enough to be refreshed early."""
        self.installation.rows("update evergrant.grants set refreshed_at = refreshed_at - interval '1 hour'")


@contextmanager
def serving(servers: Any, folder: Path, *, grants: int, **settings: str) -> Iterator[Serving]:
    """Run one with grants `app-1`, `app-2` …

    Worker and beat, and the operator's commands, have no more rights than `evergrant db roles` gives them.
    """
    name = f"serving_{os.getpid()}_{time.monotonic_ns()}"
    with servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with servers.valkey.connect(servers.worker_number) as broker:
        broker.flushdb()
    installation = Installation.made(
        folder / "installation",
        database_url=servers.postgres.url_of(name),
        broker_url=servers.valkey.url_of(servers.worker_number),
        **settings,
    )
    installation.command("db", "roles", "--apply")
    with simulated("on_use", lifetime=7200) as provider:
        try:
            yield _started(Serving(installation, provider), grants)
        finally:
            installation.close()
    with servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for (login,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"{name}_%"]):
            connection.execute(f"DROP ROLE {login}")


def _started(new: Serving, grants: int) -> Serving:
    installation, provider = new.installation, new.provider
    as_login(installation, "evergrant_worker")
    installation.worker()
    installation.beat()
    as_login(installation, "evergrant_admin")
    installation.register("app", provider.registration(), provider.secret)
    rows = [row | {"labels": {"org": [ORG]}} for row in provider.mint(grants, "app-")]
    installation.import_grants("app", rows)
    new.ready_for_requests()
    return new


def as_login(installation: Installation, *roles: str) -> None:
    """Let what is started from now on connect as a login that has these roles alone."""
    installation.env["EVERGRANT_DATABASE_URL"] = login(installation, *roles)


def login(installation: Installation, *roles: str) -> str:
    """Make a login that has these roles alone, or none; returns the database's URL with it."""
    parts = conninfo_to_dict(installation.database_url)
    name, password = f"{parts['dbname']}_{secrets.token_hex(4)}", secrets.token_hex(8)
    within = f" in role {', '.join(roles)}" if roles else ""
    installation.rows(f"create role {name} login password '{password}'{within}")
    address = f"postgresql://{name}:{password}@/{parts['dbname']}?host={parts['host']}"
    return address + (f"&port={parts['port']}" if "port" in parts else "")
