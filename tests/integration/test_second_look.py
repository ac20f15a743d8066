"""A verdict is not the end: where it harms nothing a dead grant is asked once more, and comes back if it lives."""

from datetime import timedelta
from uuid import UUID

import pytest

from models import operator_actions, second_look
from models.claim import Job
from models.database import transaction
from tasks import refresh
from tasks.oauth.answer import Answer, Response
from tasks.policy.second_look import LOOKS
from tests.harness import BUSY, GATEWAY, INVALID_GRANT, LEASE, LOST, Harness, token_set

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WITHDRAWN = Response(403, {}, b'{"error": "unauthorized_client"}')


def die(harness: Harness, rotation: str = "on_use", ref: str = "customer") -> tuple[int, UUID]:
    """A grant that was refused twice, with a witness between."""
    client = harness.client(f"demo-{rotation}", rotation=rotation)
    harness.run(
        """update evergrant.valves v set credentials_proven_no = c.credentials_no
        from evergrant.clients c where c.id = v.client_id"""
    )
    grant = harness.grant(client, ref)
    harness.ask(client, INVALID_GRANT)
    for n in range(6):
        harness.grant(client, f"witness-{n}", life=timedelta(days=30), access_left=timedelta(days=25))
    harness.settle(*[(a, token_set(a.job.ref, expires_in=9e6)) for a in harness.start(harness.claim(client).due)])
    harness.until_due(grant)
    harness.ask(client, INVALID_GRANT)
    assert harness.row(grant)["status"] == "needs_consent"
    return client, grant


def claim(harness: Harness, client: int) -> list[Job]:
    with transaction() as connection:
        if not second_look.waiting(connection):
            return []
        return second_look.claim(connection, client, 50, lease=LEASE, waits=LOOKS)


def look(harness: Harness, client: int, answer: Answer) -> bool:
    """One look of the chore; whether anything was asked."""
    attempts = harness.start(claim(harness, client), status="needs_consent")
    harness.settle(*[(attempt, answer) for attempt in attempts])
    return bool(attempts)


def letter(harness: Harness) -> dict[str, object]:
    return dict(harness.one("select looks, look_at - dead_at as look_in from evergrant.dead_letters"))


def test_it_is_asked_an_hour_a_day_and_a_week_after_its_verdict_and_never_again(harness: Harness) -> None:
    client, grant = die(harness)
    before = harness.row(grant)
    asked = []
    for hour in range(1, 24 * 9):
        harness.later(hours=1)
        if look(harness, client, INVALID_GRANT):
            asked.append(hour)
    assert asked == [1, 24, 24 * 7]
    after = harness.row(grant)
    names = ("status", "reason", "attempts", "failures", "refusals", "last_error_code", "generation")
    assert [after[name] for name in names] == [before[name] for name in names]
    assert harness.letters(grant) == ["revoked_or_expired"]
    assert letter(harness) == {"looks": 3, "look_in": None}


def test_one_that_lives_after_all_is_active_again_its_letter_closed_and_told(harness: Harness) -> None:
    client, grant = die(harness)
    harness.later(hours=1)
    assert look(harness, client, token_set("given-back"))
    row = harness.row(grant)
    assert (row["status"], row["reason"], harness.token(grant)) == ("active", None, "rt-given-back")
    assert harness.letters(grant) == []
    assert harness.events(grant_id=grant)[-1] == "grant.recovered"
    assert not harness.claim(client).count


def test_at_family_one_whose_answer_was_lost_is_left_alone(harness: Harness) -> None:
    client, grant = die(harness, "family")
    harness.run("update evergrant.dead_letters set resolved_at = clock_timestamp()")
    harness.set(
        grant, status="active", doubt_since=harness.row(grant)["suspect_at"], due_at=harness.row(grant)["asked_at"]
    )
    harness.ask(client, INVALID_GRANT)
    assert harness.row(grant)["reason"] == "response_lost"
    harness.later(days=30)
    assert claim(harness, client) == []


@pytest.mark.parametrize("answer", [INVALID_GRANT, WITHDRAWN], ids=["understood", "in a dialect"])
def test_what_it_is_refused_in_makes_no_suspect_feeds_no_breaker_and_keeps_no_token_longer(
    harness: Harness, answer: Answer
) -> None:
    client, grant = die(harness)
    harness.later(days=1)
    valve, row = harness.valve(client), harness.row(grant)
    assert look(harness, client, answer)
    after = harness.row(grant)
    assert (after["last_error_at"], after["suspect_at"]) == (row["last_error_at"], row["suspect_at"])
    assert after["started_at"] is None
    assert {**harness.valve(client)} == {**valve}
    assert harness.events(client_id=client).count("client.deaths_held") == 0


