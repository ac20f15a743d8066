"""The engines of one home together: lock, PostgreSQL, Valkey, and the state file that others find them by.

with Engines(tmp_path / "home") as engines:
    engines.database_url, engines.broker_url
    engines.postgres.restart(immediate=True)
    engines.valkey.restart(flush=True)
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from worker.embedded.engine import Engine
from worker.embedded.home import Home
from worker.embedded.lock import HomeLock
from worker.embedded.postgres import Postgres
from worker.embedded.process import Process
from worker.embedded.state import RunningProcess, State
from worker.embedded.valkey import Valkey

E = TypeVar("E", bound=Engine)


class Engines:
    """Holds a home while it runs; either engine may be left out where a real server is used instead.

    `log` takes the engines' own lines (a file with a descriptor); None: `engines.log` in the home, new at
    each start. Start it from the main thread, see process.py.
    """

    def __init__(self, home: Path, *, postgres: bool = True, valkey: bool = True, log: IO[str] | None = None) -> None:
        self.home = Home.at(home)
        self._wanted = (postgres, valkey)
        self._passed_on = log
        self._own_log: IO[str] | None = None
        self._lock = HomeLock(self.home)
        self._running: list[Engine] = []
        self.role_urls: dict[str, str] = {}  # of the database, for the kinds of processes that have one of their own
        self._started_at = datetime.now(UTC)

    @property
    def postgres(self) -> Postgres:
        """The database server, once started."""
        return self._one(Postgres)

    @property
    def valkey(self) -> Valkey:
        """The broker, once started."""
        return self._one(Valkey)

    @property
    def running(self) -> tuple[Engine, ...]:
        """Those that were started, in that order."""
        return tuple(self._running)

    @property
    def database_url(self) -> str | None:
        """Where PostgreSQL is; None where it is not ours."""
        return next((e.url for e in self._running if isinstance(e, Postgres)), None)

    @property
    def broker_url(self) -> str | None:
        """Where Valkey is; None where it is not ours."""
        return next((e.url for e in self._running if isinstance(e, Valkey)), None)

    def start(self, *, give_up: Callable[[], bool] = lambda: False) -> Self:
        """Take the home and start what is wanted; on an error nothing is left running.

        Raises:
            HomeBusy: another process has the home.
            HomeUnusable, EnginesMissing, EngineFailed: see there.

        """
        self._lock.acquire()
        try:
            self.home.state.unlink(missing_ok=True)
            self.home.make_folders()
            log = self._passed_on or self._open_log()
            for wanted, engine in zip(self._wanted, (Postgres, Valkey), strict=True):
                if wanted and not give_up():
                    self._running.append(engine(self.home, log=log))
                    self._running[-1].start(give_up=give_up)
            self.publish()
        except BaseException:
            self.stop()
            raise
        return self

    def publish(self, others: Iterable[Process] = ()) -> None:
        """Write the state file: our engines and `others`, the processes that use them."""
        processes = {
            p.name: RunningProcess(pid=p.pid, restarts=max(0, p.launches - 1)) for p in (*self._running, *others)
        }
        State(
            pid=self._lock.pid,
            started_at=self._started_at,
            database_url=self.database_url,
            broker_url=self.broker_url,
            processes=processes,
            role_urls=self.role_urls,
        ).write(self.home)

    def stop(self) -> None:
        """Stop them, PostgreSQL last, and give the home back; harmless when nothing runs."""
        while self._running:
            self._running.pop().stop()
        self.give_back()

    def give_back(self) -> None:
        """Let go of the home: its engines have ended."""
        if not self._lock.held:
            return  # then the state file is somebody else's
        self.home.state.unlink(missing_ok=True)
        self.home.leave()
        if self._own_log is not None:
            self._own_log.close()
        self._lock.release()

    def _one(self, kind: type[E]) -> E:
        for engine in self._running:
            if isinstance(engine, kind):
                return engine
        message = f"{kind.__name__} is not running here"
        raise RuntimeError(message)

    def _open_log(self) -> IO[str]:
        self._own_log = self.home.log.open("w", encoding="utf-8")
        return self._own_log

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
