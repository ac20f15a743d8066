"""The page of events has every type, and says of each whether a webhook is told of it that names none."""

import re
from pathlib import Path

from models.states.event import TOLD_OF_ITSELF, EventType
from models.states.webhook import WebhookState
from tasks.policy.telling import WAITS
from tasks.telling import teller

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
TYPES = PAGE[PAGE.index("## Types") : PAGE.index("## How they are delivered")]


def types_of(table: str) -> list[str]:
    """The types in the first column of a table."""
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([\w.]+)`", row)]


def test_every_type_is_in_one_table_and_those_that_are_told_of_themselves_in_the_first() -> None:
    first, others = TYPES.split("These a webhook is told where it names them")
    assert sorted(types_of(first)) == sorted(map(str, TOLD_OF_ITSELF))
    assert sorted(types_of(first) + types_of(others)) == sorted(EventType.meanings())


def test_every_state_of_a_webhook_is_on_the_page() -> None:
    assert types_of(PAGE[PAGE.index("## When a receiver is away") :]) == [
        *("open", "failing", "behind", "unreachable", "gone", "paused", "foreign"),
    ]
    assert len(WebhookState) == 7


def test_the_lengths_of_time_on_the_page_are_those_of_the_code() -> None:
    assert [wait.total_seconds() for wait in WAITS] == [1, 2, 5, 15, 60, 300, 1800, 7200]
    assert "after 1, 2, 5 and 15 seconds, 1, 5 and\n  30 minutes, then every two hours" in PAGE
    assert (teller.DEADLINE.total_seconds(), teller.LEASE.total_seconds(), teller.AT_ONCE) == (10, 3, 32)
