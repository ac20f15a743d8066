"""A life that only introspection tells: asked for once the token set is stored, and nobody waits for the answer."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models import access_life
from models.access_life import Learnt, Question
from models.database import transaction
from simulator.control import SimulatorControl
from tasks.obtain import obtain
from tasks.runtime import clock
from tasks.runtime.introspections import IN_VAIN
from tasks.settling import access_life as story
from tests.harness import Harness, token_set
from tests.integration.revoking import ORG, ask, client_of, mint
from tests.integration.test_grants_without_a_refresh_token import APP
from tests.polling import eventually
from tests.raw_servers import BOUND, Bench, Peer, Server

MINUTE = timedelta(seconds=60)
DEFAULT = timedelta(hours=2)
UNTOLD: Any = {"expires_in": ...}


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture
def silent(simulator: SimulatorControl) -> SimulatorControl:
    """A provider whose answers tell no life: its access tokens live for a minute."""
    simulator.configure(lifetime=MINUTE.total_seconds(), habits={"life_member": ""})
    return simulator


def introspecting(harness: Harness, simulator: SimulatorControl, url: str | None = None, **more: Any) -> int:
    there = url or f"{simulator.url}/oauth/introspect"
    told: dict[str, Any] = {
        "life_from": "introspection",
        "introspect_url": there,
        "default_life_seconds": DEFAULT.total_seconds(),
    }
    return client_of(harness, simulator, **told | more)


def saying(bench: Bench, status: int, body: str) -> Server:
    """A server that answers every question alike."""

    async def behave(peer: Peer) -> None:
        while await peer.request():
            await peer.say(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body.encode()))

    return bench.serve(behave)


def ends(at: int) -> str:
    return json.dumps({"active": True, "exp": at})


def never_answering(bench: Bench) -> Server:
    async def behave(peer: Peer) -> None:
        while await peer.request():
            pass

    return bench.serve(behave)


def life(harness: Harness, grant: UUID) -> timedelta:
    """What the row says of its access token, by either of its columns."""
    row = harness.row(grant)
    assert row["access_expires_at"] - row["refreshed_at"] == row["life"]
    found: timedelta = row["life"]
    return found


def quiet(harness: Harness) -> None:
    """Wait for what was put off until after a settle, for the requests of that, and for what comes after them."""
    runtime = harness.runtime
    _meet(runtime._afterwards)
    runtime.transport.submit(asyncio.sleep(0)).result(BOUND)  # by now what was launched has begun
    running = runtime.transport._thread._running
    assert running is not None
    assert eventually(lambda: not running.tasks)
    _meet(runtime._afterwards)


def _meet(pool: ThreadPoolExecutor) -> None:
    """Wait until both of its threads have done what they were given before."""
    meeting = threading.Barrier(2)
    for met in [pool.submit(meeting.wait, BOUND) for _ in range(2)]:
        met.result()


def test_a_grant_whose_life_only_introspection_tells_is_renewed_in_time(
    harness: Harness, silent: SimulatorControl
) -> None:
    client = introspecting(harness, silent)
    grant = harness.grant(client, pair=mint(silent), labels=ORG)
    ask(harness, client)
    assert eventually(lambda: life(harness, grant) < DEFAULT, timeout=10)
    ends_at = harness.row(grant)["access_expires_at"]
    (newest,) = [pair for each in silent.grants("customer") for pair in each["pairs"] if pair["access_alive"]][-1:]
    assert abs(life(harness, grant) - MINUTE) <= timedelta(seconds=2)
    assert newest["access_alive"]
    assert harness.row(grant)["due_at"] < ends_at - MINUTE / 6
    harness.until_due(grant)
    assert harness.row(grant)["access_expires_at"] > clock.wall()
    ask(harness, client)
    assert harness.row(grant)["generation"] == 3
    assert [each["outcome"] for each in silent.requests(endpoint="introspect")][:1] == ["active"]


def test_where_the_answer_tells_a_life_nothing_is_asked(harness: Harness, simulator: SimulatorControl) -> None:
    client = introspecting(harness, simulator)
    harness.grant(client, pair=mint(simulator), labels=ORG)
    ask(harness, client)
    quiet(harness)
    assert simulator.requests(endpoint="introspect") == []


def test_where_the_file_does_not_say_so_nothing_is_asked(harness: Harness, silent: SimulatorControl) -> None:
    client = introspecting(harness, silent, life_from="answer")
    grant = harness.grant(client, pair=mint(silent), labels=ORG)
    ask(harness, client)
    quiet(harness)
    assert (silent.requests(endpoint="introspect"), life(harness, grant)) == ([], DEFAULT)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, ""),
        (200, "<html>please log in</html>"),
        (200, '{"active": false}'),
        (200, '{"active": "true", "exp": 4000000000}'),
        (200, '{"active": true}'),
        (200, '{"active": true, "exp": "4000000000"}'),
        (200, '{"active": true, "exp": 4000000000000}'),
        (200, '{"active": true, "exp": 1000000000}'),
        (200, '{"active": true, "exp": 1000000000000000000}'),
        (200, '{"active": true, "exp": true}'),
        (200, "[]"),
        (401, '{"error": "invalid_client"}'),
    ],
)
def test_an_introspection_that_tells_no_life_leaves_the_default_and_loses_nothing(
    harness: Harness, simulator: SimulatorControl, bench: Bench, status: int, body: str
) -> None:
    server = saying(bench, status, body)
    client = introspecting(harness, simulator, server.url())
    grant = harness.grant(client)
    harness.ask(client, token_set("new", **UNTOLD))
    quiet(harness)
    assert len(server.requests) == 1
    row = harness.row(grant)
    assert (row["generation"], row["status"], row["failures"], row["last_error_code"]) == (2, "active", 0, None)
    assert (harness.token(grant), life(harness, grant)) == ("rt-new", DEFAULT)


def test_a_settle_does_not_wait_for_an_introspection_that_never_answers(
    harness: Harness, simulator: SimulatorControl, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "DEADLINE", timedelta(seconds=BOUND))
    server = never_answering(bench)
    client = introspecting(harness, simulator, server.url())
    grants = harness.grants(client, 200)
    started = harness.start([*harness.claim(client).due])
    harness.settle(*((attempt, token_set(attempt.job.ref, **UNTOLD)) for attempt in started))
    rows = [harness.row(grant) for grant in grants]
    assert {(row["generation"], row["started_at"]) for row in rows} == {(2, None)}
    assert eventually(lambda: len(server.requests) == len(grants))
    assert harness.runtime.introspections._under_way[client] == len(grants)  # and still none has ended


def test_two_hundred_at_once_learn_their_lives(harness: Harness, simulator: SimulatorControl, bench: Bench) -> None:
    ends_at = int(clock.wall().timestamp()) + 900
    client = introspecting(harness, simulator, saying(bench, 200, ends(ends_at)).url())
    grants = harness.grants(client, 200)
    started = harness.start([*harness.claim(client).due])
    harness.settle(*((attempt, token_set(attempt.job.ref, **UNTOLD)) for attempt in started))
    quiet(harness)
    assert {harness.row(grant)["access_expires_at"].timestamp() for grant in grants} == {ends_at}


def test_each_introspection_takes_a_slot_of_the_rate(
    harness: Harness, simulator: SimulatorControl, bench: Bench
) -> None:
    ends_at = int(clock.wall().timestamp()) + 900
    url = saying(bench, 200, ends(ends_at)).url()
    client = introspecting(harness, simulator, url, rate=6)
    grant = harness.grant(client)
    attempt = harness.begin(client)
    before = harness.valve(client)
    harness.settle((attempt, token_set("new", **UNTOLD)))
    assert eventually(lambda: life(harness, grant) < DEFAULT, timeout=10)
    after = harness.valve(client)
    assert after["slot_no"] == before["slot_no"] + 1
    assert after["next_slot_at"] - before["next_slot_at"] > timedelta(seconds=9)


def test_nothing_is_asked_while_the_client_must_not_be_asked(harness: Harness, silent: SimulatorControl) -> None:
    client = introspecting(harness, silent)
    grant = harness.grant(client, pair=mint(silent), labels=ORG)
    attempt = harness.begin(client)
    harness.run("update evergrant.valves set paused_by_operator = true")
    harness.settle((attempt, token_set("new", **UNTOLD)))
    quiet(harness)
    assert (silent.requests(endpoint="introspect"), life(harness, grant)) == ([], DEFAULT)


def test_a_server_that_tells_nothing_three_times_running_rests(
    harness: Harness, simulator: SimulatorControl, bench: Bench
) -> None:
    server = saying(bench, 503, "")
    client = introspecting(harness, simulator, server.url())
    harness.grants(client, IN_VAIN + 2)
    for attempt in harness.start([*harness.claim(client).due]):
        harness.settle((attempt, token_set(attempt.job.ref, **UNTOLD)))
        quiet(harness)
    assert len(server.requests) == IN_VAIN


def test_a_life_that_was_told_once_is_taken_until_the_next_is_told(
    harness: Harness, simulator: SimulatorControl, bench: Bench
) -> None:
    client = introspecting(harness, simulator, saying(bench, 503, "").url())
    grant = harness.grant(client, life=timedelta(minutes=15))
    harness.ask(client, token_set("new", **UNTOLD))
    quiet(harness)
    assert life(harness, grant) == timedelta(minutes=15)


def test_a_rest_of_a_life_is_not_taken_for_a_life(harness: Harness, simulator: SimulatorControl, bench: Bench) -> None:
    client = introspecting(harness, simulator, saying(bench, 503, "").url())
    grant = harness.grant(client, life=timedelta(seconds=1))
    harness.ask(client, token_set("new", **UNTOLD))
    quiet(harness)
    assert life(harness, grant) == MINUTE


def learn(grant: UUID, generation: int, *, due_before: datetime, due_at: datetime) -> None:
    learnt = Learnt(Question(grant, generation, due_before), MINUTE, due_at)
    with transaction() as connection:
        access_life.learn(connection, [learnt], wait=timedelta(seconds=1))


def test_a_life_is_written_to_the_token_set_that_it_was_told_of_and_to_no_other(
    harness: Harness, silent: SimulatorControl
) -> None:
    grant = harness.grant(introspecting(harness, silent), due_in=timedelta(hours=1))
    row = harness.row(grant)
    sooner = row["due_at"] - timedelta(minutes=30)
    learn(grant, 0, due_before=row["due_at"], due_at=sooner)
    assert harness.row(grant) == row
    learn(grant, 1, due_before=row["due_at"], due_at=sooner)
    assert (life(harness, grant), harness.row(grant)["due_at"]) == (MINUTE, sooner)


def test_what_was_put_off_since_stays_put_off(harness: Harness, silent: SimulatorControl) -> None:
    grant = harness.grant(introspecting(harness, silent), due_in=timedelta(hours=1))
    due = harness.row(grant)["due_at"]
    learn(grant, 1, due_before=due + timedelta(microseconds=1), due_at=due - timedelta(minutes=30))
    assert (life(harness, grant), harness.row(grant)["due_at"]) == (MINUTE, due)


def test_a_lease_that_was_begun_meanwhile_is_left_alone(harness: Harness, silent: SimulatorControl) -> None:
    client = introspecting(harness, silent)
    grant = harness.grant(client)
    harness.begin(client)
    lease = harness.row(grant)
    learn(grant, 1, due_before=lease["due_at"], due_at=lease["due_at"] - timedelta(minutes=5))
    after = harness.row(grant)
    columns = ("due_at", "claim_no", "started_at", "journal_id")
    assert [after[column] for column in columns] == [lease[column] for column in columns]


def test_a_row_that_somebody_has_locked_keeps_no_other_from_its_life(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = introspecting(harness, simulator)
    locked, free = harness.grants(client, 2)
    due = clock.wall()
    learnt = [Learnt(Question(grant, 1, due), MINUTE, due) for grant in (locked, free)]
    with transaction() as stranger:
        stranger.exec_driver_sql("select from evergrant.grants where id = %s for update", (locked,))
        story._write(harness.runtime, learnt)
    assert (life(harness, free), harness.row(locked)["life"]) == (MINUTE, DEFAULT)


def test_the_life_of_a_grant_is_known_once_it_is_connected(harness: Harness, silent: SimulatorControl) -> None:
    client = introspecting(harness, silent, **APP)
    made = obtain(harness.runtime, client, "customer", labels={}, who="ada")
    assert abs(life(harness, made.grant_id) - MINUTE) <= timedelta(seconds=2)


def test_who_connects_is_told_of_the_grant_though_no_introspection_answers(
    harness: Harness, silent: SimulatorControl, bench: Bench
) -> None:
    client = introspecting(harness, silent, saying(bench, 503, "").url(), **APP)
    made = obtain(harness.runtime, client, "customer", labels={}, who="ada")
    assert (made.how, life(harness, made.grant_id)) == ("connected", DEFAULT)
