"""The broker: messages that may be doubled, lost, late, out of order, forged, or gone altogether."""

from collections import deque
from functools import partial
from typing import Any, Protocol

from tests.simulation.weather import Weather
from tests.simulation.world import World

CONSUMER_LOOKS_AGAIN = 1.0


class Consumer(Protocol):
    """A worker, as far as the broker knows it."""

    alive: bool
    name: str

    def has_room(self, task: str, arguments: list[Any]) -> bool: ...

    def consume(self, task: str, arguments: list[Any]) -> None: ...


class Broker:
    """One queue after another does not matter here: a message goes to any consumer that lives."""

    def __init__(self, world: World, weather: Weather) -> None:
        self.world = world
        self.weather = weather
        self.consumers: list[Consumer] = []
        self.away = False
        self.lost: list[tuple[float, str]] = []  # when, and what it said
        self._epoch = 0
        self._waiting: dict[str, deque[list[Any]]] = {}  # by task: each has a queue of its own
        self._looks_again = False

    def send_task(self, name: str, *, args: list[Any], **_: Any) -> None:
        """Publish, as Celery's app does.

        Raises:
            ConnectionError: the broker is away.

        """
        if self.away:
            raise ConnectionRefusedError
        random, weather = self.world.random, self.weather
        if random.random() < weather.lose:
            self.world.log("message lost", name, len(args))
            self.lost.append((self.world.seconds, str(args)))
            return
        while True:
            late = random.random() * (0.02 if random.random() >= weather.delay else random.choice((25, 600)))
            self.world.after(late, partial(self._deliver, self._epoch, name, args))
            if random.random() >= weather.duplicate:
                return

    def flush(self) -> None:
        """FLUSHALL."""
        self._epoch += 1
        self._waiting.clear()

    def _deliver(self, epoch: int, name: str, args: list[Any]) -> None:
        if epoch != self._epoch:
            return
        ready = self._ready()
        if not ready:
            self._wait(name, args)
            return
        chosen = self.world.random.choice(ready)
        self.world.after(0, lambda: self._hand_over(chosen, epoch, name, args), owner=chosen)  # type: ignore[arg-type]

    def _ready(self) -> list[Consumer]:
        return [] if self.away else [each for each in self.consumers if each.alive]

    def _hand_over(self, chosen: Consumer, epoch: int, name: str, args: list[Any]) -> None:
        if chosen.has_room(name, args):
            chosen.consume(name, args)
        elif epoch == self._epoch:
            self._wait(name, args)

    # Messages that nobody had room for: each consumer takes of them, once a second, until it is full

    def _wait(self, name: str, args: list[Any]) -> None:
        if not self._looks_again:
            self._looks_again = True
            self.world.after(CONSUMER_LOOKS_AGAIN, self._look_again)
        self._waiting.setdefault(name, deque()).append(args)

    def _look_again(self) -> None:
        if not self._waiting:
            self._looks_again = False
            return
        self.world.after(CONSUMER_LOOKS_AGAIN, self._look_again)
        ready = self._ready()
        for chosen in self.world.random.sample(ready, len(ready)):
            self.world.after(0, partial(self._pull, chosen, len(ready)), owner=chosen)  # type: ignore[arg-type]

    def _pull(self, chosen: Consumer, consumers: int) -> None:
        """Take a fair share of each queue, as far as there is room."""
        for name, queue in list(self._waiting.items()):
            for _ in range(-(-len(queue) // consumers)):
                if not queue or not chosen.has_room(name, queue[0]):
                    break
                args = queue.popleft()
                if not queue and self._waiting.get(name) is queue:
                    del self._waiting[name]
                chosen.consume(name, args)
