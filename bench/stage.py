"""Where everything is measured: engines of a throw-away home, a provider, and processes that end with us.

PostgreSQL and Valkey are the embedded ones of `evergrant up`, with its settings (fsync and synchronous commits on,
append-only file on), and all contestants use the same ones.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

import settings
from bench.machine import ROOT
from models import database
from worker.embedded import supervisor
from worker.embedded.engines import Engines
from worker.embedded.process import Process, Program

START_SECONDS = 60.0


class NotDone(Exception):
    """Something did not happen in time; the message says what, and the log's last lines why."""


@dataclass(frozen=True)
class Provider:
    """The provider's process, as the benchmark asks and orders it."""

    url: str
    tls_url: str = ""
    process: Process = field(kw_only=True)

    def order(self, path: str, **body: Any) -> None:
        """Order something: `_reset` with count and delay, `_mark`, `_set` with delay or mood."""
        self._call("POST", path, body)

    def ask(self, path: str) -> Any:
        """Ask for `_report`, `_numbers` or `_arrivals`."""
        return self._call("GET", path, None)

    def _call(self, method: str, path: str, body: Any) -> Any:
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        try:
            connection.request(method, f"/{path}", None if body is None else json.dumps(body))
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise NotDone(f"{method} {path}: {answer.status}")
            return json.loads(said)
        finally:
            connection.close()


@dataclass
class Stage:
    """What runs for one benchmark."""

    home: Path
    engines: Engines
    stack: ExitStack
    processes: dict[str, Process] = field(default_factory=dict)

    # Processes

    def run(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """Start a program from the project's folder; its lines go to a file of its own."""
        full = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})}
        log = self.stack.enter_context(self.log_of(name).open("ab"))
        process = Process(Program(name=name, argv=argv, env=full, inherits=dict, grace_seconds=40), log=log)
        process.launch()
        self.processes[name] = process
        return process

    def python(self, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
        """Start a module of ours with this interpreter."""
        return self.run(name, [sys.executable, "-m", *arguments], env)

    def command(self, *arguments: str, stdin: str = "", seconds: float = 600) -> str:
        """Carry out a command line of Evergrant, as a user would; returns what it printed."""
        import subprocess

        argv = [sys.executable, "-m", "worker.cli", *arguments]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT)
        if done.returncode:
            raise NotDone(f"evergrant {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def log_of(self, name: str) -> Path:
        """Where the lines of a process are."""
        return self.home / f"{name}.log"

    def wait_said(self, name: str, words: str, *, seconds: float = START_SECONDS) -> None:
        """Wait until a process has said something.

        Raises:
            NotDone: it ended, or stayed silent.

        """
        process = self.processes[name]

        def said() -> bool:
            if words in self.log_of(name).read_text(encoding="utf-8", errors="replace"):
                return True
            if not process.alive():
                raise NotDone(f"{name} ended: {self.tail(name)}")
            return False

        wait(said, f"{name} does not say {words!r}", seconds=seconds)

    def tail(self, name: str) -> str:
        """The last that a process said."""
        return self.log_of(name).read_text(encoding="utf-8", errors="replace")[-1500:]

    def stop(self, *names: str) -> None:
        """End processes, all but the engines where none is named."""
        for name in names or tuple(self.processes):
            self.processes.pop(name).stop()

    def check_alive(self) -> None:
        """See that whatever was started to stay is there.

        Raises:
            NotDone: a process has failed.

        """
        for name, process in self.processes.items():
            if process.exit_code:
                raise NotDone(f"{name} ended: {self.tail(name)}")

    def pids(self, *names: str) -> list[int]:
        """Process ids of those that run."""
        return [pid for name in names if (pid := self.processes[name].pid)]

    @property
    def engine_pids(self) -> dict[str, list[int]]:
        """The engines as parts to be measured."""
        return {each.name: [each.pid] for each in self.engines.running if each.pid}

    # The database

    @property
    def database_url(self) -> str:
        """For libpq and psycopg."""
        return self.engines.postgres.url

    def sql(self, statement: LiteralString, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Carry out a statement in a connection of its own, in autocommit mode; returns the rows."""
        with (
            psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def provider(self, name: str = "A", *options: str) -> Provider:
        """Start a provider; several need names."""
        process = self.python(f"provider-{name}", "bench.provider", "--name", name, *options)
        self.wait_said(process.name, "https://" if "--certificate" in options else "http://")
        return Provider(*self.log_of(process.name).read_text(encoding="utf-8").split(), process=process)


@contextmanager
def stage() -> Iterator[Stage]:
    """Engines in a new home, with our tables and keys; at the end everything is stopped and removed."""
    # As at an exit: so that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    home = Path(tempfile.mkdtemp(prefix="evergrant-bench-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        _forget_own_settings(home)
        engines = stack.enter_context(Engines(home))
        supervisor.prepare(settings.current(), engines)
        stack.callback(database.dispose)
        made = Stage(home, engines, stack)
        stack.callback(made.stop)
        yield made


def _forget_own_settings(home: Path) -> None:
    """Use nothing of the user's own Evergrant."""
    for name in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        del os.environ[name]
    os.environ.update({"EVERGRANT_HOME": str(home), "EVERGRANT_ACTOR": "bench"})
    settings.adopt(settings.load())


def wait(done: Callable[[], bool], what: str, *, seconds: float, every: float = 0.1) -> None:
    """Poll until something is so.

    Raises:
        NotDone: it was not in time.

    """
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise NotDone(what)
        time.sleep(every)


PROVIDER_FILE = """\
title = "The provider of the benchmarks"
authorize_url = "{url}/oauth/authorize"
token_url = "{url}/oauth/token"
revoke_url = "{url}/oauth/revoke"
body = "json"
scopes = ["crm_read"]
rotation = "{rotation}"
revocation = "token"
deadline_seconds = 10
default_life_seconds = 7200
"""


def register(
    stage: Stage, provider: Provider, *, name: str, rotation: str, options: Sequence[str] = (), tls: bool = False
) -> None:
    """Write a provider file and add a client, as a user would; `tls`: the provider is asked by that."""
    folder = settings.current().provider_folder
    folder.mkdir(mode=0o700, exist_ok=True)
    text = PROVIDER_FILE.format(url=provider.tls_url if tls else provider.url, rotation=rotation)
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    ids = ("--provider", name, "--client-id", "bench", "--client-secret-file", "-")
    stage.command("clients", "add", name, *ids, *options, stdin="secret")
