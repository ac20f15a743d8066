"""What a webhook is told of one event, and that it tells no link."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from models.states.event import EventType
from models.webhook_delivery import Taken
from tasks.telling import letter


def told(kind: str, *, ref: str | None = "customer-42", client: str | None = "temple") -> dict[str, Any]:
    at = datetime(2026, 11, 24, 7, 20, 53, tzinfo=UTC)
    taken = Taken(1, 1, 7, kind, at, "test", client, ref, 3, {}, None, {})
    assert letter.body(taken) == letter.body(taken)
    read: dict[str, Any] = json.loads(letter.body(taken))
    return read


@pytest.mark.parametrize("kind", [EventType.GRANT_NEEDS_CONSENT, EventType.GRANT_EXPIRING])
def test_what_only_its_user_mends_says_where_a_link_is_had(kind: str) -> None:
    assert told(kind)["connect"] == "/v1/grants/customer-42/connect?client=temple"
    assert told(kind, ref="a/b?c")["connect"] == "/v1/grants/a%2Fb%3Fc/connect?client=temple"


def test_of_a_name_that_was_erased_no_link_is_had() -> None:
    assert "connect" not in told(EventType.GRANT_NEEDS_CONSENT, ref=None)


@pytest.mark.parametrize(
    "kind", sorted(set(EventType.meanings()) - {EventType.GRANT_NEEDS_CONSENT, EventType.GRANT_EXPIRING})
)
def test_nothing_else_speaks_of_links(kind: str) -> None:
    assert "connect" not in told(kind)
