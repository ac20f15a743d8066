"""Somebody who reaches the broker: may delay what the next look of beat does again, and never more."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery

from tests import brokers
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import due_now
from tests.acceptance.programs import Running
from tests.acceptance.providers import Provider, simulated
from tests.polling import eventually

QUEUES = ("refresh", "refresh_urgent", "revoke", "upkeep")
PRIORITY = "\x06\x163"
LIFETIME = 6.0
GRANTS = 5
MOST_GROWTH_KB = 64 << 10
NOTHING = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
FORGED = {"task": "evergrant.upkeep", "args": ["forged"], "kwargs": {}, "options": {"queue": "upkeep"}}
ANSI = "\x1b]0;CANARY\x07"  # what a line of the log must not repeat


@pytest.fixture
def provider() -> Iterator[Provider]:
    with simulated("family", lifetime=LIFETIME) as provider:
        yield provider


@pytest.fixture
def worker(installation: Installation, provider: Provider) -> Running:
    """A worker, as `celery -A worker worker` starts it, that keeps grants alive."""
    running = installation.worker()
    installation.beat()
    installation.register("app", provider.registration(), provider.secret)
    installation.import_grants("app", due_now(provider, GRANTS))
    eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=30)
    return running


@pytest.fixture
def valkey(installation: Installation) -> Iterator["redis.Redis"]:
    """The broker, as somebody who may do everything there."""
    with brokers.connect(installation.env["EVERGRANT_BROKER_URL"]) as client:
        yield client


def peak_kb(running: Running) -> int:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{running.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


def goes_on(installation: Installation, provider: Provider) -> None:
    """Every grant is refreshed once more, and then again."""
    before = {ref: len(times) for ref, times in provider.refreshes().items()}
    eventually(lambda: all(len(provider.refreshes()[ref]) >= n + 2 for ref, n in before.items()), timeout=60)
    assert provider.presented_twice() == 0
    assert installation.statuses("app") == {"active": GRANTS}


# Messages


def message(body: Any = None, **changes: Any) -> dict[str, Any]:
    """As Celery writes one, of a chore that is none."""
    text = json.dumps([["none"], {}, NOTHING] if body is None else body).encode()
    made: dict[str, Any] = {
        "body": base64.b64encode(text).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "evergrant.upkeep", "id": str(uuid4()), "retries": 0, "eta": None},
        "properties": {
            "correlation_id": str(uuid4()),
            "delivery_info": {"exchange": "evergrant", "routing_key": "upkeep"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
    }
    for name, value in changes.items():
        if name in ("headers", "properties") and isinstance(value, dict):
            made[name] |= value
        else:
            made[name.replace("_", "-")] = value
    return made


def inflating() -> dict[str, Any]:
    """A megabyte and a half that would be a gigabyte and a half."""
    bomb = gzip.compress(bytes(1 << 30), compresslevel=9) + gzip.compress(bytes(1 << 29), compresslevel=9)
    return message(body=None, headers={"compression": "application/x-gzip"}) | {"body": base64.b64encode(bomb).decode()}


def small_inflating() -> dict[str, Any]:
    """The same in less than 64 KiB: 30 megabytes, many times."""
    bomb = base64.b64encode(gzip.compress(bytes(30 << 20), compresslevel=9)).decode()
    return message(headers={"compression": "gzip"}) | {"body": bomb}


def embedding(name: str) -> dict[str, Any]:
    return message([["none"], {}, {**NOTHING, name: FORGED if name == "chord" else [FORGED]}])


def hostile() -> list[bytes]:
    """Some forty that nobody of us writes."""
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    raw = [
        b"",
        b"no json",
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b"9" * 5000,
        b'{"__type__": "uuid", "__value__": 1}',
        bytes(100 << 20),  # a hundred megabytes of nothing
        json.dumps([[]] * 1_000_000).encode(),
    ]
    made: list[Any] = [
        None,
        [],
        {},
        {"properties": None, "body": "x"},
        inflating(),
        small_inflating(),
        message(headers={"compression": "bzip2"}),
        message([[deep], {}, NOTHING]),
        message([[], {"name": deep}, NOTHING]),
        message(content_type="application/x-python-serialize"),
        message(content_type="application/x-yaml"),
        message(content_type={"a": 1}),
        message(content_encoding="rot13"),
        message(properties=None),
        message(headers=None),
        message(headers=["task"]),
        message(properties={"body_encoding": "nobody knows"}),
        message(properties={"delivery_info": "text"}),
        message(properties={"delivery_tag": {"a": 1}, "priority": {"a": 1}}),
        message(properties={"reply_to": "refresh", "correlation_id": {"a": []}}),
        message(headers={"task": {"a": 1}}),
        message(headers={"task": "celery.map"}, body=[[FORGED, [["forged"]]], {}, NOTHING]),
        message(headers={"task": ANSI}),
        message(headers={"id": ANSI * 500, "root_id": {}, "parent_id": []}),
        message(headers={"eta": "2999-01-01T00:00:00+00:00"}),
        message(headers={"eta": "never"}),
        message(headers={"expires": "never"}),
        message(headers={"expires": "2000-01-01T00:00:00+00:00"}),
        message(headers={"retries": 10**40}),
        message(headers={"timelimit": [0.000001, 0.000001]}),
        message(headers={"timelimit": "x"}),
        message(headers={"argsrepr": ANSI * 5000, "kwargsrepr": ["x"], "origin": {}}),
        message(headers={"stamps": {"a": {"b": ["c"]}}, "stamped_headers": ["a"]}),
        message(headers={"group": str(uuid4()), "group_index": 0}),
        *(embedding(name) for name in ("callbacks", "errbacks", "chain", "chord")),
        message([["none"] * 4000, {}, NOTHING]),
        message({"task": "evergrant.upkeep", "args": ["forged"], "kwargs": {}}),
    ]
    return [*raw, *(json.dumps(each).encode() for each in made)]


def test_forty_hostile_messages_in_every_queue_cost_no_worker_its_life_nor_its_memory(
    installation: Installation, provider: Provider, worker: Running, valkey: "redis.Redis"
) -> None:
    messages = hostile()
    assert len(messages) > 40
    before = peak_kb(worker)
    for queue in QUEUES:
        for key in (f"evergrant:{queue}", f"evergrant:{queue}{PRIORITY}"):
            for raw in messages:
                valkey.lpush(key, raw)
    eventually(lambda: all(valkey.llen(f"evergrant:{queue}{PRIORITY}") == 0 for queue in QUEUES), timeout=60)
    goes_on(installation, provider)
    assert peak_kb(worker) - before < MOST_GROWTH_KB
    assert installation.logged("broker.not_a_message")
    assert installation.logged("CANARY", "forged", "Traceback", "Unrecoverable") == []
    assert valkey.zcard("evergrant:unacked_index") == 0  # none is held back


def test_a_flood_of_rubbish_in_one_queue_keeps_no_other_waiting(
    installation: Installation, provider: Provider, worker: Running, valkey: "redis.Redis"
) -> None:
    pipeline = valkey.pipeline(transaction=False)
    for _ in range(20_000):
        pipeline.lpush("evergrant:refresh_urgent", b"rubbish")
    pipeline.execute()
    before = {ref: len(times) for ref, times in provider.refreshes().items()}
    eventually(lambda: all(len(provider.refreshes()[ref]) > n for ref, n in before.items()), timeout=60)
    assert installation.fresh() == {"app": GRANTS}
    assert worker.pid
    assert len(installation.logged("broker.not_a_message")) < 1000


# Remote control

COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("rate_limit", {"task_name": "evergrant.refresh", "rate_limit": "1/h"}),
    ("cancel_consumer", {"queue": "refresh"}),
    ("cancel_consumer", {"queue": "refresh_urgent"}),
    ("add_consumer", {"queue": "stranger"}),
    ("pool_shrink", {"n": 8}),
    ("time_limit", {"task_name": "evergrant.refresh", "hard": 0.001}),
    ("revoke", {"task_id": "x", "terminate": True}),
    ("election", {"id": "x", "topic": "task", "action": FORGED}),
    ("pool_restart", {"modules": ["os"]}),
    ("shutdown", {}),
]


def test_remote_control_is_obeyed_by_nobody(
    installation: Installation, provider: Provider, worker: Running, valkey: "redis.Redis"
) -> None:
    stranger = Celery(
        "stranger",
        broker=installation.env["EVERGRANT_BROKER_URL"],
        config_source="celeryconfig",
        set_as_current=False,
    )
    with stranger.connection_for_write() as connection:
        for name, arguments in COMMANDS:
            stranger.control.broadcast(name, arguments=arguments, connection=connection)
    database = brokers.database_of(installation.env["EVERGRANT_BROKER_URL"])
    fanout = f"evergrant:/{database}."
    deep = b'{"a":' * 50_000
    for channel in ("celery.pidbox", "celeryev/worker.heartbeat", "celeryev", "celery.pidbox/x"):
        assert valkey.publish(f"{fanout}{channel}", deep) == 0  # nobody listens
    goes_on(installation, provider)
    assert worker.said("ready.")
    ours = [each for each in valkey.client_list() if each["db"] == str(database)]  # others have databases of their own
    assert ours
    assert not [each for each in ours if int(each["psub"]) or int(each["sub"])]
    stranger.close()


# What stands in the broker beside the messages


def test_what_is_no_list_under_the_name_of_a_queue_is_removed_and_bindings_lead_nowhere_else(
    installation: Installation, provider: Provider, worker: Running, valkey: "redis.Redis"
) -> None:
    valkey.sadd("evergrant:_kombu.binding.evergrant", b"refresh", b"a\x06\x16b\x06\x16c\x06\x16d", b"\xff")
    valkey.sadd("evergrant:_kombu.binding.evergrant", b"refresh\x06\x16\x06\x16elsewhere")
    for queue in ("refresh", "refresh_urgent"):
        valkey.delete(f"evergrant:{queue}")
        valkey.set(f"evergrant:{queue}", "no list")
    goes_on(installation, provider)
    assert valkey.llen("evergrant:elsewhere") == 0
    assert worker.said("ready.")


def test_copies_of_what_is_under_way_that_nobody_of_us_made_are_forgotten(
    installation: Installation, provider: Provider, worker: Running, valkey: "redis.Redis"
) -> None:
    for number, copy in enumerate((b"no json", b"[1, 2]", b'["x", "evergrant", "refresh"]', b"[" * 50_000)):
        valkey.hset("evergrant:unacked", f"tag-{number}", copy)
        valkey.zadd("evergrant:unacked_index", {f"tag-{number}": 1})
    eventually(lambda: valkey.zcard("evergrant:unacked_index") == 0, timeout=60)
    goes_on(installation, provider)
    assert worker.said("ready.")
    assert installation.logged("Traceback", "Could not restore") == []
