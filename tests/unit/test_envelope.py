"""The envelope: what may stand in a queue, and that whatever else stands there is refused by a word and no more."""

import base64
import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from inspect import signature
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from models.claim import Job
from settings import Settings
from tasks import exchange, refresh, revoke, upkeep
from worker import envelope
from worker.envelope import MOST_BYTES, TASKS, Unlawful

REGISTERED = (exchange, refresh, revoke, upkeep)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
SIGNATURE: dict[str, Any] = {
    "task": "evergrant.upkeep",
    "args": ["erase"],
    "kwargs": {},
    "options": {},
    "subtask_type": None,
}


def read(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(envelope.rewritten(raw, exchange="evergrant", queue="upkeep", now=NOW))
    return found


def refused(raw: bytes) -> str:
    with pytest.raises(Unlawful) as caught:
        read(raw)
    return caught.value.reason


def message(**changes: Any) -> dict[str, Any]:
    """As Celery writes one; `changes` are of the outer envelope."""
    body = json.dumps([["customer"], {}, NOTHING])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "evergrant.request_refresh", "id": str(uuid4()), "eta": None},
        "properties": {"body_encoding": "base64", "delivery_tag": str(uuid4()), "delivery_info": {}, "priority": 0},
        **changes,
    }


def with_header(name: str, value: Any) -> dict[str, Any]:
    made = message()
    made["headers"][name] = value
    return made


def with_body(body: Any) -> dict[str, Any]:
    return message(body=base64.b64encode(json.dumps(body).encode()).decode())


def with_bytes(body: bytes) -> dict[str, Any]:
    return message(body=base64.b64encode(body).decode())


