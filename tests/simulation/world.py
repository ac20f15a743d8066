"""The world: a virtual clock, events in order, processes that can be killed or frozen, and a log.

One event is one instant. Work that may have to wait in the middle (a retry while the database is away, a revocation's
several requests) runs in a strand: a thread that hands the baton back whenever the real code would block. Only one
thread runs at any time, so everything follows from the seed.
"""

import hashlib
import heapq
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
STORY = 400


class Killed(BaseException):
    """kill -9 of the process that runs now."""


class Process:
    """Something that can be killed and frozen; `skew` is how wrong its wall clock is."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.frozen_until = 0.0
        self.skew = timedelta(0)
        self.strands: set[Strand] = set()

    def died(self) -> None:
        """What the kernel does when the process is gone."""


class Strand:
    """A thread of a process, as far as it may have to wait."""

    def __init__(self, process: Process, work: Callable[[], None]) -> None:
        self.process = process
        self.done = False
        self._work = work
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._error: BaseException | None = None
        self._killed = False
        process.strands.add(self)
        threading.Thread(target=self._run, daemon=True).start()

    def resume(self) -> None:
        """Let it run until it waits or ends; what it raises is raised here."""
        if self.done:
            return
        world = self.process.world
        outer, world.strand = world.strand, self
        self._go.release()
        self._back.acquire()
        world.strand = outer
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def kill(self) -> None:
        """Unwind it without letting it do anything."""
        self._killed = True
        try:
            self.resume()
        except Killed:
            return

    def wait(self) -> None:
        """Give the baton back until somebody resumes this strand."""
        self._back.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def sleep(self, seconds: float) -> None:
        """Let time pass for this strand alone."""
        self.process.world.after(seconds, self.resume, owner=self.process)
        self.wait()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._work()
        except BaseException as error:  # noqa: BLE001  # raised again where it was resumed
            self._error = error
        self.done = True
        self.process.strands.discard(self)
        self._back.release()


class World:
    """Time, chance, order and the log."""

    def __init__(self, seed: str, *, tell: Callable[[str], None] | None = None) -> None:
        self.random = Random(seed)
        self.seconds = 0.0
        self.now = EPOCH
        self.steps = 0
        self.current: Process | None = None
        self.strand: Strand | None = None
        self.story: deque[str] = deque(maxlen=STORY * 50)
        self.on_time: Callable[[datetime], None] = lambda _now: None
        self._heap: list[tuple[float, int, Process | None, Callable[[], None]]] = []
        self._order = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._tell = tell

    # The clock

    def boot(self) -> timedelta:
        """CLOCK_BOOTTIME: the same for every process, and never wrong."""
        return timedelta(seconds=self.seconds)

    def wall(self) -> datetime:
        """The time of day as the running process believes it to be."""
        return self.now if self.current is None else self.now + self.current.skew

    # Events

    def after(self, seconds: float, work: Callable[[], None], *, owner: Process | None = None) -> None:
        """Do something later; what a process would do dies with it, and waits while it is frozen."""
        self._order += 1
        heapq.heappush(self._heap, (self.seconds + seconds, self._order, owner, work))

    def step(self) -> bool:
        """Carry out the next event; False: there is none."""
        while self._heap:
            at, _, owner, work = heapq.heappop(self._heap)
            if owner is not None and not owner.alive:
                continue
            if owner is not None and owner.frozen_until > at:
                # What waited for a frozen process comes at once, in any order.
                self._order += 1
                jitter = self.random.random() / 1000
                heapq.heappush(self._heap, (owner.frozen_until + jitter, self._order, owner, work))
                continue
            self._advance(at)
            self._carry_out(owner, work)
            return True
        return False

    def _advance(self, at: float) -> None:
        self.steps += 1
        if at > self.seconds:
            self.seconds = at
            self.now = EPOCH + timedelta(seconds=at)
            self.on_time(self.now)

    def _carry_out(self, owner: Process | None, work: Callable[[], None]) -> None:
        outer, self.current = self.current, owner
        try:
            work()
        except Killed:
            assert owner is not None, "nobody to kill"
            self.bury(owner)
        finally:
            self.current = outer

    def bury(self, process: Process) -> None:
        """End a process as kill -9 does: nothing of it runs any more."""
        if not process.alive:
            return
        process.alive = False
        self.log("killed", process.name)
        process.died()
        for strand in list(process.strands):
            strand.kill()

    def spawn(self, process: Process, work: Callable[[], None]) -> Strand:
        """Run work of a process in a strand, from now on."""
        strand = Strand(process, work)
        strand.resume()
        return strand

    # The log

    def log(self, what: str, *details: Any) -> None:
        """Write a line; the digest over all of them is what two runs of a seed have in common."""
        line = f"{self.seconds:.6f} {what} {' '.join(map(str, details))}"
        self._hash.update(line.encode())
        self.story.append(line)
        if self._tell is not None:
            self._tell(line)

    def digest(self) -> str:
        """The log so far, as one number."""
        return self._hash.hexdigest()

    def story_of(self, *words: str) -> list[str]:
        """The last lines that name one of these words."""
        wanted = set(words)
        return [line for line in self.story if wanted.intersection(line.replace("=", " ").split())][-STORY:]
