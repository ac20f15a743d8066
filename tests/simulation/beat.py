"""A beat process: the real scheduler, with the simulated broker in Celery's place."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol, cast
from uuid import UUID

import settings as configuration
from tests.simulation.broker import Broker
from tests.simulation.judge import Judge
from tests.simulation.tables import Tables
from tests.simulation.weather import Weather
from tests.simulation.world import Killed, Process, World
from worker.beat import GrantScheduler

LONGEST_SLEEP = 240.0


class Around(Protocol):
    """What a beat needs of its episode."""

    world: World
    weather: Weather
    tables: Tables
    broker: Broker
    judge: Judge

    def next_due(self) -> float: ...
    def looked(self, again_in: float) -> None: ...
    def failed(self, process: Process, what: str, error: Exception) -> None: ...
    def beat_died(self) -> None: ...


class _Connection:
    """Celery's connection, as far as beat asks it something."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def ensure_connection(self, **_: Any) -> None:
        if self._broker.away:
            raise ConnectionRefusedError

    def collapse(self) -> None:
        """Forget the socket."""


class Scheduler(GrantScheduler):
    """The real one, without Celery's own state."""

    producer = cast("Any", None)
    connection = cast("Any", None)
    metrics_port = cast("Any", None)

    def __init__(self, broker: Broker, number: UUID, told: Callable[[Exception], None]) -> None:
        self.told = told
        self.settings = configuration.current()
        self.id = number
        self.failures = 0
        self.seen_at = None
        self.chores_at = None
        self.customers_away = False
        self.look_at = timedelta(0)
        self.broker_failed = False
        self.broker_error = None
        self.sharing: list[str] = []
        self.app = cast("Any", broker)
        self._connection = _Connection(broker)

    def _look(self) -> float:
        try:
            return super()._look()
        except Exception as error:
            self.told(error)
            raise

    def _see_who_shares(self) -> None:
        """The simulated broker is nobody else's."""

    def _look_at_the_clock(self) -> None:
        """The simulated database's clock goes on only; tests/integration/test_set_back.py sets back a real one's."""

    def _broker_answers(self) -> bool:
        self.__dict__["connection"] = self._connection
        return super()._broker_answers()


class Beat(Process):
    """Looks whenever there is something to see; looks that could claim nothing are left out."""

    def __init__(self, episode: Around, name: str) -> None:
        super().__init__(episode.world, name)
        self.episode = episode
        self.scheduler = Scheduler(episode.broker, UUID(int=episode.world.random.getrandbits(128)), self._failed)
        self.next_at = float("inf")
        self.looked_at = float("-inf")
        self._turn = 0
        self._busy = False
        self._wanted = LONGEST_SLEEP
        self.wake(episode.world.random.random())

    def _failed(self, error: Exception) -> None:
        self.episode.failed(self, "beat", error)

    def wake(self, seconds: float) -> None:
        """Look in so many seconds, if not earlier anyhow."""
        at = self.world.seconds + seconds
        if self._busy:
            self._wanted = min(self._wanted, seconds)
        elif at < self.next_at:
            self._turn += 1
            turn, self.next_at = self._turn, at
            self.world.after(seconds, lambda: self._tick(turn), owner=self)

    def _tick(self, turn: int) -> None:
        if turn != self._turn:
            return
        at = self.world.seconds
        if at < self.looked_at + LONGEST_SLEEP and self.episode.next_due() > at:
            # It was planned for the end of a lease that has ended long since.
            self.next_at = float("inf")
            self.wake(self._nothing_before())
            return
        self.looked_at = at

        def look() -> None:
            again_in = self.scheduler.tick()
            if self.world.seconds == at and not self.scheduler.failures and not self.scheduler.broker_failed:
                self.episode.looked(again_in)
            self._busy, self.next_at = False, float("inf")
            self.wake(max(again_in, min(self._nothing_before(), self._wanted)))

        self._busy, self._wanted = True, LONGEST_SLEEP
        share = self.episode.weather.strand
        self._run(look, strand=bool(share) and self.world.random.random() < share)

    def _run(self, work: Callable[[], None], *, strand: bool) -> None:
        if strand:
            self.world.spawn(self, work)
        else:
            work()

    def _nothing_before(self) -> float:
        """Seconds until a look could find something; a look a second would find nothing till then."""
        idle = self.episode.next_due() - self.world.seconds
        return min(max(idle, 0.0), LONGEST_SLEEP) + self.world.random.random() * 0.5

    def step(self, name: str) -> None:
        """A step at which it may be killed, or frozen outside of a transaction."""
        world, weather = self.world, self.episode.weather
        if weather.kill and world.random.random() < weather.kill:
            world.log("kill at", self.name, name.replace(" ", "_"))
            raise Killed
        strand = world.strand
        may_freeze = strand is not None and strand.process is self and self.episode.tables.undo is None
        if strand is not None and may_freeze and world.random.random() < weather.freeze:
            self.frozen_until = world.seconds + world.random.choice((1, 20, 70, 200))
            world.log("frozen", self.name)
            self.episode.judge.trouble("a beat was frozen", self.frozen_until - world.seconds)
            strand.sleep(0)

    def died(self) -> None:
        self.episode.beat_died()
