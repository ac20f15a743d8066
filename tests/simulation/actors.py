"""Those who act beside workers and beats: operators, users, applications, and what breaks in the large."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models import client as clients
from models import operating, redrive
from models.client import Known
from models.database import transaction
from tasks.oauth.messages import TokenSet
from tasks.oauth.provider import Rotation
from tasks.registration import resolve, times_of
from tests.simulation.keys import OpenVault
from tests.simulation.tables import Row
from tests.simulation.weather import HOURLY, OUTAGES, Weather
from worker.simulator.provider import Call, Client

if TYPE_CHECKING:
    from tests.simulation.episode import Episode

SECRET = "right"
WHO = "operator"


def add_client(episode: "Episode") -> None:
    """Register another client, here and at the provider."""
    tables, number = episode.tables, episode.tables.next_id("clients")
    profile, now = episode.profile, episode.world.now
    overrides = dict(profile.settings)
    if episode.world.random.random() < 0.5:
        overrides["rate"] = episode.world.random.choice((30, 100, 600))
    provider = resolve("generic", overrides, episode.settings)
    tables.clients[number] = {
        "id": number,
        "name": f"client{number}",
        "provider": "generic",
        "overrides": overrides,
        "client_id": f"id{number}",
        "sealed_client_secret": OpenVault().seal(SECRET, table="clients", row_id=number, purpose="secret"),
        "credentials_no": 1,
        "redirect_uri": None,
        "keep": "warm",
        "rotation": str(Rotation(provider.rotation)),
        "rate_per_minute": provider.rate,
        "burst": provider.allowed_burst,
        "attempt_lease": times_of(provider, episode.settings).lease,
        "grace": provider.grace,
        "updated_at": now,
    }
    nothing = dict.fromkeys(
        ("paused_until", "pause_reason", "changed_at", "canary_grant_id", "minute_at",
         "last_success_at", "credentials_proven_no", "deaths_held_at", "deaths_accepted_at")
    )  # fmt: skip
    zero = dict.fromkeys(("slot_no", "minute_asked", "minute_bad"), 0)
    tables.valves[number] = {
        "client_id": number,
        "next_slot_at": now,
        "paused_by_operator": False,
        "pause_seconds": 0.0,
        "strike_grant_ids": [],
        "minute_grant_ids": [],
        **nothing,
        **zero,
    }
    episode.provider.register(Client(f"id{number}", SECRET))


def known(episode: "Episode", client_id: int) -> Known:
    """A client as workers know it."""
    with episode.engine.begin() as connection:
        return clients.known(connection, [client_id])[client_id]  # type: ignore[arg-type]


def connect(episode: "Episode", ref: str) -> None:
    """A user consents, for the first time or again; the answer of the exchange is stored at once."""
    if episode.database_is_away:
        episode.world.after(30, lambda: connect(episode, ref))
        return
    client_id, random = episode.client_of(ref), episode.world.random
    grant_id = UUID(int=random.getrandbits(128), version=4)
    pair = episode.provider.mint(f"id{client_id}", ref, now=episode.world.seconds)
    token_set = TokenSet(pair.access_token, pair.refresh_token, expires_in=7200.0, scope=pair.scope)
    episode.judge.consents[grant_id] = pair.grant
    stored = episode.store(ref, token_set, grant_id, episode.world.now)
    episode.world.log("consent", ref, stored.how, f"pair={pair.number}")


# What happens now and then


def let_things_happen(episode: "Episode") -> None:
    """Start the clock of each thing that this weather has."""
    for name in HOURLY:
        if share := episode.weather.hourly.get(name, 0.0):
            _plan(episode, name, share)


def _plan(episode: "Episode", name: str, per_hour: float) -> None:
    def happen() -> None:
        if not episode.calm:
            HAPPENINGS[name](episode)
            _plan(episode, name, per_hour)

    episode.world.after(episode.world.random.expovariate(per_hour / 3600), happen)


def _some_row(episode: "Episode", *statuses: str) -> Row | None:
    rows = [row for row in episode.tables.grants.values() if row["status"] in statuses]
    return episode.world.random.choice(rows) if rows and not episode.database_is_away else None


def _for_a_while(
    episode: "Episode", kind: str, begin: Callable[[], None], end: Callable[[], None], seconds: float
) -> None:
    episode.judge.trouble(kind, seconds + 10)
    begin()
    episode.world.after(seconds, end)


def _duration(episode: "Episode") -> float:
    random = episode.world.random
    return float(random.choice((5, 60, 600, 3600)) * (0.5 + random.random()))


def outage(episode: "Episode") -> None:
    """The provider answers everybody in the same wrong way."""
    kind = episode.world.random.choice(OUTAGES)
    episode.world.log("outage", kind)
    _for_a_while(
        episode,
        "an outage",
        lambda: setattr(episode.network, "outage", kind),
        lambda: setattr(episode.network, "outage", ""),
        _duration(episode),
    )


def database_away(episode: "Episode") -> None:
    """PostgreSQL is away, and comes back as it was."""
    episode.world.log("database away")
    seconds = _duration(episode) / 6
    _for_a_while(
        episode,
        "the database was away",
        lambda: setattr(episode, "database_is_away", True),
        lambda: setattr(episode, "database_is_away", False),
        seconds,
    )


def broker_flush(episode: "Episode") -> None:
    """FLUSHALL."""
    episode.world.log("broker flushed")
    episode.broker.flush()


def broker_away(episode: "Episode") -> None:
    """Redis is away, and has forgotten everything when it comes back."""
    episode.world.log("broker away")
    episode.broker.flush()
    _for_a_while(
        episode,
        "the broker was away",
        lambda: setattr(episode.broker, "away", True),
        lambda: setattr(episode.broker, "away", False),
        _duration(episode) / 6,
    )


def disk_full(episode: "Episode") -> None:
    """A worker's disk takes nothing more for a while."""
    if episode.workers:
        worker = episode.world.random.choice(episode.workers)
        episode.world.log("disk full", worker.name)
        _for_a_while(
            episode,
            "a disk was full",
            lambda: setattr(worker.disk, "full", True),
            lambda: setattr(worker.disk, "full", False),
            _duration(episode),
        )


