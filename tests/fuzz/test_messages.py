"""What stands in a queue: a message of ours, spoilt."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.door import Door
from tests.fuzz.spoiling import Bend, Damage, bends, bent, damaged, damages
from worker.envelope import MOST_BYTES, TASKS, Unlawful, rewritten

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
REASONS = {
    *("too_large", "not_json", "too_deep", "headers", "properties", "compressed", "encoding", "unknown_task"),
    *("eta", "expires", "expired", "body", "arguments", "signature"),
}
ARGUMENTS: dict[str, Any] = {
    "evergrant.refresh": [[["0b9d6a4e-0c1f-4b0e-8f0e-0a3f6c0c1d2e", 3]], "c1"],
    "evergrant.revoke": [[["0b9d6a4e-0c1f-4b0e-8f0e-0a3f6c0c1d2e", 3]]],
    "evergrant.upkeep": ["erase"],
    "evergrant.request_refresh": ["customer-1"],
    "evergrant.request_revocation": ["customer-1"],
}


def spoilt(task: str, body: list[Bend], outer: list[Bend], inside: list[Damage], around: list[Damage]) -> bytes:
    """A message as Celery writes one, spoilt in its body, its members and its bytes."""
    text = damaged(json.dumps(bent([ARGUMENTS[task], {}, NOTHING], body)).encode(), inside)
    message = {
        "body": b64encode(text).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": "an-id", "eta": None, "expires": "2027-01-01T00:00:00"},
        "properties": {"body_encoding": "base64", "delivery_tag": "x", "delivery_info": {}, "priority": 0},
    }
    return damaged(json.dumps(bent(message, outer)).encode(), around)


def check(raw: bytes) -> None:
    """It is refused by a word of the list, or what Celery gets is small, asks for a task of ours, and is lawful."""
    reason = ""
    try:
        text = rewritten(raw, exchange="evergrant", queue="upkeep", now=NOW)
    except Unlawful as error:
        text, reason = "", error.reason
    if not text:
        assert reason in REASONS
        return
    assert len(text) < 2 * MOST_BYTES
    made = json.loads(text)
    assert made["headers"]["task"] in TASKS
    assert made["headers"]["eta"] is None
    again = json.loads(rewritten(text.encode(), exchange="evergrant", queue="upkeep", now=NOW))
    assert again["body"] == made["body"]


DOOR = Door(
    "messages",
    st.builds(spoilt, st.sampled_from(sorted(ARGUMENTS)), bends(), bends(), damages(), damages()),
    check,
)


def test_whatever_stands_in_a_queue_is_refused_by_a_word_or_is_lawful() -> None:
    DOOR.knock()
