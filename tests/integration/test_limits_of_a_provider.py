"""Limits beside the client's rate: how often one grant may be renewed, and how many requests are left."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

import settings
from models.database import transaction
from simulator.control import SimulatorControl
from tasks import explain
from tasks.oauth.answer import Response
from tests.harness import BUSY, GATEWAY, INVALID_GRANT, TOO_MANY, Harness, token_set
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


# ── a limit that nobody has written down ────────────────────────────────────────────────────────────────────────

AN_HOUR = Response(429, {"retry-after": "3600"}, b"")


def wait_of(harness: Harness, grant: UUID) -> timedelta:
    found = harness.one("select due_at - last_error_at as wait from evergrant.grants where id = :id", id=grant)
    wait: timedelta = found["wait"]
    return wait


def look(harness: Harness, client: int, limited: set[UUID], at: int, *, says: Response = AN_HOUR) -> list[UUID]:
    """One look of beat, and what comes of it where some have a limit of their own; returns who was told so."""
    attempts = harness.start(harness.claim(client).due)
    told = [attempt.job.grant_id for attempt in attempts if attempt.job.grant_id in limited]
    harness.settle(
        *((a, says if a.job.grant_id in limited else token_set(f"{a.job.ref}-{at}", expires_in=600)) for a in attempts)
    )
    return told


def test_a_grant_that_is_told_to_wait_waits_as_long_as_it_was_told_five_minutes_at_most(harness: Harness) -> None:
    client = harness.client(rotation="none")
    grant = harness.grant(client)

    harness.ask(client, Response(429, {"retry-after": "120"}, b""))
    assert timedelta(seconds=119) < wait_of(harness, grant) <= timedelta(seconds=120)
    harness.until_due(grant)
    harness.ask(client, AN_HOUR)
    assert timedelta(seconds=299) < wait_of(harness, grant) <= timedelta(seconds=375)  # spread


def test_nor_does_a_wish_shorten_what_it_was_told(harness: Harness) -> None:
    client = harness.client(rotation="none")
    harness.grant(client)
    harness.ask(client, Response(429, {"retry-after": "120"}, b""))
    harness.run("update evergrant.valves set paused_until = null")

    harness.later(seconds=100)
    wish(harness)
    assert harness.claim(client).count == 0
    harness.later(seconds=21)
    assert harness.claim(client).count == 1


@pytest.mark.parametrize(
    ("says", "word"),
    [
        (AN_HOUR, "http_429, HTTP 429"),
        (Response(403, {"retry-after": "3600"}, b'{"error": "secondary_limit"}'), "secondary_limit, HTTP 403"),
    ],
)
def test_a_grant_with_a_limit_of_its_own_stops_no_other(harness: Harness, says: Response, word: str) -> None:
    """Twelve, with lives of ten minutes, for two hours."""
    client = harness.client(rotation="none")
    grants = harness.grants(client, 12, access_left=timedelta(seconds=200), life=timedelta(minutes=10))
    told, stale = 0, 0
    for n in range(360):
        told += len(look(harness, client, {grants[0]}, n, says=says))
        harness.later(seconds=20)
        late = "select count(*) as n from evergrant.grants where id <> :id and access_expires_at < clock_timestamp()"
        stale += harness.one(late, id=grants[0])["n"] if n > 60 else 0

    assert harness.events(client_id=client).count("client.paused") <= 2
    assert stale == 0
    assert 15 <= told <= 25  # every five to six minutes and a quarter
    assert harness.row(grants[0])["failures"] == 0
    harness.set(grants[0], last_error_at=harness.row(grants[0])["last_error_at"] - timedelta(minutes=20))
    assert why(grants[0])["grant_is_throttled"] == (
        f"The provider asked this grant to wait ({word}), and others of demo are renewed meanwhile."
    )


def test_the_first_that_is_told_so_stops_nobody_where_those_who_were_asked_later_are_served(harness: Harness) -> None:
    client = harness.client(rotation="none")
    grants = harness.grants(client, 3)
    limited, served, another = (harness.start(harness.claim(client, most=1).due)[0] for _ in grants)
    harness.settle((limited, AN_HOUR), (served, token_set("served")))
    assert harness.valve(client)["paused_until"] is None
    assert timedelta(seconds=299) < wait_of(harness, limited.job.grant_id) <= timedelta(seconds=300)

    harness.settle((another, AN_HOUR))  # a second one: it is the client's
    assert harness.valve(client)["paused_until"] is not None


def test_a_503_is_no_limit_of_a_grant_and_neither_is_what_a_rule_calls_the_clients(harness: Harness) -> None:
    for says, answers in ((BUSY, []), (AN_HOUR, [{"status": 429, "means": "throttled"}])):
        client = harness.client(f"client-{says.status}", rotation="none", answers=answers)
        harness.grants(client, 2)
        told, served = (harness.start(harness.claim(client, most=1).due)[0] for _ in range(2))
        harness.settle((told, says), (served, token_set(f"served-{says.status}")))
        assert harness.valve(client)["paused_until"] is not None


def why(grant: UUID) -> dict[str, str]:
    """What explains a grant, by cause."""
    with transaction() as connection:
        found = explain.of_grant(connection, grant, settings=settings.current())
    return {found.cause: found.headline} | {link.cause: link.told for link in found.chain}


def test_where_none_names_a_wait_it_grows_while_the_grant_alone_is_told_so(harness: Harness) -> None:
    client = harness.client(rotation="none")
    grant = harness.grant(client)
    waits: list[timedelta] = []
    for n in range(8):
        harness.until_due(grant)
        harness.run("update evergrant.valves set paused_until = null, changed_at = null")
        harness.ask(client, Response(429, {}, b""))
        waits.append(wait_of(harness, grant))
        harness.run("update evergrant.valves set paused_until = null, changed_at = null")
        harness.grant(client, f"other-{n}")
        harness.ask(client, token_set(f"other-{n}-2", expires_in=10**7))

    assert waits[0] <= timedelta(seconds=15)
    assert waits[-1] >= timedelta(seconds=150)


def test_a_limit_of_the_client_slows_all_of_it_at_once_whoever_was_told_so_before(harness: Harness) -> None:
    client = harness.client(rotation="none")
    grants = harness.grants(client, 10)
    attempts = harness.start(harness.claim(client).due)
    harness.settle(*((attempt, TOO_MANY) for attempt in attempts))
    assert harness.valve(client)["paused_until"] is not None

    harness.later(seconds=16)
    harness.ask(client, token_set("canary"))  # it opens, and the others were all told 429 before
    assert harness.valve(client)["paused_until"] is None
    harness.later(seconds=1)
    attempts = harness.start(harness.claim(client).due)
    assert len(attempts) == len(grants) - 1
    harness.settle(*((attempt, TOO_MANY) for attempt in attempts[:3]))

    assert harness.valve(client)["paused_until"] is not None


def test_a_rule_that_says_that_it_is_the_clients_is_believed(harness: Harness) -> None:
    client = harness.client(rotation="none", answers=[{"status": 429, "means": "throttled"}])
    grant = harness.grant(client)
    for n in range(2):
        harness.until_due(grant)
        harness.run("update evergrant.valves set paused_until = null, changed_at = null")
        harness.ask(client, TOO_MANY)
        assert harness.valve(client)["paused_until"] is not None
        harness.run("update evergrant.valves set paused_until = null, changed_at = null")
        harness.grant(client, f"other-{n}")
        harness.ask(client, token_set(f"other-{n}-2", expires_in=10**7))
