"""One installation as an operator has it: settings in the environment, a worker, a beat, and the command line."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from models.sealing.vault import KeyRing, Vault
from settings import Settings
from tests.acceptance import commands
from tests.acceptance.programs import ROOT, Running, environment
from tests.polling import eventually

PROGRAMS = Path(sys.executable).parent
READY = {"worker": "ready.", "beat": "beat: Starting..."}


class Installation:
    """What commands and processes do with one database; `env` says which.

    `root`: whose checkout they run; `programs`: the environment that they run in, its `bin`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        vault: Vault,
        env: Mapping[str, str],
        root: Path = ROOT,
        programs: Path = PROGRAMS,
    ) -> None:
        self.folder = folder
        self.root = root
        self.programs = programs
        self.database_url = database_url
        self.vault = vault
        self.env = dict(env)
        self.processes: list[Running] = []
        self._numbers = itertools.count(1)

    @classmethod
    def made(cls, folder: Path, *, database_url: str, broker_url: str, **settings: str) -> Self:
        """Make one on servers that belong to somebody else, with key rings of its own."""
        new = cls.prepared(folder, database_url=database_url, broker_url=broker_url, **settings)
        new.command("db", "upgrade")
        return new

    @classmethod
    def prepared(cls, folder: Path, *, database_url: str, broker_url: str, **settings: str) -> Self:
        """The same, whose database is empty still."""
        (folder / "home").mkdir(mode=0o700, parents=True)
        env = {
            "EVERGRANT_DATABASE_URL": database_url,
            "EVERGRANT_BROKER_URL": broker_url,
            "EVERGRANT_HOME": str(folder / "home"),
            "EVERGRANT_ENVIRONMENT": "acceptance",
            **variables(settings),
        }
        files = {ring: folder / f"{ring}.keys" for ring in ("refresh", "access")}
        for ring, file in files.items():
            file.touch(mode=0o600)
            file.write_text(KeyRing.generate_line(f"{ring}-1") + "\n", encoding="utf-8")
            env[f"EVERGRANT_{ring.upper()}_TOKEN_KEYS_FILE"] = str(file)
        return cls(folder, database_url=database_url, vault=vault_of(**files), env=env)

    def by(self, root: Path, programs: Path = PROGRAMS) -> "Installation":
        """The same installation, worked by another checkout, or by what another environment has installed."""
        other = Installation(
            self.folder,
            database_url=self.database_url,
            vault=self.vault,
            env=self.env,
            root=root,
            programs=programs,
        )
        other.processes, other._numbers = self.processes, self._numbers
        return other

    # Commands

    def command(self, *arguments: str, exit_code: int = 0, stdin: str = "") -> str:
        """Carry out one command line; returns what it printed."""
        done = self._done(*arguments, stdin=stdin)
        assert done.returncode == exit_code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def _done(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        env = environment(self.env) | ({} if self.root == ROOT else {"PYTHONPATH": str(self.root)})
        if (self.root, self.programs) == (ROOT, PROGRAMS):
            return commands.carried_out(arguments, cwd=ROOT, env=env, stdin=stdin, seconds=120)
        return subprocess.run(
            [str(self.programs / "python"), "-m", "worker.cli", *arguments],
            cwd=self.root,
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        """What a reading command prints with --json."""
        return [json.loads(line) for line in self.command(*arguments, "--json").splitlines()]

    def attention(self) -> list[dict[str, Any]]:
        """What `status` tells to need attention, whether or not somebody must act."""
        done = self._done("status", "--json")
        assert done.returncode in (0, 1), (done.stdout, done.stderr)
        found: list[dict[str, Any]] = json.loads(done.stdout)["attention"]
        return found

    def register(self, name: str, registration: Sequence[str], secret: str) -> None:
        """Add a client."""
        self.command("clients", "add", name, *registration, "--client-secret-file", "-", stdin=secret)

    def import_grants(self, client: str, rows: Sequence[dict[str, Any]]) -> None:
        """Take over grants."""
        self.command("grants", "import", "-", "--client", client, stdin="".join(json.dumps(row) + "\n" for row in rows))

    # Processes

    def worker(self, *options: str, wait: bool = True) -> Running:
        return self._start("worker", *options, wait=wait)

    def beat(self, *, wait: bool = True) -> Running:
        return self._start("beat", wait=wait)

    def _start(self, kind: str, *options: str, wait: bool) -> Running:
        name = f"{kind}-{next(self._numbers)}"
        # Plain Celery, as the project promises; `-n` because two workers of one host must not share a name.
        argv = [str(self.programs / "celery"), "-A", "worker", kind]
        argv += ["-n", f"{name}@localhost"] if kind == "worker" else []
        argv += options
        running = self.run(name, argv)
        if wait:
            eventually(lambda: running.said(READY[kind]), timeout=60)
        return running

    def run(self, name: str, argv: Sequence[str]) -> Running:
        """Start a program in this installation's environment."""
        running = Running(name, argv, env=self.env, log=self.folder / f"{name}.log", root=self.root)
        self.processes.append(running)
        return running

    def close(self) -> None:
        """Kill whatever still runs."""
        for running in self.processes:
            running.kill()

    def logged(self, *words: str) -> list[str]:
        """Every line of every process that holds one of the words."""
        lines = (line for each in self.processes for line in each.log.read_text(errors="replace").splitlines())
        return [line for line in lines if any(word in line for word in words)]

    # What the database says

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Carry out a statement, in a connection of its own."""
        with (
            psycopg.connect(self.database_url, connect_timeout=5, row_factory=dict_row) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def is_waiting(self) -> bool:
        """Whether a transaction waits for somebody's lock."""
        waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        return bool(self.rows(waiting))

    def statuses(self, client: str) -> dict[str, int]:
        """How many grants of a client have which status."""
        statement = """
            select g.status, count(*) as n from evergrant.grants g join evergrant.clients c on c.id = g.client_id
            where c.name = %s group by g.status
        """
        return {row["status"]: row["n"] for row in self.rows(statement, [client])}

    def fresh(self) -> Counter[str]:
        """How many access tokens are handed out now, by client."""
        statement = """
            select client, count(*) as n from evergrant.access_tokens where sealed_access_token is not null group by 1
        """
        return Counter({row["client"]: row["n"] for row in self.rows(statement)})

    def handed_out(self) -> dict[str, str]:
        """Every access token that the view hands out now, by ref."""
        found = self.rows(
            "select grant_id, ref, sealed_access_token from evergrant.access_tokens"
            " where sealed_access_token is not null"
        )
        return {row["ref"]: self.open(row["grant_id"], row["sealed_access_token"]) for row in found}

    def refresh_tokens(self) -> dict[str, str]:
        """Every refresh token that is stored, by ref: for the provider to judge."""
        found = self.rows(
            "select id, ref, sealed_refresh_token from evergrant.grants where sealed_refresh_token is not null"
        )
        return {
            row["ref"]: self.vault.open(
                row["sealed_refresh_token"], table="grants", row_id=row["id"], purpose="refresh"
            )
            for row in found
        }

    def open(self, grant_id: UUID, sealed: bytes) -> str:
        """Open an access token as a reading application does."""
        return self.vault.open(sealed, table="grants", row_id=grant_id, purpose="access")


def variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings as the environment names them."""
    return {f"EVERGRANT_{name.upper()}": value for name, value in settings.items()}


def vault_of(*, refresh: Path, access: Path) -> Vault:
    """Opens what an installation sealed, as an application does."""
    return Vault.from_settings(Settings(refresh_token_keys_file=refresh, access_token_keys_file=access))
