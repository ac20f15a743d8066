"""Messages that come ten times or were never sent by us, and rows that do not open: neither costs a grant."""

import base64
import json
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import redis
from celery import Celery

from tests import brokers
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin, due_now
from tests.acceptance.programs import Running
from tests.acceptance.providers import Provider, Toolkit, simulated
from tests.polling import eventually

LIFETIME = 6.0
GRANTS = 30
QUEUES = ("refresh", "refresh_urgent", "revoke", "upkeep")


def valkey(installation: Installation) -> "redis.Redis":
    """The broker, as somebody who may write into it."""
    return brokers.connect(installation.env["EVERGRANT_BROKER_URL"])


def repeating_beat(installation: Installation, times: int) -> None:
    """A beat that sends every message so many times."""
    argv = [sys.executable, "-m", "tests.acceptance.odd", "beat", "--times", str(times)]
    running = installation.run("beat-repeating", argv)
    eventually(lambda: running.said("beat: Starting..."), timeout=60)


def forgeries(installation: Installation, chance: random.Random) -> list[list[Any]]:
    """Arguments of messages that nobody of us sends: of living grants and of none, with every kind of number."""
    ids = [str(row["id"]) for row in installation.rows("select id from evergrant.grants")]
    numbers: list[Any] = [0, 1, 2, 3, -1, 2**63, 2**70, 1.5, "1", None, True]
    jobs = [[chance.choice([*ids, str(uuid4()), "no id"]), chance.choice(numbers)] for _ in range(60)]
    return [[jobs], [[]], [None], [{"a": 1}], ["\u0000"], [[jobs[0] * 3, 7, "x"]], [], [jobs, jobs]]


def forge(installation: Installation, chance: random.Random) -> int:
    """Send each forgery to each queue and task; returns how many."""
    tasks = {"refresh": "evergrant.refresh", "refresh_urgent": "evergrant.refresh", "revoke": "evergrant.revoke"}
    sent = 0
    url = installation.env["EVERGRANT_BROKER_URL"]
    forger = Celery("forger", broker=url, config_source="celeryconfig", set_as_current=False)
    with forger.connection_for_write() as connection:
        for queue, task in [*tasks.items(), ("upkeep", "evergrant.upkeep"), ("upkeep", "evergrant.nothing")]:
            for arguments in forgeries(installation, chance):
                forger.send_task(task, args=arguments, queue=queue, connection=connection)
                sent += 1
    return sent


def all_was_consumed(installation: Installation) -> bool:
    with valkey(installation) as broker:
        return all(broker.llen(f"evergrant:{queue}") == 0 for queue in QUEUES)


def test_every_message_ten_times_and_forged_ones_are_one_request_at_a_provider_that_kills_for_a_repeat(
    installation: Installation,
) -> None:
    with simulated("family", lifetime=LIFETIME) as provider:
        installation.worker()
        installation.worker()
        repeating_beat(installation, 10)
        installation.register("app", provider.registration(), provider.secret)
        installation.import_grants("app", [*provider.mint(GRANTS, "app-"), *due_now(provider, GRANTS)])
        installation.command("grants", "revoke", "app-1", "--yes")
        installation.command("grants", "refresh", "app-2", "app-3")
        assert forge(installation, random.Random(1)) == 40
        kept = {*(f"app-{n}" for n in range(2, GRANTS + 1)), *(f"due-{n}" for n in range(1, GRANTS + 1))}
        eventually(lambda: all(len(provider.refreshes().get(ref, [])) >= 2 for ref in kept), timeout=60)
        eventually(lambda: all_was_consumed(installation), timeout=30)
        nothing_was_doubled(installation, provider, alive=2 * GRANTS - 1)
        # `app-1` was revoked, and looked at afterwards.
        assert {request["status"] for request in provider.asked() if request["ref"] != "app-1"} == {200}
        assert installation.statuses("app")["revoked"] == 1