def wrong_secret(episode: "Episode") -> None:
    """The provider has another secret for us, until somebody notices."""
    client_id = episode.world.random.choice(list(episode.tables.clients))
    episode.world.log("wrong secret", client_id)
    register = episode.provider.register
    _for_a_while(
        episode,
        "the secret was wrong",
        lambda: register(Client(f"id{client_id}", "another")),
        lambda: register(Client(f"id{client_id}", SECRET)),
        _duration(episode),
    )


def pause(episode: "Episode") -> None:
    """An operator pauses a grant, and resumes it."""
    if (row := _some_row(episode, "active")) is None:
        return
    grant_id = row["id"]
    with transaction() as connection:
        operating.pause_grants(connection, [grant_id], who=WHO)
    seconds = _duration(episode)
    episode.judge.trouble("an operator's pause", seconds + 60)
    episode.world.after(seconds, lambda: resume(episode, grant_id))


def resume(episode: "Episode", grant_id: UUID) -> None:
    """Resume a grant."""
    if episode.database_is_away:
        episode.world.after(30, lambda: resume(episode, grant_id))
        return
    with transaction() as connection:
        operating.resume_grants(connection, [grant_id], who=WHO)


def pause_client(episode: "Episode") -> None:
    """An operator pauses a client, and resumes it."""
    if episode.database_is_away:
        return
    client_id = episode.world.random.choice(list(episode.tables.clients))
    with transaction() as connection:
        operating.pause_client(connection, client_id, who=WHO)
    seconds = _duration(episode)
    episode.judge.trouble("an operator's pause", seconds + 60)
    episode.world.after(seconds, lambda: resume_client(episode, client_id))


def resume_client(episode: "Episode", client_id: int) -> None:
    """Resume a client."""
    if episode.database_is_away:
        episode.world.after(30, lambda: resume_client(episode, client_id))
        return
    with transaction() as connection:
        operating.resume_client(connection, client_id, who=WHO)


def user_revokes(episode: "Episode") -> None:
    """A user ends a consent at the provider."""
    if (row := _some_row(episode, "active")) is not None and episode.world.random.random() < 0.5:
        episode.world.log("user revokes", row["ref"])
        consent = episode.judge.consents[row["id"]]
        episode.provider.ledger.ask_end(consent, episode.world.seconds, "user")
        episode.provider.ledger.end_grant(consent, episode.world.seconds, "revoked by its user")


def revoke(episode: "Episode") -> None:
    """An application asks for the end of a grant; its customer comes back later."""
    if (row := _some_row(episode, "active", "paused", "needs_consent")) is None:
        return
    episode.world.log("revocation", row["ref"])
    with transaction() as connection:
        operating.request_revocation(connection, row["id"], reason="asked for", who=WHO)


def reconsent(episode: "Episode") -> None:
    """A user consents again, be it that the grant was dead or not."""
    random, tables = episode.world.random, episode.tables
    newest = {row["ref"]: row for row in tables.grants.values()}
    dead = [ref for ref, row in newest.items() if row["status"] in ("needs_consent", "revoked")]
    if newest and not episode.database_is_away:
        ref = random.choice(dead) if dead and random.random() < 0.8 else random.choice(list(newest))
        row = newest[ref]
        if row["id"] in tables.revocations and row["status"] != "revoked":
            return  # protocol §1: it waits where revocation is not per token
        connect(episode, ref)


def come_back(episode: "Episode", ref: str) -> None:
    """A customer whose grant is gone consents again, hours later."""

    def consent() -> None:
        rows = [row for row in episode.tables.grants.values() if row["ref"] == ref]
        if not episode.calm and (not rows or rows[-1]["status"] in ("needs_consent", "revoked")):
            connect(episode, ref)

    episode.world.after(episode.world.random.random() * 6 * 3600, consent)


def wish(episode: "Episode") -> None:
    """An application met a 401, or wants a fresh token."""
    if (row := _some_row(episode, "active")) is not None:
        with transaction() as connection:
            operating.wish_refresh(connection, row["id"], who=WHO)


