"""A worker process: the real tasks on a real runtime, with the edges of the simulation around it."""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast

import settings as configuration
from models import journal as register
from models.database import transaction
from models.sealing.vault import Vault
from tasks import refresh, revoke, upkeep
from tasks.journal import Entry, Journal, Position, Sizes, journal_ids
from tasks.journal.lock import FolderLock
from tasks.journal.segment import log_path
from tasks.oauth.answer import Answer, Response
from tasks.runtime.admission import Admission
from tasks.runtime.answers import Answers, waiting
from tasks.runtime.attempt import Arrived
from tasks.runtime.runtime import Runtime
from tasks.runtime.unfinished import Unfinished
from tasks.settling import recover, replay
from tasks.settling.settle import settle
from tests.simulation.broker import Broker
from tests.simulation.disk import FaultyDisk, WatchedJournal, power_off
from tests.simulation.judge import Judge
from tests.simulation.keys import OpenVault
from tests.simulation.network import Network, Sender, Sent, SimulatedTransport
from tests.simulation.onlooker import Onlooker
from tests.simulation.tables import Tables
from tests.simulation.weather import Weather
from tests.simulation.world import Killed, Process, World

SIZES = Sizes(reserve=1 << 16, segment=1 << 20)
MINUTE = 60.0
QUIET = 1800.0  # a heartbeat with nothing to do changes nothing: most are left out
SOON = 5.0
SETTLE_LAG = 0.003
TASKS: dict[str, Callable[..., Any]] = {
    "evergrant.refresh": refresh.refresh.run,
    "evergrant.revoke": revoke.revoke.run,
    "evergrant.upkeep": upkeep.upkeep.run,
}


class Around(Protocol):
    """What a worker needs of its episode."""

    world: World
    weather: Weather
    tables: Tables
    network: Network
    broker: Broker
    judge: Judge
    onlooker: Onlooker
    database_is_away: bool

    def failed(self, process: Process, what: str, error: Exception) -> None: ...
    def worker_died(self, worker: "Worker", sent: list[Sent]) -> None: ...
    def worker_ended(self, worker: "Worker") -> None: ...


