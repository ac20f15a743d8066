"""Envelope: what an element of a queue must be to reach Celery; a stranger may have written any of it.

    refusal     when                                          refusal         when
    ─────────   ───────────────────────────────────────────   ─────────────   ─────────────────────────────────────────
    too_large   longer than 64 KiB, unread                    unknown_task    it names no task that messages may name
    not_json    it is no JSON                                 eta, expires    to be held back; or not a time
    too_deep    nested deeper than arguments of ours          expired         its own time is over: this one is lawful
    headers,    a part is missing or of another kind          body,           it is no JSON of arguments, its names and
    properties                                                arguments       what is to follow
    compressed, other than plain JSON in UTF-8                signature       it carries tasks that we should send on
    encoding

Celery obeys whatever an envelope says: it inflates, holds back until a far day, sends on what is embedded. So what it
is given is not the stranger's envelope but one that is written anew here; of the former only the task, its arguments
and a lawful id are left. What nobody reads may be anything.
"""

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from kombu.utils import json as arguments_json

MOST_BYTES: Final = 64 << 10  # of a queue's element; the largest that beat writes, 500 jobs, has some 44 000
MOST_LEVELS: Final = 8  # of lists and objects within each other
# What a message may ask for, and the arguments that may be given without a name.
TASKS: Final[Mapping[str, tuple[str, ...]]] = {
    "evergrant.refresh": ("jobs", "client_id"),
    "evergrant.revoke": ("jobs",),
    "evergrant.upkeep": ("name",),
    "evergrant.exchange": ("visit_ids",),
    "evergrant.request_refresh": ("ref", "client", "if_generation"),
    "evergrant.request_revocation": ("ref", "client", "reason", "idempotency_key", "erase"),
}
SIGNATURES: Final = ("callbacks", "errbacks", "chain", "chord")
JSON: Final = "application/json"
UTF_8: Final = "utf-8"
BASE64: Final = "base64"

_LAWFUL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


class Unlawful(Exception):
    """What was taken from a queue is no message of ours; it is forgotten. Never repeats what was written."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.queue: str | None = None


def rewritten(raw: bytes, *, exchange: str, queue: str, now: datetime) -> str:
    """Write a queue's element anew, as Celery is to read it.

    Raises:
        Unlawful: it is no message, or asks for what no message may.

    """
    if len(raw) > MOST_BYTES:
        raise Unlawful("too_large")
    outer = _object(_read(raw, "not_json"), "not_json")
    headers = _object(outer.get("headers"), "headers")
    task = _task(headers, now)
    body = _body(outer)
    _check_arguments(task, body)
    identity = _identity(headers)
    return json.dumps(
        {
            "body": b64encode(body.encode()).decode("ascii"),
            "content-encoding": UTF_8,
            "content-type": JSON,
            "headers": _headers(task, identity),
            "properties": _properties(identity, exchange=exchange, queue=queue),
        }
    )


# Steps


def _read(text: bytes | str, reason: str) -> Any:
    try:
        return json.loads(text)
    except _UNREADABLE:
        raise Unlawful(reason) from None


def _object(value: Any, reason: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unlawful(reason)
    return value


def _task(headers: Mapping[str, Any], now: datetime) -> str:
    """The task that is named, if it is to be done now."""
    task = headers.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise Unlawful("unknown_task")
    if headers.get("compression") is not None:
        raise Unlawful("compressed")
    if headers.get("eta") is not None:
        raise Unlawful("eta")  # Celery would hold it in memory until then
    if headers.get("expires") is not None and _time(headers["expires"]) <= now:
        raise Unlawful("expired")
    return task


def _time(value: Any) -> datetime:
    try:
        at = datetime.fromisoformat(value)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except _UNREADABLE:
        raise Unlawful("expires") from None


def _body(outer: Mapping[str, Any]) -> str:
    """The text of the body, out of its wrapping."""
    properties = _object(outer.get("properties"), "properties")
    body, encoding = outer.get("body"), properties.get("body_encoding")
    if outer.get("content-type") != JSON or outer.get("content-encoding") != UTF_8:
        raise Unlawful("encoding")
    if not isinstance(body, str) or encoding not in (BASE64, UTF_8, None):
        raise Unlawful("encoding")
    try:
        return b64decode(body, validate=True).decode(UTF_8) if encoding == BASE64 else body
    except (NotBase64, ValueError):
        raise Unlawful("encoding") from None


def _check_arguments(task: str, body: str) -> None:
    """Check that a body is `[arguments, named, {what is to follow: nothing}]`, and that the task can be called so."""
    try:
        found = arguments_json.loads(body)  # as Celery will: what does not open there must not reach it
        body.encode()
    except _UNREADABLE:
        raise Unlawful("body") from None
    match found:
        case [list() as given, dict() as named, dict() as embedded]:
            taken = TASKS[task][: len(given)]
        case _:
            raise Unlawful("arguments")
    if len(given) > len(taken) or not named.keys().isdisjoint(taken):
        raise Unlawful("arguments")
    if any(embedded.get(name) for name in SIGNATURES):
        raise Unlawful("signature")
    if _is_deep(found):
        raise Unlawful("too_deep")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS):
        within = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for every in within for each in every if isinstance(each, list | dict)]
        if not level:
            return False
    return True


def _identity(headers: Mapping[str, Any]) -> str:
    """Its id, for the logs of both sides; a new one where it is none."""
    given = headers.get("id")
    return given if isinstance(given, str) and _LAWFUL_ID.fullmatch(given) else str(uuid4())


def _headers(task: str, identity: str) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": task,
        "id": identity,
        "root_id": identity,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "",
        "kwargsrepr": "",
        "origin": "",
        "eta": None,
        "expires": None,
    }


def _properties(identity: str, *, exchange: str, queue: str) -> dict[str, Any]:
    return {
        "correlation_id": identity,
        "delivery_mode": 2,
        "delivery_info": {"exchange": exchange, "routing_key": queue},
        "priority": 0,
        "body_encoding": BASE64,
        "delivery_tag": str(uuid4()),  # of our own: Celery keeps what is under way by it
    }
