"""An installation as `evergrant up` runs it on one machine, whose every part can be killed by its id."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from models.sealing.vault import Vault
from settings import Settings
from tests.acceptance.installation import Installation, variables
from tests.acceptance.programs import Running
from tests.polling import eventually
from worker.embedded import state
from worker.embedded.discovery import merge
from worker.embedded.home import Home


class OneMachine(Installation):
    """Engines, workers and beat under one supervisor, which starts again what we kill."""

    supervisor: Running
    home: Home

    @classmethod
    def up(cls, folder: Path, *, workers: int = 1, **settings: str) -> "OneMachine":
        """Start `evergrant up` in a new home and wait until all that it started is at work."""
        return cls.starting(folder, workers=workers, **settings)()

    @classmethod
    def starting(cls, folder: Path, *, workers: int = 1, **settings: str) -> "Callable[[], OneMachine]":
        """Start it, so that others may start meanwhile; call what is returned to wait until all of it is at work."""
        folder.mkdir(parents=True)
        home = Home(folder / "home")
        env = {"EVERGRANT_HOME": str(home.path), **variables(settings)}
        argv = [sys.executable, "-m", "worker.cli", "up", "--workers", str(workers)]
        supervisor = Running("up", argv, env=env, log=folder / "up.log")

        def at_work() -> "OneMachine":
            try:
                eventually(lambda: supervisor.said('"event": "ready"'), timeout=120)
                found = state.read(home)
                assert found is not None
                vault = Vault.from_settings(
                    merge(Settings.model_validate({"home": home.path, **settings}), found, home)
                )
                made = cls(folder, database_url=found.database_url or "", vault=vault, env=env)
            except BaseException:
                supervisor.stop()
                raise
            made.home, made.supervisor = home, supervisor
            made.processes.append(supervisor)
            return made

        return at_work

    def kill_part(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End one child of the supervisor, such as `worker-1`, and wait until another runs in its place."""
        pid = self._pid_of(name)
        assert pid is not None
        os.kill(pid, number)
        eventually(lambda: self._pid_of(name) not in (None, pid), timeout=90)

    def flush_broker(self) -> None:
        """Kill Valkey; its successor finds no data."""
        self.home.valkey.rename(self.folder / "valkey-gone")
        self.kill_part("valkey")
        shutil.rmtree(self.folder / "valkey-gone")

    def stop_database_at_once(self) -> None:
        """Stop PostgreSQL as in a crash: no session ends in peace."""
        self.kill_part("postgres", signal.SIGQUIT)

    def close(self) -> None:
        """End it as an operator does."""
        self.supervisor.stop(90)

    def _pid_of(self, name: str) -> int | None:
        found = state.read(self.home)
        return found.processes[name].pid if found is not None and name in found.processes else None