def redrive_all(episode: "Episode") -> None:
    """An operator sends back every dead letter, or lets held verdicts through."""
    if episode.database_is_away:
        return
    with transaction() as connection:
        redrive.redrive(connection, list(episode.tables.letters), who=WHO)
    for client_id in episode.tables.clients:
        with transaction() as connection:
            operating.accept_deaths(connection, client_id, who=WHO)


def clock_jump(episode: "Episode") -> None:
    """A machine's wall clock is wrong by up to an hour."""
    if episode.workers:
        worker = episode.world.random.choice(episode.workers)
        worker.skew = timedelta(seconds=episode.world.random.uniform(-3600, 3600))


def no_beat(episode: "Episode") -> None:
    """All beats are killed, and none is there for a while."""
    episode.no_beats_until = episode.world.seconds + _duration(episode)
    for beat in list(episode.beats):
        episode.world.bury(beat)


def no_worker(episode: "Episode") -> None:
    """All workers are killed, and none is there for a while."""
    episode.no_workers_until = episode.world.seconds + _duration(episode) / 3
    for worker in list(episode.workers):
        episode.world.bury(worker)


def rolling_restart(episode: "Episode") -> None:
    """Every worker is told to stop, and another is started in its place."""
    for worker in list(episode.workers):
        worker.stop()


def forge(episode: "Episode") -> None:
    """Somebody writes into the broker: old claims, claims to come, nonsense."""
    if (row := _some_row(episode, "active", "paused", "needs_consent", "revoking")) is None:
        return
    numbers = [row["claim_no"] + offset for offset in (-2, -1, 0, 0, 0, 1, 2)]
    job: Any = [[str(row["id"]), number] for number in numbers]
    task = episode.world.random.choice(("evergrant.refresh", "evergrant.refresh", "evergrant.revoke"))
    if not episode.broker.away:
        episode.broker.send_task(task, args=[episode.world.random.choice((job, job, [["x"]], {}))])


def use(episode: "Episode") -> None:
    """An application calls the API with the token that it was given."""
    if (row := _some_row(episode, "active")) is not None and row["sealed_access_token"]:
        token = OpenVault().open(row["sealed_access_token"], table="grants", row_id=row["id"], purpose="access")
        episode.provider.handle(Call("api", {}, bearer=token, org="org-1"), episode.world.seconds)


def fail_over(episode: "Episode") -> None:
    """The standby that takes over lacks the last commits."""
    if episode.database_is_away:
        return
    lost = episode.engine.lose_commits(episode.world.random.randint(0, 12))
    episode.world.log("fail-over", f"lost={lost}")
    _come_back_rewound(episode, away_for=5 + episode.world.random.random() * 60)


def restore(episode: "Episode") -> None:
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


def _come_back_rewound(episode: "Episode", *, away_for: float) -> None:
    tables, world = episode.tables, episode.world
    tables.timeline = f"{int(tables.timeline, 16) + 1:08X}"
    episode.database_is_away = True
    episode.judge.rewound()
    episode.judge.trouble("the database was away", away_for + 30)

    def back() -> None:
        episode.database_is_away = False
        for worker in episode.workers:
            worker.pulse_within(5)

    world.after(away_for, back)


HAPPENINGS: dict[str, Callable[["Episode"], None]] = {
    "outage": outage,
    "database_away": database_away,
    "fail_over": fail_over,
    "restore": restore,
    "broker_flush": broker_flush,
    "broker_away": broker_away,
    "disk_full": disk_full,
    "wrong_secret": wrong_secret,
    "pause": pause,
    "pause_client": pause_client,
    "user_revokes": user_revokes,
    "revoke": revoke,
    "reconsent": reconsent,
    "wish": wish,
    "redrive": redrive_all,
    "clock_jump": clock_jump,
    "no_beat": no_beat,
    "no_worker": no_worker,
    "rolling_restart": rolling_restart,
    "forge": forge,
    "use": use,
}


# The end


def heal(episode: "Episode") -> None:
    """All faults end; what was broken for a while is whole again."""
    episode.weather = episode.network.weather = episode.broker.weather = Weather()
    episode.network.outage = ""
    episode.database_is_away = False
    episode.broker.away = False
    for worker in episode.workers:
        worker.weather, worker.disk.full, worker.skew = Weather(), False, timedelta(0)
        worker.frozen_until = min(worker.frozen_until, episode.world.seconds + 1)
        worker.pulse_within(5)
    for beat in episode.beats:
        beat.frozen_until = min(beat.frozen_until, episode.world.seconds + 1)
        beat.wake(1)
    for client_id in episode.tables.clients:
        episode.provider.register(Client(f"id{client_id}", SECRET))
    _resume_all(episode)


def _resume_all(episode: "Episode") -> None:
    with transaction() as connection:
        for client_id in episode.tables.clients:
            operating.resume_client(connection, client_id, who=WHO)
            operating.resume_grants(connection, operating.paused_grants(connection, client_id), who=WHO)
