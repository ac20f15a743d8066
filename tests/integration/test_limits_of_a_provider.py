"""Limits beside the client's rate: how often one grant may be renewed, and how many requests are left."""

from datetime import timedelta
from typing import Any

import pytest

from simulator.control import SimulatorControl
from tasks.oauth.answer import Response
from tests.harness import GATEWAY, INVALID_GRANT, TOO_MANY, Harness, token_set
from tests.integration.revoking import ask, client_of, mint

MINUTE = timedelta(minutes=1)
LEFT: dict[str, Any] = {"remaining_header": "X-Api-Request-Remaining", "remaining_least": 10}


def wish(harness: Harness) -> None:
    harness.run("select evergrant.request_refresh('customer')")


@pytest.mark.parametrize("answer", [GATEWAY, TOO_MANY, INVALID_GRANT, token_set("2", expires_in=30)])
def test_a_grant_is_not_asked_again_before_its_provider_lets_it(harness: Harness, answer: Response) -> None:
    """Zoho: ten in ten minutes."""
    client = harness.client(rate_per_grant="1/minute", rotation="none")
    grant = harness.grant(client, life=timedelta(seconds=30))

    attempt = harness.ask(client, answer)

    assert harness.row(grant)["due_at"] >= attempt.job.started_at + MINUTE


def test_nor_is_it_because_somebody_wishes_so(harness: Harness) -> None:
    client = harness.client(rate_per_grant="0.25/minute", rotation="none")
    harness.grant(client)
    harness.ask(client, token_set("2", refresh_token=...))

    harness.later(minutes=3)
    wish(harness)
    assert harness.claim(client).count == 0
    harness.later(minutes=2)
    assert len(harness.claim(client).requested) == 1


def test_without_such_a_limit_a_wish_is_heard_after_a_minute(harness: Harness) -> None:
    client = harness.client(rotation="none")
    harness.grant(client)
    harness.ask(client, token_set("2", refresh_token=...))

    harness.later(minutes=3)
    wish(harness)

    assert len(harness.claim(client).requested) == 1


def test_the_repeat_that_saves_a_grant_within_its_grace_waits_for_no_limit(harness: Harness) -> None:
    client = harness.client(rate_per_grant="1/minute", rotation="grace")
    harness.grant(client)

    harness.ask(client, GATEWAY)

    assert harness.claim(client).count == 1


def answer(left: str, *, status: int = 200) -> Response:
    body = token_set("2", refresh_token=...).body if status == 200 else b""
    return Response(status, {"x-api-request-remaining": left}, body)


def test_a_client_goes_at_half_its_pace_while_few_requests_are_left(harness: Harness) -> None:
    client = harness.client(rate=120, rotation="none", burst=100, **LEFT)
    harness.grants(client, 40)
    harness.later(minutes=1)
    (attempt,) = harness.start(harness.claim(client, most=1).due)
    harness.settle((attempt, answer("3")))

    harness.later(seconds=10)
    slow = harness.claim(client).count
    harness.later(seconds=51)
    harness.claim(client)
    harness.later(seconds=10)
    usual = harness.claim(client).count

    assert (slow, usual) == (1, 2)
    told = harness.one("select remaining, scarce_until - remaining_at as lasts from evergrant.witnesses")
    assert (told["remaining"], told["lasts"]) == (3, MINUTE)


def test_once_the_header_rises_it_goes_as_before(harness: Harness) -> None:
    client = harness.client(rotation="none", **LEFT)
    harness.grants(client, 2)
    first, second = harness.start(harness.claim(client).due)
    harness.settle((first, answer("3")))
    assert harness.one("select scarce_until from evergrant.witnesses")["scarce_until"] is not None

    harness.settle((second, answer("11")))

    assert harness.one("select remaining, scarce_until from evergrant.witnesses") == {
        "remaining": 11,
        "scarce_until": None,
    }


def test_a_refusal_tells_it_as_well(harness: Harness) -> None:
    client = harness.client(rotation="none", **LEFT)
    harness.grant(client)

    harness.ask(client, answer("0", status=429))

    assert harness.one("select remaining from evergrant.witnesses")["remaining"] == 0


def test_what_a_real_answer_says_is_heard(harness: Harness, simulator: SimulatorControl) -> None:
    simulator.configure(rate=100)
    client = client_of(harness, simulator, rotation="none", **LEFT)
    harness.grant(client, pair=mint(simulator))

    ask(harness, client)

    assert harness.one("select remaining, scarce_until from evergrant.witnesses") == {
        "remaining": 99,
        "scarce_until": None,
    }


def test_where_the_file_names_no_header_nothing_is_noted(harness: Harness) -> None:
    client = harness.client(rotation="none")
    harness.grant(client)

    harness.ask(client, answer("3"))

    assert harness.one("select remaining from evergrant.witnesses")["remaining"] is None