def test_every_message_ten_times_kills_no_grant_at_django_oauth_toolkit(
    installation: Installation, django_toolkit: Toolkit
) -> None:
    installation.worker()
    repeating_beat(installation, 10)
    installation.register("app", django_toolkit.registration(), django_toolkit.secret)
    installation.import_grants("app", due_now(django_toolkit, GRANTS))
    eventually(lambda: len(django_toolkit.refreshes()) == GRANTS, timeout=60)
    nothing_was_doubled(installation, django_toolkit, alive=GRANTS)
    assert all(tokens["refresh"] == 1 for tokens in django_toolkit.living().values())


def nothing_was_doubled(installation: Installation, provider: Provider, *, alive: int) -> None:
    eventually(lambda: installation.fresh() == {"app": alive}, timeout=60)
    assert provider.presented_twice() == 0
    assert installation.statuses("app")["active"] == alive


def whole(queue: str) -> dict[str, Any]:
    """A message as Celery writes it, of a job that nobody claimed."""
    identity = str(uuid4())
    body = json.dumps([[[[str(uuid4()), 1]]], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": "evergrant.refresh",
            "id": identity,
            "root_id": identity,
            "parent_id": None,
            "group": None,
            "retries": 0,
            "timelimit": [None, None],
            "argsrepr": "",
            "kwargsrepr": "",
            "origin": "stranger",
            "eta": None,
            "expires": None,
        },
        "properties": {
            "correlation_id": identity,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "evergrant", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
    }


def no_messages(queue: str) -> list[bytes]:
    """Elements of a queue's list that no program of ours writes: no JSON, no message, or one with a part amiss."""
    raw = [b"", b"not json", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5000, b'{"__type__": "uuid", "__value__": 1}']
    made: list[Any] = [None, 7, "text", [], [1], {}, {"properties": {}}, {"properties": None, "body": "x"}]
    for part in (None, "headers", "properties"):
        names = whole(queue)[part] if part else whole(queue)
        for name in names:
            for wrong in (..., 7, "?", ["x"]):
                message = whole(queue)
                holder = message[part] if part else message
                holder.pop(name) if wrong is ... else holder.__setitem__(name, wrong)
                made.append(message)
    return [*raw, *(json.dumps(each).encode() for each in made)]


def everything(installation: Installation) -> list[Any]:
    """Whatever a message might have changed."""
    tables = ("clients", "grants", "refresh_requests", "revocations", "dead_letters", "events", "valves")
    return [installation.rows(f"select * from evergrant.{table} order by 1") for table in tables]  # noqa: S608


def test_what_is_no_message_is_dropped_with_a_line_and_the_worker_lives_on(installation: Installation) -> None:
    with simulated("family", lifetime=LIFETIME) as provider:
        installation.register("app", provider.registration(), provider.secret)
        installation.import_grants("app", due_now(provider, 3))
        before = everything(installation)
        worker = installation.worker()
        strange = 0
        with valkey(installation) as broker:
            for queue in QUEUES:
                strange += broker.lpush(f"evergrant:{queue}", *no_messages(queue))
        eventually(lambda: all_was_consumed(installation), timeout=60)
        assert strange > 4 * 80
        assert everything(installation) == before
        assert provider.asked() == []
        assert worker.said("broker.not_a_message")
        # The same process goes on.
        installation.beat()
        eventually(lambda: installation.fresh() == {"app": 3}, timeout=30)
        assert not worker.said("Unrecoverable error")


SPOIL: dict[str, Callable[[bytes, bytes], bytes]] = {
    "app-1": lambda own, _: own[: len(own) // 2],  # cut off
    "app-2": lambda own, _: bytes(len(own)),  # nothing but NULs
    "app-3": lambda own, _: own[:-1] + bytes([own[-1] ^ 1]),  # one bit of the tag
    "app-4": lambda _, other: other,  # another row's
    "app-5": lambda own, _: bytes([own[0], 3]) + b"\x00\xff\n" + own[5:],  # a key's name that is none
    "app-6": lambda _, __: b"",
}


def test_rows_that_do_not_open_fail_alone_and_are_neither_sent_nor_blamed(installation: Installation) -> None:
    with simulated("immediate", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS, renewed_at_once=True)
        eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=30)
        whole = spoil(installation)
        before = {ref: len(times) for ref, times in provider.refreshes().items()}
        others = before.keys() - SPOIL.keys()
        eventually(lambda: all(len(provider.refreshes()[ref]) >= before[ref] + 2 for ref in others), timeout=60)
        # Those on their way while their row was spoilt got through; then none of theirs was sent.
        assert all(len(provider.refreshes()[ref]) <= before[ref] + 1 for ref in SPOIL)
        assert installation.statuses("app") == {"active": GRANTS}
        assert installation.rows("select ref from evergrant.grants where suspect_at is not null") == []
        assert installation.listed("dead-letters", "list") == []
        assert {request["status"] for request in provider.asked()} == {200}
        mend(installation, whole)
        eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=90)
        assert provider.presented_twice() == 0


