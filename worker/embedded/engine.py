"""What PostgreSQL and Valkey have in common: a process that is ready some time after its launch."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn

from worker.embedded.errors import EngineFailed
from worker.embedded.process import Log, Process, Program

READY_SECONDS = 300.0
"""Longest wait for an engine; a PostgreSQL that was killed repeats its log first: up to 4 GB of it, sizing.py."""
_STEP_SECONDS = 0.05


class Engine(Process, ABC):
    """A database server that belongs to one home."""

    def __init__(self, program: Program, *, log: Log = None) -> None:
        super().__init__(program, log=log)
        self.advice = "its own lines above say more"

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers, and is the server of this home.

        Raises:
            EngineFailed: another server answers.

        """

    def start(self, *, give_up: Callable[[], bool] = lambda: False) -> None:
        """Launch it and wait until it answers; stop waiting when `give_up` says so.

        Raises:
            EngineFailed: it ended, or did not answer within five minutes.

        """
        self.launch()
        deadline = time.monotonic() + READY_SECONDS
        while not give_up() and not self.ready():
            if not self.alive():
                self.fail(f"it ended with exit code {self.exit_code}")
            if time.monotonic() > deadline:
                self.stop()
                self.fail(f"no answer within {READY_SECONDS:.0f} s")
            time.sleep(_STEP_SECONDS)

    def fail(self, reason: str) -> NoReturn:
        """Say that this engine did not start."""
        raise EngineFailed(engine=self.name, reason=reason, advice=self.advice)
