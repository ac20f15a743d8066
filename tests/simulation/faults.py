"""What breaks in the large, and how it comes back: provider, database, broker, disks, clocks, whole processes."""

from collections.abc import Callable
from datetime import timedelta

from simulator.client import Client
from tests.simulation.episode import Episode
from tests.simulation.weather import OUTAGES

SECRET = "right"


def for_a_while(
    episode: Episode, kind: str, begin: Callable[[], None], end: Callable[[], None], seconds: float
) -> None:
    episode.judge.trouble(kind, seconds + 10)
    begin()
    episode.world.after(seconds, end)


def duration(episode: Episode) -> float:
    random = episode.world.random
    return float(random.choice((5, 60, 600, 3600)) * (0.5 + random.random()))


def outage(episode: Episode) -> None:
    """The provider answers everybody in the same wrong way."""
    kind = episode.world.random.choice(OUTAGES)
    episode.world.log("outage", kind)
    for_a_while(
        episode,
        "an outage",
        lambda: setattr(episode.network, "outage", kind),
        lambda: setattr(episode.network, "outage", ""),
        duration(episode),
    )


def database_away(episode: Episode) -> None:
    """PostgreSQL is away, and comes back as it was."""
    episode.world.log("database away")
    seconds = duration(episode) / 6
    for_a_while(
        episode,
        "the database was away",
        lambda: setattr(episode, "database_is_away", True),
        lambda: setattr(episode, "database_is_away", False),
        seconds,
    )


def broker_flush(episode: Episode) -> None:
    """FLUSHALL."""
    episode.world.log("broker flushed")
    episode.broker.flush()


def broker_away(episode: Episode) -> None:
    """Redis is away, and has forgotten everything when it comes back."""
    episode.world.log("broker away")
    episode.broker.flush()
    for_a_while(
        episode,
        "the broker was away",
        lambda: setattr(episode.broker, "away", True),
        lambda: setattr(episode.broker, "away", False),
        duration(episode) / 6,
    )


def disk_full(episode: Episode) -> None:
    """A worker's disk takes nothing more for a while."""
    if episode.workers:
        worker = episode.world.random.choice(episode.workers)
        episode.world.log("disk full", worker.name)
        for_a_while(
            episode,
            "a disk was full",
            lambda: setattr(worker.disk, "full", True),
            lambda: setattr(worker.disk, "full", False),
            duration(episode),
        )


def wrong_secret(episode: Episode) -> None:
    """The provider has another secret for us, until somebody notices."""
    client_id = episode.world.random.choice(list(episode.tables.clients))
    episode.world.log("wrong secret", client_id)
    register = episode.provider.register
    for_a_while(
        episode,
        "the secret was wrong",
        lambda: register(Client(f"id{client_id}", "another")),
        lambda: register(Client(f"id{client_id}", SECRET)),
        duration(episode),
    )


def clock_jump(episode: Episode) -> None:
    """A machine's wall clock is wrong by up to an hour."""
    if episode.workers:
        worker = episode.world.random.choice(episode.workers)
        worker.skew = timedelta(seconds=episode.world.random.uniform(-3600, 3600))


def no_beat(episode: Episode) -> None:
    """All beats are killed, and none is there for a while."""
    episode.no_beats_until = episode.world.seconds + duration(episode)
    for beat in list(episode.beats):
        episode.world.bury(beat)


def no_worker(episode: Episode) -> None:
    """All workers are killed, and none is there for a while."""
    episode.no_workers_until = episode.world.seconds + duration(episode) / 3
    for worker in list(episode.workers):
        episode.world.bury(worker)


def rolling_restart(episode: Episode) -> None:
    """Every worker is told to stop, and another is started in its place."""
    for worker in list(episode.workers):
        worker.stop()


def fail_over(episode: Episode) -> None:
    """The standby that takes over lacks the last commits."""
    if episode.database_is_away:
        return
    lost = episode.engine.lose_commits(episode.world.random.randint(0, 12))
    episode.world.log("fail-over", f"lost={lost}")
    _come_back_rewound(episode, away_for=5 + episode.world.random.random() * 60)


def restore(episode: Episode) -> None:
    """Somebody restores a backup that is minutes or hours old."""
    if episode.database_is_away:
        return
    backup, made_at = episode.tables.snapshot(), episode.world.seconds
    age = 120 + episode.world.random.random() * 4 * 3600

    def put_back() -> None:
        if episode.database_is_away or episode.calm:
            return
        episode.world.log("restore", f"of={made_at:.0f}")
        episode.tables.restore(backup)
        episode.engine.commits.clear()
        _come_back_rewound(episode, away_for=120 + episode.world.random.random() * 600)

    episode.world.after(age, put_back)


def _come_back_rewound(episode: Episode, *, away_for: float) -> None:
    tables, world = episode.tables, episode.world
    tables.timeline = f"{int(tables.timeline, 16) + 1:08X}"
    episode.database_is_away = True
    episode.judge.rewound()
    episode.onlooker.rewound()
    episode.judge.trouble("the database was away", away_for + 30)

    def back() -> None:
        episode.database_is_away = False
        for worker in episode.workers:
            worker.heartbeat_within(5)
        episode.on_rewound()

    world.after(away_for, back)
