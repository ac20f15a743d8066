"""The embedded PostgreSQL: our own launcher around the bare programs `initdb` and `postgres`.

A unix socket in a folder that only we can enter, no TCP, a generated password (scram); never `peer`: inside a
user namespace every unmapped user looks like the owner. Root does not run it as itself, see identity.py.
"""

import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import psycopg

import settings
from worker.embedded import cluster, identity, sizing, stale
from worker.embedded.binaries import postgres_bin
from worker.embedded.cluster import USER
from worker.embedded.engine import Engine
from worker.embedded.home import Home, private_folder
from worker.embedded.process import Log, Program

DATABASE = "evergrant"
_LEFTOVER_SECONDS = 30.0


class Postgres(Engine):
    """The database server of one home."""

    def __init__(self, home: Home, *, log: Log = None) -> None:
        self._home = home
        self._bin = postgres_bin()
        self._identity = identity.choose(home.postgres, self._bin)
        # A socket's folder must be the server's own.
        self.sockets = home.runtime if self._identity != "nobody" else home.runtime_of_nobody
        program = Program(
            name="postgres",
            argv=[str(self._bin / "postgres"), "-D", str(home.postgres), *self._options()],
            identity=self._identity,
            stop_signal=signal.SIGINT,  # fast: ends sessions, then writes everything out
            kill_signal=signal.SIGQUIT,  # immediate: repeats its log at the next start, loses nothing
            grace_seconds=60,
        )
        super().__init__(program, log=log)

    @property
    def url(self) -> str:
        """For libpq and SQLAlchemy; it names the password's file and holds no secret."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The same for another database of this server."""
        return self.url_as(USER, self._home.passfile, database=database)

    def url_as(self, user: str, passfile: Path, *, database: str = DATABASE) -> str:
        """The same for another user."""
        where = f"host={quote(str(self.sockets))}&passfile={quote(str(passfile))}"
        return f"postgresql://{user}@/{database}?{where}"

    def passfile_of(self, kind: str) -> Path:
        """Where the password of a kind of process is."""
        return self._home.passfile_of(kind)

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection in autocommit mode, for set-up and checks."""
        return psycopg.connect(self.url_of(database), autocommit=True, connect_timeout=5)

    def prepare(self) -> None:
        """Make the data folder at the first start; before any other, clear what a killed server left.

        Raises:
            EngineFailed: the folder is of another release of PostgreSQL, or a server still uses it.

        """
        identity.open_way(self._home.path, self._identity)
        if self.sockets != self._home.runtime and not self.sockets.exists():
            private_folder(self.sockets, home=self._home.path, closed=True)
            identity.hand_over(self.sockets, self._identity)
        if not self._home.postgres.exists():
            cluster.make(self._home, self._bin, self._identity, fail=self.fail)
        cluster.check_version(self._home.postgres, fail=self.fail)
        left = stale.wait_for_end(self._home.postgres, seconds=_LEFTOVER_SECONDS)
        if left is not None:
            self.fail(f"{left} still uses {self._home.postgres}")
        stale.remove_notes(self._home.postgres, self.sockets)

    def ready(self) -> bool:
        """Whether it answers from this home's folder; makes our database the first time."""
        try:
            with self.connect() as connection:
                self._check_folder(connection)
                _make_database(connection)
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                self.fail(f"it does not accept the password in {self._home.passfile}")
            return False
        return True

    def restart(self, *, immediate: bool = False) -> None:
        """Stop it and start it again; `immediate` as in a crash: no session ends in peace."""
        if immediate:
            self.kill()
        else:
            self.stop()
        self.start()

    def _check_folder(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        row = connection.execute("SHOW data_directory").fetchone()
        folder = str(row[0]) if row else ""
        if not (Path(folder).is_dir() and self._home.postgres.samefile(folder)):
            self.fail(f"another server answers in {self.sockets}, with its data in {folder}")

    def _options(self) -> list[str]:
        wanted = settings.current()
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "postgres: %m ",
            "log_checkpoints": "off",
            # A failing statement is not repeated in the log: CREATE ROLE … PASSWORD would stand there.
            "log_min_error_statement": "panic",
            **sizing.options(
                memory=sizing.memory(),
                disk=shutil.disk_usage(self._home.path).total,
                processes=wanted.workers + sizing.BESIDE_WORKERS,
                pool=wanted.database_pool,
            ),
        }
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]


def _make_database(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
        connection.execute(f"CREATE DATABASE {DATABASE}")
