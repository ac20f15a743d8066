"""The processes that are struck, as the crash loop sees them, through the fork server and their traces."""

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.crashes.points import Act, Process
from tests.crashes.strike import Arm
from tests.crashes.trace import Line, Reader

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 10.0  # seconds that a process may take to come to its fail-point
LINGER = 1.5  # seconds that one lives on after a strike that it survived
FAREWELL = 15.0  # seconds from SIGTERM to SIGKILL


@dataclass
class Child:
    """One process of the loop."""

    name: str
    kind: Process
    arm: Arm | None
    reader: Reader
    pid: int = 0
    exit_code: int | None = None
    born_at: float = field(default_factory=time.time)
    ready_at: float | None = None
    struck_at: float | None = None
    thawed_at: float | None = None
    asked_to_end_at: float | None = None
    missed: bool = False

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    @property
    def frozen(self) -> bool:
        return self.alive and self.struck_at is not None and self.arm is not None and self.arm.act is Act.FREEZE

    def send(self, number: signal.Signals) -> None:
        if self.alive and self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Processes:
    """Starts processes, reads their traces, thaws the frozen and ends the survivors."""

    def __init__(self, home: Path, chance: random.Random, *, frozen_for: float) -> None:
        self.children: dict[str, Child] = {}
        self._home = home
        self._chance = chance
        self._frozen_for = frozen_for
        self._born = 0
        self._said = b""
        self._by_pid: dict[int, Child] = {}

    def __enter__(self) -> Self:
        with (self._home / "logs" / "fork_server.log").open("wb") as log:
            self._fork_server = subprocess.Popen(
                [sys.executable, "-m", "tests.crashes.fork_server"],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children.values():
            child.send(signal.SIGKILL)
        assert self._fork_server.stdin
        assert self._fork_server.stdout
        self._fork_server.stdin.close()
        self._fork_server.wait(20)
        self._fork_server.stdout.close()

    def start(self, kind: Process, arm: Arm | None = None, **more: Any) -> Child:
        """Start one process, armed or not."""
        self._born += 1
        name = f"{kind}-{self._born}"
        child = Child(name, kind, arm, Reader(self._home / "traces" / f"{name}.jsonl"))
        order = {"name": name, "kind": kind, "arm": vars(arm) if arm else None, "more": more}
        assert self._fork_server.stdin
        self._fork_server.stdin.write(json.dumps(order).encode() + b"\n")
        self._fork_server.stdin.flush()
        self.children[name] = child
        return child

    def look(self) -> Iterator[tuple[Child, Line]]:
        """Let time go by: what the traces say is new, and who has ended."""
        ended = list(self._hear())
        for child in list(self.children.values()):
            for line in child.reader.new():
                self._note(child, line)
                yield child, line
            self._attend(child)
        for child in ended:  # their traces are read to the end by now
            yield child, {"at": time.time(), "what": "gone", "exit_code": child.exit_code}
            child.reader.forget()
            del self.children[child.name]

    def _hear(self) -> Iterator[Child]:
        assert self._fork_server.stdout
        if self._fork_server.poll() is not None:
            message = f"the fork server has ended: {(self._home / 'logs' / 'fork_server.log').read_text()}"
            raise RuntimeError(message)
        while select.select([self._fork_server.stdout], [], [], 0)[0]:
            self._said += os.read(self._fork_server.stdout.fileno(), 1 << 16)
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "name" in said:
                child = self.children[said["name"]]
                child.pid, self._by_pid[said["pid"]] = said["pid"], child
            elif "end" in said:
                child = self._by_pid.pop(said["pid"])
                child.exit_code = said["end"]
                yield child

    def _note(self, child: Child, line: Line) -> None:
        match line["what"]:
            case "ready":
                child.ready_at = time.time()
            case "strike":
                child.struck_at = time.time()

    def _attend(self, child: Child) -> None:
        now = time.time()
        if child.frozen and child.thawed_at is None and now - (child.struck_at or now) > self._frozen_for:
            child.thawed_at = now
            child.send(signal.SIGCONT)
        survived = child.thawed_at if child.frozen else child.struck_at
        if child.asked_to_end_at is not None:
            if now - child.asked_to_end_at > FAREWELL:
                child.send(signal.SIGKILL)
        elif survived is not None and now - survived > LINGER:
            self.end(child)
        elif child.arm and child.struck_at is None and now - child.born_at > PATIENCE:
            child.missed = True
            self.end(child)

    def end(self, child: Child, *, politely: bool = False) -> None:
        """End a process: politely, or as chance has it by kill -9."""
        if child.asked_to_end_at is None:
            child.asked_to_end_at = time.time()
            child.send(signal.SIGTERM if politely else self._chance.choice((signal.SIGTERM, signal.SIGKILL)))