def packed(made: Any) -> bytes:
    return json.dumps(made).encode()


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def written(task: str, args: Any, kwargs: Any) -> bytes:
    """As our own Celery writes it to the broker."""
    app = Celery(set_as_current=False)
    made = app.amqp.as_task_v2(str(uuid4()), task, args=args, kwargs=kwargs)
    return packed(
        {
            "body": base64.b64encode(json.dumps(made.body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": made.headers,
            "properties": {**made.properties, "body_encoding": "base64", "delivery_info": {}, "delivery_tag": "x"},
        }
    )


def test_the_tasks_that_a_message_may_name_are_those_that_a_worker_has() -> None:
    assert REGISTERED
    app = Celery(set_as_current=False)
    ours = {name: task for name, task in app.tasks.items() if name.startswith("evergrant.")}
    assert {
        name: tuple(p.name for p in signature(task.run).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD)
        for name, task in ours.items()
    } == TASKS


@pytest.mark.parametrize("task", sorted(TASKS))
def test_what_celery_writes_for_each_of_our_tasks_is_read(task: str) -> None:
    found = read(written(task, ["customer"], {"later": "temple"}))
    assert found["headers"]["task"] == task
    assert json.loads(base64.b64decode(found["body"]))[:2] == [["customer"], {"later": "temple"}]


def test_the_largest_message_that_beat_may_write_fits() -> None:
    most = next(each.le for each in Settings.model_fields["batch_size"].metadata if hasattr(each, "le"))
    jobs: list[Job] = [(uuid4(), 2**63 - 1)] * int(most)
    raw = written("evergrant.refresh", [[[str(grant_id), no] for grant_id, no in jobs]], {"client_id": 2**63 - 1})
    assert len(raw) < MOST_BYTES
    assert read(raw)


REFUSED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a byte more than 64 KiB": ("too_large", lambda: b" " * (MOST_BYTES + 1)),
    "nothing": ("not_json", lambda: b""),
    "no text": ("not_json", lambda: b"\xff\xfe\x00"),
    "brackets without an end": ("not_json", lambda: b"[" * 60_000),
    "a number of 5000 digits": ("not_json", lambda: b"9" * 5000),
    "a list": ("not_json", lambda: b"[]"),
    "no headers": ("headers", lambda: packed(message(headers=None))),
    "headers in a list": ("headers", lambda: packed(message(headers=["task"]))),
    "no properties": ("properties", lambda: packed(message(properties=None))),
    "no task": ("unknown_task", lambda: packed(with_header("task", None))),
    "a task that is an object": ("unknown_task", lambda: packed(with_header("task", {"a": 1}))),
    "a task of Celery": ("unknown_task", lambda: packed(with_header("task", "celery.map"))),
    "a stranger's task": ("unknown_task", lambda: packed(with_header("task", "os.system"))),
    "inflated by gzip": ("compressed", lambda: packed(with_header("compression", "application/x-gzip"))),
    "inflated by what is none": ("compressed", lambda: packed(with_header("compression", 7))),
    "to be held back": ("eta", lambda: packed(with_header("eta", "9999-12-31T23:59:59"))),
    "to be held back until no day": ("eta", lambda: packed(with_header("eta", {"a": 1}))),
    "whose end is no time": ("expires", lambda: packed(with_header("expires", 1e300))),
    "over": ("expired", lambda: packed(with_header("expires", "2025-12-31T23:59:59"))),
    "pickled": ("encoding", lambda: packed(message(**{"content-type": "application/x-python-serialize"}))),
    "in YAML": ("encoding", lambda: packed(message(**{"content-type": "application/x-yaml"}))),
    "in another alphabet": ("encoding", lambda: packed(message(**{"content-encoding": "utf-16"}))),
    "of a content without a name": ("encoding", lambda: packed(message(**{"content-type": ["application/json"]}))),
    "wrapped by nobody knows what": ("encoding", lambda: packed(message(properties={"body_encoding": "rot13"}))),
    "wrapped in a list": ("encoding", lambda: packed(message(properties={"body_encoding": ["base64"]}))),
    "whose body is no base64": ("encoding", lambda: packed(message(body="Ä"))),
    "whose body is an object": ("encoding", lambda: packed(message(body={"a": 1}))),
    "gzip that is not told": ("encoding", lambda: packed(with_bytes(gzip.compress(b"[]")))),
    "whose body is no JSON": ("body", lambda: packed(with_bytes(b"[[], {}"))),
    "with a type that does not open": ("body", lambda: packed(with_body([[{"__type__": "uuid", "__value__": 1}], {}]))),
    "with a type of nobody": ("body", lambda: packed(with_body([[{"__type__": "os", "__value__": 1}], {}, NOTHING]))),
    "without what is to follow": ("arguments", lambda: packed(with_body([[], {}]))),
    "of protocol 1": ("arguments", lambda: packed(with_body({"task": "evergrant.upkeep", "args": [], "kwargs": {}}))),
    "whose arguments are named twice": ("arguments", lambda: packed(with_body([{}, [], NOTHING]))),
    "with more arguments than the task has": ("arguments", lambda: packed(with_body([["x"] * 4, {}, NOTHING]))),
    "with an argument twice": ("arguments", lambda: packed(with_body([["x"], {"ref": "y"}, NOTHING]))),
    "with a callback": ("signature", lambda: packed(with_body([[], {}, {**NOTHING, "callbacks": [SIGNATURE]}]))),
    "with an errback": ("signature", lambda: packed(with_body([[], {}, {**NOTHING, "errbacks": [SIGNATURE]}]))),
    "with a chain": ("signature", lambda: packed(with_body([[], {}, {**NOTHING, "chain": [SIGNATURE]}]))),
    "with a chord": ("signature", lambda: packed(with_body([[], {}, {**NOTHING, "chord": SIGNATURE}]))),
    "nested in itself": ("too_deep", lambda: packed(with_body([nested(20), {}, NOTHING]))),
    "nested to the end of the stack": ("body", lambda: packed(with_bytes(b"[" * 20_000 + b"]" * 20_000))),
}


@pytest.mark.parametrize(("reason", "raw"), REFUSED.values(), ids=REFUSED)
def test_a_message_is_refused_by_a_word(reason: str, raw: Callable[[], bytes]) -> None:
    assert refused(raw()) == reason


@pytest.mark.parametrize("name", ["retries", "timelimit", "argsrepr", "stamps", "group", "root_id", "shadow", "id"])
@pytest.mark.parametrize("value", [None, 10**40, {"a": {}}, ["x"], "y" * 9000, "\x1b[2J"])
def test_whatever_else_stands_in_a_header_does_not_reach_celery(name: str, value: Any) -> None:
    assert str(value) not in json.dumps(read(packed(with_header(name, value)))["headers"]) or value is None


def test_where_an_answer_should_go_and_by_what_tag_it_is_kept_is_not_for_the_sender_to_say() -> None:
    properties = {
        "body_encoding": "base64",
        "reply_to": "q",
        "delivery_tag": "mine",
        "delivery_info": "x",
        "priority": {},
    }
    found = read(packed(message(properties=properties)))["properties"]
    assert found["delivery_info"] == {"exchange": "evergrant", "routing_key": "upkeep"}
    assert ("reply_to" not in found, found["delivery_tag"] != "mine", found["priority"]) == (True, True, 0)


def test_a_message_whose_time_is_not_over_is_read() -> None:
    assert read(packed(with_header("expires", (NOW + timedelta(minutes=1)).isoformat())))


def test_a_body_that_is_not_wrapped_is_read_as_well() -> None:
    plain = message(body=json.dumps([["Ä"], {}, NOTHING]), properties={"body_encoding": "utf-8"})
    assert json.loads(base64.b64decode(read(packed(plain))["body"]))[0] == ["Ä"]


ANYTHING: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=20)
        | st.lists(ANYTHING, max_size=4)
        | st.dictionaries(st.text(max_size=12), ANYTHING, max_size=4)
    )
)
HEADERS = ("task", "id", "eta", "expires", "compression", "retries", "stamps")
PROPERTIES = ("body_encoding", "delivery_tag", "delivery_info", "priority", "reply_to")
OUTER = ("body", "headers", "properties", "content-type", "content-encoding")
PLACES: list[tuple[str | None, str]] = [
    *(("headers", name) for name in HEADERS),
    *(("properties", name) for name in PROPERTIES),
    *((None, name) for name in OUTER),
]


@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=3))
def test_whatever_stands_anywhere_is_read_or_refused(changes: list[tuple[tuple[str | None, str], Any]]) -> None:
    made: dict[str, Any] = message()
    for (part, name), value in sorted(changes, key=lambda change: change[0][0] is None):
        (made[part] if part else made)[name] = value
    read_or_refused(packed(made))


@given(st.binary(max_size=300) | ANYTHING.map(packed) | ANYTHING.map(with_body).map(packed))
def test_whatever_bytes_stand_in_a_queue_are_read_or_refused(raw: bytes) -> None:
    read_or_refused(raw)


def read_or_refused(raw: bytes) -> None:
    with suppress(Unlawful):
        read(raw)