def spoil(installation: Installation) -> dict[str, tuple[int, bytes]]:
    """Write into each row what does not open, once nothing of it is under way; returns what was there."""
    spoilt: dict[str, tuple[int, bytes]] = {}
    rows = installation.rows("select ref, sealed_refresh_token as sealed from evergrant.grants")
    other = next(row["sealed"] for row in rows if row["ref"] not in SPOIL)
    for ref, change in SPOIL.items():
        eventually(lambda ref=ref, change=change: spoil_one(installation, ref, change, other, spoilt), timeout=30)  # type: ignore[misc]
    return spoilt


def spoil_one(
    installation: Installation,
    ref: str,
    change: Callable[[bytes, bytes], bytes],
    other: bytes,
    spoilt: dict[str, tuple[int, bytes]],
) -> bool:
    (row,) = installation.rows(
        "select generation, sealed_refresh_token as sealed from evergrant.grants where ref = %s", [ref]
    )
    done = installation.rows(
        "update evergrant.grants set sealed_refresh_token = %s"
        " where ref = %s and generation = %s and started_at is null returning id",
        [change(row["sealed"], other), ref, row["generation"]],
    )
    if done:
        spoilt[ref] = (row["generation"], row["sealed"])
    return bool(done)


def mend(installation: Installation, whole: dict[str, tuple[int, bytes]]) -> None:
    for ref, (generation, sealed) in whole.items():
        assert installation.rows(
            "update evergrant.grants set sealed_refresh_token = %s where ref = %s and generation = %s returning id",
            [sealed, ref, generation],
        )


NO_MESSAGES = (b"\x00\xff no json", b"{}", b"[1, 2]")


def test_bytes_in_a_queue_that_are_no_message_cost_a_worker_at_most_its_restart(installation: Installation) -> None:
    """Celery cannot read them and ends, after all that is under way is settled; its supervisor starts another."""
    with simulated("family", lifetime=LIFETIME) as provider, valkey(installation) as broker:
        provider.control.add_fault("delay", where="token", when="after", delay_seconds=0.5)
        worker = begin(installation, provider, grants=10, renewed_at_once=True)
        eventually(lambda: len(provider.refreshes()) == 10, timeout=30)
        for raw in NO_MESSAGES:
            broker.lpush("evergrant:refresh", raw)
            eventually(lambda: all_was_consumed(installation), timeout=30)
            worker = worker if lives_on(worker) else installation.worker()
        before = {ref: len(times) for ref, times in provider.refreshes().items()}
        eventually(lambda: all(len(provider.refreshes()[ref]) > n for ref, n in before.items()), timeout=60)
        nothing_was_doubled(installation, provider, alive=10)


def lives_on(worker: Running) -> bool:
    """Whether a worker has not ended a while after it met what it cannot read."""
    try:
        worker.wait(2)
    except subprocess.TimeoutExpired:
        return True
    return False
