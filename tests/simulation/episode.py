"""An episode: one provider, our clients and grants, workers and beats, a weather, and who is told of what happens."""

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy.exc import OperationalError

from models import client as clients
from models.client import Known
from models.database import transaction
from simulator.provider import SimulatedProvider
from tasks.journal import JournalError
from tasks.oauth.token_answer import TokenSet
from tasks.runtime.registration import Registrations
from tasks.settling import consent
from tasks.settling.consent import Consent
from tests.simulation import edges
from tests.simulation.agenda import next_look
from tests.simulation.beat import Beat
from tests.simulation.broker import Broker
from tests.simulation.database import Engine, away
from tests.simulation.flight import pause
from tests.simulation.judge import Judge
from tests.simulation.keys import OpenVault
from tests.simulation.network import Network, Sent
from tests.simulation.onlooker import Onlooker
from tests.simulation.profiles import Profile
from tests.simulation.statements.claims import is_claimed
from tests.simulation.statements.installation import state
from tests.simulation.tables import WHOLE, Tables, Undo
from tests.simulation.weather import UNDERSTOOD, Weather, draw
from tests.simulation.worker import SIZES, Worker
from tests.simulation.world import Process, World

MACHINE_IS_OFF = 0.1  # share of the kills after which its machine is off for up to two hours
MILD = 0.2  # share of the lost answers where each costs a grant
GONE = ("needs_consent", "revoked")
STARTS_IN_VAIN = 400  # of workers since the last refresh: whoever needs more does not get on


