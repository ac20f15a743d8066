"""Those who act beside workers and beats: operators, users, applications, and what breaks in the large."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from models import operator_actions, redrive
from models.database import transaction
from simulator.call import Call
from simulator.client import Client
from tasks.oauth.rotation import Rotation
from tasks.oauth.token_answer import TokenSet
from tasks.policy.valve import Result, Sign
from tasks.runtime import valves
from tasks.runtime.registration import resolve, times_of
from tests.simulation import faults
from tests.simulation.episode import Episode
from tests.simulation.faults import SECRET
from tests.simulation.keys import OpenVault
from tests.simulation.tables import Row
from tests.simulation.weather import HOURLY, Weather

WHO = "operator"
STEPS = ("first byte", "answered", "journal written", "database begin", "database commit", "database committed")
LEAVING = 0.1, 0.5  # share of a client's users who withdraw at one instant
SEEN_WITHIN = 900.0  # seconds after a database came back: a pause that had ended before
RACES = 0.5  # share of what happens to a grant that happens just when it is claimed or asked


def add_client(episode: Episode) -> None:
    """Register another client, here and at the provider."""
    tables, number = episode.tables, episode.tables.next_id("clients")
    profile, now = episode.profile, episode.world.now
    overrides = dict(profile.settings)
    if episode.world.random.random() < 0.5:
        overrides["rate"] = episode.world.random.choice((30, 100, 600))
    if episode.world.random.random() < 0.3:
        overrides["burst"] = episode.world.random.choice((2, 5, 10))
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
        "scopes": [],
        "grant_interval": provider.grant_interval or None,
        "keep": "warm",
        "rotation": str(Rotation(provider.rotation)),
        "rate_per_minute": provider.rate,
        "burst": provider.allowed_burst,
        "attempt_lease": times_of(provider, episode.settings).lease,
        "grace": provider.grace,
        "after_grace": None if provider.grace is None else str(provider.after_grace),
        "drift": None,
        "drift_watch": None,
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


def connect(episode: Episode, ref: str) -> None:
    """A user consents, for the first time or again; the answer of the exchange is stored at once."""
    if episode.database_is_away:
        episode.world.after(30, lambda: connect(episode, ref))
        return
    client_id, random = episode.client_of(ref), episode.world.random
    grant_id = UUID(int=random.getrandbits(128), version=4)
    pair = episode.provider.mint(f"id{client_id}", ref, now=episode.world.seconds)
    life = episode.provider.lifetime_seconds
    token_set = TokenSet(pair.access_token, pair.refresh_token, expires_in=life, scope=pair.scope)
    episode.judge.consents[grant_id] = pair.grant
    _prove(episode, client_id, grant_id)
    stored = episode.store(ref, token_set, grant_id, episode.world.now)
    episode.world.log("consent", ref, stored.how, f"pair={pair.number}")


def _prove(episode: Episode, client_id: int, grant_id: UUID) -> None:
    """The exchange was answered: an open valve hears of it, and a shut one opens, if the provider is well."""
    if episode.network.outage or episode.provider.clients[f"id{client_id}"].secret != SECRET:
        return
    answered = Result(grant_id, episode.world.now, Sign.GOOD, "refreshed", refreshed=True)
    credentials_no = episode.known(client_id).credentials_no
    with transaction() as connection:
        valves.feed(connection, {client_id: [answered]}, {client_id: credentials_no})


# What happens now and then


def let_things_happen(episode: Episode) -> None:
    """Start the clock of each thing that this weather has."""
    for name in HOURLY:
        if share := episode.weather.hourly.get(name, 0.0):
            _plan(episode, name, share)


def _plan(episode: Episode, name: str, per_hour: float) -> None:
    def happen() -> None:
        if not episode.calm:
            HAPPENINGS[name](episode)
            _plan(episode, name, per_hour)

    episode.world.after(episode.world.random.expovariate(per_hour / 3600), happen)


def _some_row(episode: Episode, *statuses: str) -> Row | None:
    rows = [row for row in episode.tables.grants.values() if row["status"] in statuses]
    return episode.world.random.choice(rows) if rows and not episode.database_is_away else None


def _to_a_grant(episode: Episode, act: Callable[[Episode, UUID], None], *statuses: str) -> None:
    """Do it to some grant now, or to the next one that is claimed or begun, before its answer is there."""
    if episode.world.random.random() < RACES:
        episode.races.append(act)
    elif (row := _some_row(episode, *statuses)) is not None:
        act(episode, row["id"])


def pause(episode: Episode) -> None:
    """An operator pauses a grant, and resumes it."""
    _to_a_grant(episode, _pause, "active")


def _pause(episode: Episode, grant_id: UUID) -> None:
    with transaction() as connection:
        operator_actions.pause_grants(connection, [grant_id], who=WHO)
    seconds = faults.duration(episode)
    episode.judge.trouble("an operator's pause", seconds + 60)
    episode.world.after(seconds, lambda: resume(episode, grant_id))


def stall(episode: Episode) -> None:
    """A worker is frozen while it asks for a grant, mostly for longer than its lease."""
    episode.races.append(_stall)


def _stall(episode: Episode, grant_id: UUID) -> None:
    worker, random = episode.judge.deaths.begun_by(grant_id), episode.world.random
    if worker in episode.workers:
        worker.freeze(random.choice((40, 90, 200)) * (0.7 + 0.6 * random.random()))


def strike(episode: Episode) -> None:
    """A worker is killed at some step of asking for a grant."""
    episode.races.append(_strike)


def _strike(episode: Episode, grant_id: UUID) -> None:
    worker = episode.judge.deaths.begun_by(grant_id)
    if worker in episode.workers:
        worker.doomed_at = episode.world.random.choice(STEPS)


def resume(episode: Episode, grant_id: UUID) -> None:
    """Resume a grant."""
    if episode.database_is_away:
        episode.world.after(30, lambda: resume(episode, grant_id))
        return
    with transaction() as connection:
        operator_actions.resume_grants(connection, [grant_id], who=WHO)


def pause_client(episode: Episode) -> None:
    """An operator pauses a client, and resumes it."""
    if episode.database_is_away:
        return
    client_id = episode.world.random.choice(list(episode.tables.clients))
    with transaction() as connection:
        operator_actions.pause_client(connection, client_id, who=WHO)
    seconds = faults.duration(episode)
    episode.judge.trouble("an operator's pause", seconds + 60)
    episode.world.after(seconds, lambda: resume_client(episode, client_id))


def resume_client(episode: Episode, client_id: int) -> None:
    """Resume a client."""
    if episode.database_is_away:
        episode.world.after(30, lambda: resume_client(episode, client_id))
        return
    with transaction() as connection:
        operator_actions.resume_client(connection, client_id, who=WHO)


def resume_what_came_back(episode: Episode) -> None:
    """Whoever put a database back sees that clients are paused again, though their pauses had ended."""
    for client_id, valve in episode.tables.valves.items():
        if valve["paused_by_operator"]:
            episode.judge.trouble("an operator's pause", SEEN_WITHIN + 60)
            episode.world.after(SEEN_WITHIN, partial(resume_client, episode, client_id))


def user_revokes(episode: Episode) -> None:
    """A user ends a consent at the provider."""
    if (row := _some_row(episode, "active")) is not None and episode.world.random.random() < 0.5:
        _withdraw(episode, row)


def exodus(episode: Episode) -> None:
    """Many users of a client withdraw at one instant; in a dialect nobody tells us."""
    random = episode.world.random
    client_id, share = random.choice(list(episode.tables.clients)), random.uniform(*LEAVING)
    episode.world.log("exodus", client_id, round(share, 2))
    for row in episode.tables.of_client("grants", client_id):
        if row["status"] == "active" and random.random() < share:
            _withdraw(episode, row)


def _withdraw(episode: Episode, row: Row) -> None:
    episode.world.log("user revokes", row["ref"])
    consent = episode.judge.consents[row["id"]]
    episode.provider.ledger.ask_end(consent, episode.world.seconds, "user")
    episode.provider.ledger.end_grant(consent, episode.world.seconds, "revoked by its user")
    if episode.weather.word is not None:
        come_back(episode, row["ref"])


def mistake(episode: Episode) -> None:
    """A provider refuses a living grant for some hours, and gives it back."""
    if (row := _some_row(episode, "active")) is not None:
        consent = episode.judge.consents[row["id"]]
        hours = episode.world.random.choice((0.5, 5.0, 20.0))
        episode.world.log("taken back by mistake", row["ref"], hours)
        episode.network.taken_back[consent.number] = episode.world.seconds + hours * 3600
        episode.judge.taken_back.add(consent.number)


def revoke(episode: Episode) -> None:
    """An application asks for the end of a grant; its customer comes back later."""
    _to_a_grant(episode, _revoke, "active", "paused", "needs_consent")


def _revoke(episode: Episode, grant_id: UUID) -> None:
    episode.world.log("revocation", episode.tables.grants[grant_id]["ref"])
    with transaction() as connection:
        operator_actions.request_revocation(connection, grant_id, reason="asked for", who=WHO)


def reconsent(episode: Episode) -> None:
    """A user consents again, be it that the grant was dead or not."""
    random, tables = episode.world.random, episode.tables
    newest = {row["ref"]: row for row in tables.grants.values()}
    dead = [ref for ref, row in newest.items() if row["status"] in ("needs_consent", "revoked")]
    if newest and not episode.database_is_away:
        if dead and random.random() < 0.8:
            _reconsent(episode, newest[random.choice(dead)]["id"])
        else:
            _to_a_grant(episode, _reconsent, "active")


def _reconsent(episode: Episode, grant_id: UUID) -> None:
    row = episode.tables.grants[grant_id]
    if grant_id in episode.tables.revocations and row["status"] != "revoked":
        return  # it waits where revocation is not per token
    connect(episode, row["ref"])


def come_back(episode: Episode, ref: str) -> None:
    """A customer whose grant is gone consents again, some lives of an access token later."""

    def consent() -> None:
        rows = [row for row in episode.tables.grants.values() if row["ref"] == ref]
        if not episode.calm and (not rows or _is_gone(episode, rows[-1])):
            connect(episode, ref)

    episode.world.after(episode.world.random.random() * 3 * episode.weather.life, consent)


def _is_gone(episode: Episode, row: Row) -> bool:
    withdrawn = row["status"] == "active" and episode.judge.consents[row["id"]].revoked_by == "user"
    return withdrawn or row["status"] in ("needs_consent", "revoked")


def request(episode: Episode) -> None:
    """An application met a 401, or wants a fresh token."""
    if (row := _some_row(episode, "active")) is not None:
        with transaction() as connection:
            operator_actions.request_refresh(connection, row["id"], who=WHO)


def redrive_all(episode: Episode) -> None:
    """An operator sends back every dead letter, or lets held verdicts through."""
    if episode.database_is_away:
        return
    with transaction() as connection:
        redrive.redrive(connection, list(episode.tables.letters), who=WHO)
    for client_id in episode.tables.clients:
        with transaction() as connection:
            operator_actions.accept_deaths(connection, client_id, who=WHO)


def forge(episode: Episode) -> None:
    """Somebody writes into the broker: old claims, claims to come, nonsense."""
    if (row := _some_row(episode, "active", "paused", "needs_consent", "revoking")) is None:
        return
    numbers = [row["claim_no"] + offset for offset in (-2, -1, 0, 0, 0, 1, 2)]
    job: Any = [[str(row["id"]), number] for number in numbers]
    task = episode.world.random.choice(("evergrant.refresh", "evergrant.refresh", "evergrant.revoke"))
    if not episode.broker.away:
        episode.broker.send_task(task, args=[episode.world.random.choice((job, job, [["x"]], {}))])


def use(episode: Episode) -> None:
    """An application calls the API with the token that it was given."""
    if (row := _some_row(episode, "active")) is not None and row["sealed_access_token"]:
        token = OpenVault().open(row["sealed_access_token"], table="grants", row_id=row["id"], purpose="access")
        episode.provider.handle(Call("api", {}, bearer=token, org="org-1"), episode.world.seconds)


HAPPENINGS: dict[str, Callable[[Episode], None]] = {
    "outage": faults.outage,
    "database_away": faults.database_away,
    "fail_over": faults.fail_over,
    "restore": faults.restore,
    "broker_flush": faults.broker_flush,
    "broker_away": faults.broker_away,
    "disk_full": faults.disk_full,
    "wrong_secret": faults.wrong_secret,
    "pause": pause,
    "pause_client": pause_client,
    "user_revokes": user_revokes,
    "exodus": exodus,
    "mistake": mistake,
    "revoke": revoke,
    "reconsent": reconsent,
    "request": request,
    "redrive": redrive_all,
    "clock_jump": faults.clock_jump,
    "no_beat": faults.no_beat,
    "no_worker": faults.no_worker,
    "rolling_restart": faults.rolling_restart,
    "forge": forge,
    "use": use,
    "stall": stall,
    "strike": strike,
}


# The end


def heal(episode: Episode) -> None:
    """All faults end; what was broken for a while is whole again."""
    episode.weather = episode.network.weather = episode.broker.weather = Weather()
    episode.network.outage = ""
    episode.database_is_away = False
    episode.broker.away = False
    for worker in episode.workers:
        worker.weather, worker.doomed_at = Weather(), ""
        worker.disk.full, worker.skew = False, timedelta(0)
        worker.frozen_until = min(worker.frozen_until, episode.world.seconds + 1)
        worker.heartbeat_within(5)
    for beat in episode.beats:
        beat.frozen_until = min(beat.frozen_until, episode.world.seconds + 1)
        beat.wake(1)
    for client_id in episode.tables.clients:
        episode.provider.register(Client(f"id{client_id}", SECRET))
    _resume_all(episode)


def _resume_all(episode: Episode) -> None:
    with transaction() as connection:
        for client_id in episode.tables.clients:
            operator_actions.resume_client(connection, client_id, who=WHO)
            operator_actions.resume_grants(connection, operator_actions.paused_grants(connection, client_id), who=WHO)
