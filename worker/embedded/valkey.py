"""The embedded Valkey: a unix socket in a private folder, its data under the home, no TCP, and a password.

The password is made once, lies in files that only we can read, and reaches the server by one of them: command lines
and environments can be seen by others. Valkey's own default keeps nothing over a restart, so the append-only file is
switched on.
"""

import secrets
import shutil
from pathlib import Path

import redis

from worker.embedded.binaries import valkey_server
from worker.embedded.engine import Engine
from worker.embedded.home import Home, write_private
from worker.embedded.process import Log, Program

DATABASES = 64


class Valkey(Engine):
    """The broker of one home."""

    def __init__(self, home: Home, *, log: Log = None) -> None:
        self._home = home
        self.socket = home.runtime / "valkey.sock"
        argv = [str(valkey_server()), str(home.valkey_conf), *_options(folder=home.valkey, socket=self.socket)]
        super().__init__(Program(name="valkey", argv=argv, grace_seconds=20), log=log)

    @property
    def url(self) -> str:
        """For kombu and redis-py, database 0."""
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """For kombu, another of its numbered databases; it holds the password."""
        return f"redis+socket://:{self.password}@{self.socket}?virtual_host={database}"

    @property
    def password(self) -> str:
        """What every client must show; there is one once the server was started."""
        return self._home.valkey_pass.read_text(encoding="ascii").strip()

    def connect(self, database: int = 0) -> "redis.Redis":
        """A plain connection, for tests and checks."""
        return redis.Redis(unix_socket_path=str(self.socket), db=database, password=self.password)

    def prepare(self) -> None:
        """Valkey removes a stale socket by itself; it needs its folder and its password."""
        self._home.valkey.mkdir(mode=0o700, exist_ok=True)
        if not self._home.valkey_pass.exists():
            write_private(self._home.valkey_pass, f"{secrets.token_urlsafe(32)}\n")
        write_private(self._home.valkey_conf, f"requirepass {self.password}\n")

    def ready(self) -> bool:
        """Whether it answers, from this home's folder."""
        with self.connect() as client:
            try:
                folder = client.config_get("dir")["dir"]
            except redis.AuthenticationError:
                self.fail(f"the server at {self.socket} does not accept the password in {self._home.valkey_pass}")
            except redis.RedisError:  # not listening yet, or still loading its file
                return False
        if Path(folder) != self._home.valkey:
            self.fail(f"another server answers at {self.socket}, with its data in {folder}")
        return True

    def restart(self, *, flush: bool = False) -> None:
        """Stop it and start it again; `flush` throws its data away in between."""
        self.stop()
        if flush:
            shutil.rmtree(self._home.valkey)
        self.start()


def _options(*, folder: Path, socket: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(folder),
        "databases": str(DATABASES),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]