class Episode:
    """Everything of one run."""

    def __init__(
        self,
        seed: str,
        profile: Profile,
        home: Path,
        *,
        weather: Weather | None = None,
        tell: Any = None,
        drawn: Callable[[Random], Weather] = draw,
    ) -> None:
        self.seed = seed
        self.profile = profile
        self.home = home
        self.world = World(f"{seed}/{profile.name}", tell=tell)
        self.weather = drawn(self.world.random) if weather is None else weather
        if profile.may_lose:
            self.weather = self.weather.milder(MILD)
        self.tables = Tables(now=self.world.now)
        self.engine = Engine(self.tables, self._database_step)
        self.engine.on_commit = self._committed
        self.world.on_time = self._time_passed
        if profile.life is not None:
            self.weather = self.weather.at_life(profile.life)
        if profile.says_dead is not None:  # and a rule of the file understands it
            self.weather = replace(self.weather, says_dead=UNDERSTOOD)
        habits = replace(profile.habits, says_dead=profile.says_dead or self.weather.says_dead)
        seed_of_tokens = self.world.random.getrandbits(32)
        self.provider = SimulatedProvider(habits, lifetime_seconds=self.weather.life, seed=seed_of_tokens)
        self.settings = edges.settings_of(home)
        self.judge = Judge(
            self.world,
            self.tables,
            self.provider,
            may_lose=profile.may_lose,
            dispatch_lease=self.settings.dispatch_lease,
            word=self.weather.word,
        )
        if profile.name == "grace":
            self.judge.grace = profile.habits.grace_seconds
        self.network = Network(self.world, self.provider, self.weather)
        self.judge.living.struck = self.network.struck
        self.broker = Broker(self.world, self.weather)
        self.judge.lost_messages = self.broker.lost
        self.workers: list[Worker] = []
        self.beats: list[Beat] = []
        self.database_is_away = False
        self.registrations = Registrations(OpenVault(), self.settings)  # type: ignore[arg-type]
        self.no_workers_until = 0.0
        self.no_beats_until = 0.0
        self.calm = False
        self.races: list[Callable[[Episode, UUID], None]] = []  # what waits for the next grant that is asked
        self.onlooker = Onlooker()
        self.on_gone: Callable[[str], None] = lambda _ref: None  # a grant of this ref is gone
        self.on_rewound: Callable[[], None] = lambda: None  # the database is back, and lacks commits
        self._made = 0
        self._in_vain = (0, 0)  # refreshes that were stored, and workers that were started since the last of them

    # Edges

    @property
    def edges(self) -> edges.Edges:
        """What the product is given."""
        made = edges.Edges()
        made.settings, made.engine, made.sizes = self.settings, self.engine, SIZES
        made.boot, made.wall, made.seed = self.world.boot, self.world.wall, self.seed
        made.current = self._runtime
        made.sleep = self._sleep
        return made

    def _runtime(self) -> Any:
        worker = self.world.current
        assert isinstance(worker, Worker)
        return worker.runtime

    async def _sleep(self, seconds: float) -> None:
        assert self.world.current is not None
        await pause(self.world.current, seconds)

    def _time_passed(self, now: Any) -> None:
        self.tables.now = now

    # The database's faults

    def _database_step(self, name: str) -> None:
        if name == "begin" and self.database_is_away:
            raise away()
        process = self.world.current
        if not isinstance(process, Worker | Beat):
            return
        process.step(f"database {name}")
        strand = self.world.strand
        if strand is None or strand.process is not process or name == "begin":
            return
        if self.weather.commit_reset and self.world.random.random() < self.weather.commit_reset / 2:
            self.world.log("commit answered by a reset", process.name, name)
            raise away()

    def _committed(self, undo: Undo) -> None:
        self.onlooker.committed(undo)
        self.judge.committed(undo)
        for row, key, before in undo:
            if key is WHOLE and "claim_no" in row and row["status"] != before["status"] and row["status"] in GONE:
                self.on_gone(row["ref"])
        if self.races and (asked := _asked(undo)) is not None:
            self._race(asked)
        due = [row["due_at"] for row, key, _ in undo if key is WHOLE and row.get("status") in ("active", "queued")]
        new_work = (self.tables.revocations, self.tables.refresh_requests, self.tables.grants)
        if any(
            any(row is each for each in new_work) if key is not WHOLE else _opened(row, before)
            for row, key, before in undo
        ):
            due.append(self.world.now + timedelta(seconds=self.next_due() - self.world.seconds))
        if due:
            wait = max((min(due) - self.world.now).total_seconds(), 0.0)
            for beat in self.beats:
                if beat.next_at > self.world.seconds + wait:
                    beat.wake(wait + 0.5 * self.world.random.random())

    def _race(self, grant_id: UUID) -> None:
        """A grant was claimed or begun: what waits for that happens within the time that its request takes."""
        act, random = self.races.pop(), self.world.random

        def happen() -> None:
            if not self.calm and not self.database_is_away and grant_id in self.tables.grants:
                act(self, grant_id)

        self.world.after(random.random() * random.choice((0.01, 0.1, 0.5)), happen)

    def failed(self, process: Process, what: str, error: Exception) -> None:
        """Something that the product logs and lives with; what no fault of ours explains is a violation."""
        self.world.log("failed", process.name, what, type(error).__name__)
        if not isinstance(error, OperationalError | JournalError | ConnectionError):
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.judge.fail("exception", f"{what}: {error!r} at {where.filename}:{where.lineno}", process.name)

    def looked(self, again_in: float) -> None:
        """A beat has looked, and nothing failed."""
        if state(self.tables, None) == "fit":
            self.judge.breaker.looked(again_in)

    def next_due(self) -> float:
        """When a look of beat could find something, in seconds of the world."""
        found = (next_look(self.tables, client_id) for client_id in self.tables.valves)
        soonest = min((each for each in found if each is not None), default=None)
        return self.world.seconds + (3600 if soonest is None else (soonest - self.tables.now).total_seconds())

    # Processes

    def start_worker(self, machine: str) -> None:
        """Start another worker on a machine."""
        if self.world.seconds < self.no_workers_until:
            self.judge.trouble("no worker", self.no_workers_until - self.world.seconds + 10)
            self.world.after(self.no_workers_until - self.world.seconds + 1, partial(self.start_worker, machine))
            return
        self._made += 1
        self._check_progress()
        delay = 0.5 + self.world.random.random() * 3
        if self.weather.kill and not self.calm and self.world.random.random() < MACHINE_IS_OFF:
            delay += self.world.random.random() * 7200
            self.judge.trouble("a machine was off", delay)
        worker = Worker(self, f"worker{self._made}", self.home / machine)
        self.workers.append(worker)
        self.world.after(delay, worker.start, owner=worker)

    def _check_progress(self) -> None:
        """Where each worker is killed sooner than it can do anything, say so instead of going on for ever."""
        refreshes, starts = self._in_vain
        starts = starts + 1 if self.judge.refreshes == refreshes else 0
        self._in_vain = self.judge.refreshes, starts
        if starts > STARTS_IN_VAIN:
            self.judge.fail(
                "progress", f"it does not get on: {starts} workers since the last of {refreshes} refreshes", "-"
            )

    def worker_died(self, worker: Worker, sent: list[Sent]) -> None:
        """The kernel has closed what it held; its supervisor starts another."""
        self.onlooker.killed(worker)
        self.judge.killed(sent, step=worker.killed_at, disk_fails=worker.disk.failed)
        # What it had begun is doubted from then on, though it may never have been sent: less is left of the grace.
        self.judge.trouble("a worker was killed", 2 * self.settings.attempt_lease_seconds)
        for other in self.workers:
            other.heartbeat_within(60)
        self.worker_ended(worker)

    def worker_ended(self, worker: Worker) -> None:
        """A worker is gone, however it went."""
        self.workers.remove(worker)
        self.start_worker(worker.home.name)

    def start_beat(self) -> None:
        """Start another beat."""
        if self.world.seconds < self.no_beats_until:
            self.judge.trouble("no beat", self.no_beats_until - self.world.seconds + 10)
            self.world.after(self.no_beats_until - self.world.seconds + 1, self.start_beat)
            return
        self._made += 1
        self.beats.append(Beat(self, f"beat{self._made}"))

    def beat_died(self) -> None:
        """Its supervisor starts another."""
        self.judge.trouble("a beat was killed", 5)
        self.beats[:] = [each for each in self.beats if each.alive]
        self.world.after(2, self.start_beat)

    # Consents

    def client_of(self, ref: str) -> int:
        """Every fifth ref belongs to the second client."""
        return 2 if int(ref.removeprefix("ref")) % 5 == 4 and 2 in self.tables.clients else 1

    def store(self, ref: str, token_set: TokenSet, grant_id: UUID, started_at: Any) -> consent.StoredConsent:
        """Store a consent, as an exchange does."""
        registered = self.registrations.ready(self.known(self.client_of(ref)))
        with transaction() as connection:
            given = Consent(grant_id, registered, ref, {"org": ["org-1"]}, token_set, started_at)
            return consent.store(connection, given, vault=OpenVault(), who="simulation")  # type: ignore[arg-type]

    def known(self, client_id: int) -> Known:
        """A client as workers know it."""
        with self.engine.begin() as connection:
            return clients.known(connection, [client_id])[client_id]  # type: ignore[arg-type]

    # The end

    def end(self) -> None:
        """Let go of files and threads."""
        for worker in list(self.workers):
            worker.alive = False
            worker._leave()
        for process in [*self.workers, *self.beats]:
            for strand in list(process.strands):
                strand.kill()


def _asked(undo: Undo) -> UUID | None:
    """A grant that was claimed or begun."""
    for row, key, before in undo:
        if key is WHOLE and "claim_no" in row and row["claim_no"] > before["claim_no"] and is_claimed(dict(row)):
            return row["id"]  # type: ignore[no-any-return]
    return None


def _opened(row: Any, before: Any) -> bool:
    """Whether a valve lets through what it did not before."""
    pauses = ("paused_until", "paused_by_operator")
    return "paused_until" in row and any(row[name] != before[name] for name in pauses)