class PatientEvent(threading.Event):
    """An event whose `wait` lets virtual time pass."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__()
        self._worker = worker

    def wait(self, timeout: float | None = None) -> bool:
        strand = self._worker.world.strand
        assert strand is not None, "only a strand may wait"
        strand.sleep(timeout or 0.0)
        return self.is_set()


class ImpatientAdmission(Admission):
    """Admission in which no thread waits: what does not fit now is refused."""

    def wait_for_room(self, count: int) -> bool:
        return self.has_room(count)

    def _wait_for_share(self, client_id: int, count: int) -> bool:
        return self._fits_share(client_id, count)

    def has_room(self, count: int) -> bool:
        """Whether a thread that asked for room would get it now."""
        return not self._stopping.is_set() and super().has_room(count)


class ThreadlessAnswers(Answers):
    """Answers that are settled when their worker comes to it."""

    def __init__(self, admission: Admission, worker: "Worker") -> None:
        super().__init__(admission)
        self.worker = worker

    def arrive(self, arrived: Arrived) -> None:
        super().arrive(arrived)
        self.worker.settle_soon()

    def group(self) -> list[Arrived]:
        """What the journaling and the settling thread, one after the other, would take now."""
        return waiting(self._arrivals)


class SimulatedRuntime(Runtime):
    """The runtime, without its threads."""

    answers: ThreadlessAnswers

    def __init__(self, worker: "Worker", settings: configuration.Settings, journal: Journal) -> None:
        super().__init__(settings, journal, cast("Vault", OpenVault()))
        self.worker = worker
        self.stopping = PatientEvent(worker)
        self.giving_up = PatientEvent(worker)
        self.transport = SimulatedTransport(worker, worker.network)  # type: ignore[assignment]
        self.admission = ImpatientAdmission(journal, self.stopping, in_flight=settings.in_flight)
        self.answers = ThreadlessAnswers(self.admission, worker)
        self.unfinished = Unfinished(self.stopping)

    def later(self, work: Callable[[], object]) -> None:
        if not self.stopping.is_set():
            self.worker.do_later(work)

    def revoke(self, work: Callable[[], object]) -> None:
        work()


class Worker(Sender):
    """One worker process, from its start to its end."""

    def __init__(self, episode: Around, name: str, home: Path) -> None:
        super().__init__(episode.world, name)
        self.episode = episode
        self.network: Network = episode.network
        self.weather: Weather = episode.weather
        self.home = home
        self.disk = FaultyDisk(self)
        self.runtime: SimulatedRuntime | None = None
        self.killed_at = ""  # the step; empty where it was killed from outside
        self.doomed_at = ""  # the step at which it will be killed
        self._settling = False
        self._aged = 0  # the last segment of its own journal that has the virtual time as its own
        self._sent: list[Sent] = []

    # Its life

    def start(self) -> None:
        """Register a journal and hold it, as `Runtime.open` and the heartbeat's `begin` do."""
        try:
            self._open()
        except Killed:
            raise
        except Exception as error:  # noqa: BLE001  # its supervisor starts it again
            self.episode.failed(self, "start", error)
            self._leave()
            self.world.after(2, self.start, owner=self)
            return
        self._heartbeat()

    def _open(self) -> None:
        folder = self.home / "journals"
        with ExitStack() as undo:
            with transaction() as connection:
                journal_id = register.register(
                    connection, host=self.home.name, process=self.name, above=max(journal_ids(folder), default=0)
                )
                lock = FolderLock.make(folder / str(journal_id), journal_id)
                undo.callback(lock.release)
            undo.pop_all()
        journal = WatchedJournal(
            folder / str(journal_id),
            journal_id,
            lock,
            vault=cast("Vault", OpenVault()),
            sizes=SIZES,
            clock=self.clock,
            disk=self.disk,
        )
        journal.worker = self
        settings = configuration.current().model_copy(update={"home": self.home})
        self.runtime = SimulatedRuntime(self, settings, journal)
        self.world.log("started", self.name, f"journal={journal_id}")
        recover.look(self.runtime, thoroughly=True)
        self.episode.broker.consumers.append(self)

    def clock(self) -> datetime:
        """For the journal's segments."""
        return self.world.now

    def died(self) -> None:
        self.episode.worker_died(self, self._sent)
        self._leave()

    def _leave(self) -> None:
        if self in self.episode.broker.consumers:
            self.episode.broker.consumers.remove(self)
        if self.runtime is not None:
            power_off(self.runtime.journal)
            self.runtime = None

    def stop(self) -> None:
        """SIGTERM: begin nothing, finish what is under way, let the journal go."""
        if self.runtime is None or self.runtime.stopping.is_set():
            return
        self.runtime.stop()
        if self in self.episode.broker.consumers:
            self.episode.broker.consumers.remove(self)
        self.world.after(0.1, self._close, owner=self)

    def _close(self) -> None:
        assert self.runtime is not None
        if self.runtime.admission.under_way or self._settling:
            self.world.after(0.5, self._close, owner=self)
            return
        runtime = self.runtime

        def close() -> None:
            runtime._leave_journal()
            self.world.log("stopped", self.name)
            self.runtime = None
            self.alive = False
            self.episode.worker_ended(self)

        self._run(close, strand=True)

    # Its heartbeat

    def heartbeat_within(self, seconds: float) -> None:
        """A heartbeat within the time in which it really comes."""
        self.world.after(self.world.random.random() * seconds, self._heartbeat_once, owner=self)

    def _heartbeat(self) -> None:
        self._heartbeat_once()
        self.world.after(QUIET * (0.5 + self.world.random.random()), self._heartbeat, owner=self)

    def _heartbeat_once(self) -> None:
        runtime = self.runtime
        if runtime is None:
            return

        def beat() -> None:
            try:
                with transaction() as connection:
                    register.see(connection, runtime.journal_id)
                if recover.look(runtime) != "fit":
                    self.heartbeat_within(MINUTE)
                replay.settle_left(runtime)
                drained = replay.drain_others(runtime)
                self._age_own(runtime.journal)
                replay.shred_old(runtime)
            except Exception as error:  # noqa: BLE001  # as the heartbeat does
                self.episode.failed(self, "heartbeat", error)
                self.heartbeat_within(2 * SOON)
                return
            self._age([result.journal_id for result in drained])

        self._run(beat)

    def _age(self, drained: list[int]) -> None:
        """Give drained journals the virtual time as theirs, so that they are deleted when they are old."""
        stamp = self.world.now.timestamp()
        for number in drained:
            folder = self.home / "journals" / str(number)
            for path in folder.iterdir() if folder.is_dir() else ():
                os.utime(path, (stamp, stamp))

    def _age_own(self, journal: Journal) -> None:
        """Give its own segments that are finished the virtual time, so that they are shredded as in production."""
        end, stamp = journal._writer.end, self.world.now.timestamp()
        for number in range(self._aged + 1, end[0] if end else 0):
            with suppress(FileNotFoundError):
                os.utime(log_path(journal.folder, number), (stamp, stamp))
            self._aged = number

    # Its work

    def has_room(self, task: str, arguments: list[Any]) -> bool:
        if self.runtime is None:
            return False
        jobs = arguments[0] if arguments and isinstance(arguments[0], list) else []
        return task != "evergrant.refresh" or self.runtime.admission.has_room(len(jobs))

    def consume(self, task: str, arguments: list[Any]) -> None:
        if self.runtime is None:
            return
        run = TASKS[task]

        def carry_out() -> None:
            try:
                run(*arguments)
            except Exception as error:  # noqa: BLE001  # Celery logs it and goes on
                self.episode.failed(self, task, error)

        self._run(carry_out, strand=task == "evergrant.revoke")

    def do_later(self, work: Callable[[], object]) -> None:
        """Beside the settling thread."""

        def told() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001  # as the runtime does
                self.episode.failed(self, "afterwards", error)

        self.world.after(0.01, lambda: self._run(told, strand=True), owner=self)

    def settle_soon(self) -> None:
        self.world.after(SETTLE_LAG * self.world.random.random(), self._settle, owner=self)

    def _settle(self) -> None:
        if self._settling or self.runtime is None:
            return
        runtime, group = self.runtime, self.runtime.answers.group()
        if not group:
            return
        self._settling = True
        bodies = [each.answer.body for each in group if isinstance(each.answer, Response)]
        alone = len({each.attempt.job.grant_id for each in group}) == len(group)  # else they are settled in parts
        for sent in self._sent:
            sent.settling = sent.settling or (alone and sent.delivered and sent.body in bodies)

        def work() -> None:
            try:
                settle(runtime, group)
                self.episode.onlooker.settled(self, group)
            except Exception as error:  # noqa: BLE001  # as the settling thread does
                self.episode.failed(self, "settle", error)
            runtime.admission.settled(group)
            self._settling = False
            self.settle_soon()

        self._run(work)

    def _run(self, work: Callable[[], None], *, strand: bool = False) -> None:
        """Run it at once where nothing can go wrong in the middle, else in a strand."""
        share = self.weather.strand
        if strand or self.episode.database_is_away or (share and self.world.random.random() < share):
            self.world.spawn(self, work)
        else:
            work()

    # What can happen to it

    def step(self, name: str) -> None:
        world, weather = self.world, self.weather
        if name == self.doomed_at or (weather.kill and world.random.random() < weather.kill):
            world.log("kill at", self.name, name.replace(" ", "_"))
            self.killed_at = name
            raise Killed
        strand = world.strand
        if name.startswith("journal"):
            return  # the journal's own lock is held: another strand of this process must not meet it
        may_freeze = strand is not None and strand.process is self and self.episode.tables.undo is None
        if strand is not None and may_freeze and world.random.random() < weather.freeze:
            self.freeze(world.random.choice((1, 20, 70, 200)) * (0.5 + world.random.random()))
            strand.sleep(0)

    def freeze(self, seconds: float) -> None:
        self.world.log("frozen", self.name, round(seconds, 1))
        lease = self.runtime.settings.attempt_lease_seconds if self.runtime is not None else 0
        self.episode.judge.trouble("a worker was frozen", seconds + 2 * lease)
        self.frozen_until = max(self.frozen_until, self.world.seconds + seconds)

    # What the judge is told

    def first_byte(self, sent: Sent) -> None:
        self._sent.append(sent)
        self.episode.onlooker.sends(self, sent)
        self.episode.judge.first_byte(sent)

    def arrived(self, sent: Sent, answer: Answer) -> None:
        if sent.pair is not None and self.network.provider.rotation.rotates:
            if isinstance(answer, Response) and answer.status == 200 and b"access_token" in answer.body:
                sent.delivered, sent.body = True, answer.body
                self.episode.judge.volatile[sent.number] = sent
            else:
                self.episode.judge.lost(sent, f"on the wire ({sent.fate})")
        if not sent.delivered:
            self._sent.remove(sent)

    def answered_too_late(self, sent: Sent) -> None:
        self.episode.judge.lost(sent, "killed before the answer came")

    def frozen_at_last(self, sent: Sent) -> None:
        self.episode.onlooker.froze(sent)
        self.episode.judge.froze(sent)

    def not_kept(self, entries: Sequence[Entry]) -> None:
        self.episode.onlooker.not_journaled(self, entries)

    def made_durable(self, entries: Sequence[Entry], positions: Sequence[Position]) -> None:
        self.episode.onlooker.journaled(self, entries, positions)
        self.episode.judge.journals.wrote(self._sent, entries, positions)
        bodies = [entry.body for entry in entries]
        self.episode.judge.made_durable(self._sent, bodies)

    def marked(self, positions: Sequence[Position]) -> None:
        self.episode.onlooker.marked(self, positions)
        self.episode.judge.journals.marked(positions)