def test_a_look_whose_outcome_is_unknown_leaves_it_in_doubt_as_any_attempt_does(harness: Harness) -> None:
    client, grant = die(harness)
    harness.later(hours=1)
    assert look(harness, client, LOST)
    row = harness.row(grant)
    assert (row["status"], row["doubt_since"] is not None, row["started_at"]) == ("needs_consent", True, None)


def test_a_look_that_was_never_ended_is_made_up_for_by_the_next_and_noted_as_doubt(harness: Harness) -> None:
    client, grant = die(harness)
    harness.later(hours=1)
    assert harness.start(claim(harness, client), status="needs_consent")  # and the process dies
    assert claim(harness, client) == []
    harness.later(days=1)
    (attempt,) = harness.start(claim(harness, client), status="needs_consent")
    assert attempt.job.doubt_since is not None
    harness.settle((attempt, token_set("given-back")))
    assert harness.row(grant)["status"] == "active"


def test_two_workers_that_look_at_once_ask_once(harness: Harness) -> None:
    client, _ = die(harness)
    harness.later(hours=1)
    jobs = claim(harness, client)
    assert claim(harness, client) == []
    assert len(harness.start(jobs, status="needs_consent")) == 1
    assert harness.start(jobs, status="needs_consent") == []


def test_a_message_that_says_refresh_starts_no_look(harness: Harness) -> None:
    client, _ = die(harness)
    harness.later(hours=1)
    assert harness.start(claim(harness, client)) == []


def test_whoever_was_away_for_days_asks_once_and_not_all_looks_at_once(harness: Harness) -> None:
    client, _ = die(harness)
    harness.later(days=5)
    assert look(harness, client, INVALID_GRANT)
    assert not look(harness, client, INVALID_GRANT)
    harness.later(hours=22)
    assert not look(harness, client, INVALID_GRANT)
    harness.later(hours=2)
    assert look(harness, client, INVALID_GRANT)


def test_none_is_asked_whose_end_was_asked_for(harness: Harness) -> None:
    client, grant = die(harness)
    with transaction() as connection:
        operator_actions.request_revocation(connection, grant, reason=None, who="tests")
    harness.later(hours=1)
    assert claim(harness, client) == []


def test_a_revocation_that_comes_between_claim_and_start_stops_the_look(harness: Harness) -> None:
    client, grant = die(harness)
    harness.later(hours=1)
    jobs = claim(harness, client)
    with transaction() as connection:
        operator_actions.request_revocation(connection, grant, reason=None, who="tests")
    assert harness.start(jobs, status="needs_consent") == []


def test_none_is_asked_through_a_shut_valve_nor_in_a_copied_database(harness: Harness) -> None:
    client, _ = die(harness)
    harness.later(hours=1)
    harness.run("update evergrant.valves set paused_until = clock_timestamp() + interval '1 h'")
    assert claim(harness, client) == []
    harness.run("update evergrant.valves set paused_until = null, paused_by_operator = true")
    assert claim(harness, client) == []
    harness.run("update evergrant.valves set paused_by_operator = false")
    harness.run("update evergrant.installation set environment = 'another'")
    assert claim(harness, client) == []


def test_none_is_asked_whose_tokens_were_shredded_or_whose_letter_was_discarded(harness: Harness) -> None:
    client, grant = die(harness)
    harness.later(hours=1)
    harness.run("update evergrant.dead_letters set resolved_at = clock_timestamp()")
    assert claim(harness, client) == []
    harness.run("update evergrant.dead_letters set resolved_at = null")
    harness.set(grant, sealed_refresh_token=None)
    assert claim(harness, client) == []


def test_a_provider_that_asks_to_wait_shuts_the_valve_for_a_look_as_for_anything(harness: Harness) -> None:
    client, _ = die(harness)
    harness.later(hours=1)
    assert look(harness, client, BUSY)
    assert harness.valve(client)["paused_until"] is not None


def test_a_look_is_guarded_as_any_attempt(harness: Harness) -> None:
    client, _ = die(harness)
    harness.later(hours=1)
    (attempt,) = harness.start(claim(harness, client), status="needs_consent")
    harness.runtime.admission.note_valve(client, HOUR)
    held = refresh.check(harness.runtime, attempt)
    assert held is not None
    assert held.code == "valve_is_shut"
    harness.settle((attempt, held))
    assert harness.row(attempt.job.grant_id)["status"] == "needs_consent"


def test_gateways_that_answer_a_look_blame_nobody(harness: Harness) -> None:
    client, grant = die(harness)
    harness.later(days=1)
    assert look(harness, client, GATEWAY)
    assert harness.letters(grant) == ["revoked_or_expired"]
