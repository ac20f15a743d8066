"""Verdicts: from the first refusal to `needs_consent`, and everything that stands against it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models import journal as register
from models import operator_actions
from models.database import transaction
from models.views import fleet, listing
from tasks import upkeep
from tests.harness import BUSY, GATEWAY, INVALID_CLIENT, INVALID_GRANT, LOST, TOO_MANY, UNREACHABLE, Harness, token_set


@pytest.fixture
def client(harness: Harness) -> int:
    return proven(harness, harness.client(rotation="immediate"))


def proven(harness: Harness, client: int) -> int:
    """The client's credentials have had a success."""
    query = """update evergrant.valves v set credentials_proven_no = c.credentials_no
        from evergrant.clients c where c.id = v.client_id"""
    harness.run(query)
    return client


def witness(harness: Harness, client: int, ref: str = "witness") -> UUID:
    """Another grant is refreshed well, now."""
    grant = harness.grant(client, ref, due_in=timedelta(hours=-1))
    attempt = next(a for a in harness.start(harness.claim(client, most=1).due) if a.job.grant_id == grant)
    harness.settle((attempt, token_set(f"{ref}-2")))
    return grant


def refuse(harness: Harness, client: int, grant: UUID, *, times: int = 1) -> list[str]:
    """Let the grant be refused when it is due, several times; returns the tokens that were presented."""
    sent = []
    for _ in range(times):
        harness.until_due(grant)
        attempts = harness.start(harness.claim(client).due)
        harness.settle(*[(a, INVALID_GRANT if a.job.grant_id == grant else TOO_MANY) for a in attempts])
        harness.run("update evergrant.valves set paused_until = null")
        sent += [harness.sent(a) for a in attempts if a.job.grant_id == grant]
    return sent


def handed_out(harness: Harness, grant: UUID) -> bool:
    query = "select sealed_access_token is not null as out from evergrant.access_tokens where grant_id = :id"
    return bool(harness.one(query, id=grant)["out"])


def wait_of(harness: Harness, grant: UUID) -> timedelta:
    row = harness.row(grant)
    return row["due_at"] - row["asked_at"]  # type: ignore[no-any-return]


def test_one_refusal_makes_a_suspect_that_still_serves_and_is_asked_again_after_ten_minutes(
    harness: Harness, client: int
) -> None:
    grant = harness.grant(client)
    harness.ask(client, INVALID_GRANT)
    row = harness.row(grant)
    assert (row["status"], row["failures"], row["last_error_code"]) == ("active", 0, "invalid_grant")
    assert row["suspect_at"] == row["asked_at"]
    assert timedelta(minutes=9.9) < wait_of(harness, grant) <= timedelta(minutes=10)
    assert handed_out(harness, grant)
    assert harness.letters(grant) == []


def test_a_suspect_of_a_short_life_is_asked_again_after_a_quarter_of_it(harness: Harness, client: int) -> None:
    grant = harness.grant(client, life=timedelta(seconds=20))
    harness.ask(client, INVALID_GRANT)
    assert timedelta(seconds=4.5) < wait_of(harness, grant) <= timedelta(seconds=5)


def test_a_second_refusal_beside_a_witness_is_the_verdict(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, INVALID_GRANT)
    witness(harness, client)
    refuse(harness, client, grant)
    row = harness.row(grant)
    assert (row["status"], row["reason"]) == ("needs_consent", "revoked_or_expired")
    assert harness.letters(grant) == ["revoked_or_expired"]
    assert harness.one("select attempts from evergrant.dead_letters")["attempts"] == 2
    assert harness.events(grant_id=grant) == ["grant.needs_consent"]
    assert not handed_out(harness, grant)
    assert harness.claim(client).count == 0


def test_without_a_witness_a_suspect_waits_for_the_end_of_its_access_token(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    refuse(harness, client, grant, times=4)
    assert harness.row(grant)["status"] == "active"
    harness.later(minutes=20)
    refuse(harness, client, grant)
    assert harness.row(grant)["status"] == "needs_consent"


def another_secret(harness: Harness, client: int) -> None:
    with transaction() as connection:
        sealed = harness.runtime.vault.seal("another", table="clients", row_id=client, purpose="secret")
        operator_actions.set_client_secret(connection, client, sealed, who="tests")


def test_after_a_change_of_secret_no_verdict_falls_before_somebody_succeeded_under_the_new_one(
    harness: Harness, client: int
) -> None:
    """Another client's credentials look like a dead token: everybody would be declared dead for a typing mistake."""
    suspects = [harness.grant(client, f"before-{n}") for n in range(2)]
    refuse(harness, client, suspects[0])
    assert harness.row(suspects[0])["suspect_at"] is not None
    witness(harness, client)
    another_secret(harness, client)
    harness.later(minutes=50)  # its access token has ended, so no witness is needed
    for grant in suspects:
        refuse(harness, client, grant, times=4)
        assert harness.row(grant)["status"] == "active"
        assert harness.row(grant)["last_error_code"] == "invalid_grant_unproven"
    assert harness.row(suspects[1])["suspect_at"] is None
    assert harness.letters(suspects[0]) == []
    witness(harness, client, "under-the-new-one")
    refuse(harness, client, suspects[0])
    assert harness.row(suspects[0])["status"] == "needs_consent"
    refuse(harness, client, suspects[1])
    assert harness.row(suspects[1])["status"] == "active", "refused once only"


def test_an_answer_to_the_former_secret_is_no_verdict_once_another_is_in_force(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    refuse(harness, client, grant)
    harness.later(hours=30)
    attempt = harness.begin(client)
    another_secret(harness, client)
    harness.settle((attempt, INVALID_GRANT))
    assert harness.row(grant)["status"] == "active"


def test_without_a_witness_and_with_a_long_life_it_waits_a_day(harness: Harness, client: int) -> None:
    grant = harness.grant(client, life=timedelta(days=90), access_left=timedelta(days=60))
    refuse(harness, client, grant, times=2)
    harness.later(hours=23)
    refuse(harness, client, grant)
    assert harness.row(grant)["status"] == "active"
    harness.later(hours=1)
    refuse(harness, client, grant)
    assert harness.row(grant)["status"] == "needs_consent"


def test_without_a_witness_a_reported_401_tells_of_the_end_of_the_access_token(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    refuse(harness, client, grant, times=2)
    harness.run("select evergrant.request_refresh('customer')")
    refuse(harness, client, grant)
    assert harness.row(grant)["status"] == "active"
    harness.run("select evergrant.request_refresh('customer', if_generation => 1)")
    refuse(harness, client, grant)
    assert harness.row(grant)["status"] == "needs_consent"


def test_a_401_that_was_reported_before_the_first_refusal_counts_for_this_token_set_alone(
    harness: Harness, client: int
) -> None:
    grant = harness.grant(client, due_in=timedelta(hours=1))
    harness.run("select evergrant.request_refresh('customer', if_generation => 1)")
    harness.ask(client, INVALID_GRANT)
    assert harness.row(grant)["rejected_at"] is not None
    harness.until_due(grant)
    harness.ask(client, token_set("2"))
    assert harness.row(grant)["rejected_at"] is None
    refuse(harness, client, grant, times=2)
    assert harness.row(grant)["status"] == "active"


def test_a_success_begun_before_the_suspicion_is_no_witness(harness: Harness, client: int) -> None:
    witness(harness, client)
    grant = harness.grant(client)
    refuse(harness, client, grant, times=2)
    assert harness.row(grant)["status"] == "active"


def test_a_success_begun_after_the_attempt_that_is_judged_is_no_witness(harness: Harness, client: int) -> None:
    """A provider that refused everybody for a while may have become well before the second refusal is settled."""
    grant = harness.grant(client)
    harness.ask(client, INVALID_GRANT)
    harness.until_due(grant)
    (judged,) = harness.start(harness.claim(client).due)
    witness(harness, client)
    harness.settle((judged, INVALID_GRANT))
    assert harness.row(grant)["status"] == "active"

    refuse(harness, client, grant)  # of the next one it is
    assert harness.row(grant)["status"] == "needs_consent"


def test_a_success_under_other_credentials_is_no_witness(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, INVALID_GRANT)
    other = witness(harness, client)
    harness.set(other, refreshed_credentials_no=7)
    refuse(harness, client, grant)
    assert harness.row(grant)["status"] == "active"


def test_an_imported_grant_that_is_dead_is_judged_although_it_never_had_a_life(harness: Harness, client: int) -> None:
    grant = harness.grant(client, life=None, access_left=None)
    refuse(harness, client, grant, times=2)
    assert harness.row(grant)["status"] == "needs_consent"


def test_every_former_token_is_tried_once_newest_first_before_the_verdict(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    for name in ("old", "older-surplus", "newest"):
        harness.former(grant, name, kind="surplus")
    harness.run("update evergrant.former_tokens set known_dead_at = now() where id = 1")
    assert refuse(harness, client, grant) == ["rt-customer-1"]
    witness(harness, client)
    assert refuse(harness, client, grant) == ["rt-newest"]
    assert wait_of(harness, grant) <= timedelta(seconds=15)
    assert refuse(harness, client, grant) == ["rt-older-surplus"]
    assert harness.row(grant)["status"] == "active"
    assert refuse(harness, client, grant) == ["rt-customer-1"]
    assert harness.row(grant)["status"] == "needs_consent"
    tried = harness.all("select tried_at is not null as tried from evergrant.former_tokens where known_dead_at is null")
    assert [row["tried"] for row in tried] == [True, True]


def test_at_family_no_verdict_is_spoken_while_a_surplus_pair_has_not_been_tried(harness: Harness) -> None:
    client = proven(harness, harness.client(rotation="family"))
    grant = harness.grant(client)
    harness.former(grant, "surplus", kind="surplus")
    harness.ask(client, INVALID_GRANT)
    witness(harness, client)
    assert refuse(harness, client, grant) == ["rt-customer-1"]
    assert harness.row(grant)["status"] == "active"
    assert refuse(harness, client, grant, times=2) == ["rt-surplus", "rt-customer-1"]
    assert harness.row(grant)["status"] == "needs_consent"


@pytest.mark.parametrize("answer", [LOST, UNREACHABLE, GATEWAY, TOO_MANY, INVALID_CLIENT])
def test_a_former_token_whose_try_was_not_answered_is_tried_again(harness: Harness, client: int, answer: Any) -> None:
    grant = harness.grant(client)
    harness.former(grant, "surplus", kind="surplus")
    harness.ask(client, INVALID_GRANT)
    harness.until_due(grant)
    assert harness.sent(harness.ask(client, answer)) == "rt-surplus"
    harness.run("update evergrant.valves set paused_until = null")
    assert refuse(harness, client, grant) == ["rt-surplus"]


def test_a_former_token_that_works_saves_the_grant(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.former(grant, "surplus", kind="surplus")
    harness.ask(client, INVALID_GRANT)
    harness.until_due(grant)
    harness.ask(client, token_set("2"))
    row = harness.row(grant)
    assert (row["suspect_at"], row["status"], harness.token(grant)) == (None, "active", "rt-2")


def test_a_grant_that_was_in_doubt_died_of_a_lost_response(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, LOST)
    refuse(harness, client, grant)
    witness(harness, client)
    refuse(harness, client, grant)
    assert harness.row(grant)["reason"] == "response_lost"
    assert harness.letters(grant) == ["response_lost"]


def test_a_suspect_waits_for_a_journal_that_may_hold_its_answer(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    with transaction() as connection:
        elsewhere = register.register(connection, host="elsewhere", process="1")
    harness.set(grant, doubt_since=harness.row(grant)["created_at"], doubt_journals=[elsewhere])
    refuse(harness, client, grant)
    witness(harness, client)
    refuse(harness, client, grant, times=2)
    assert harness.row(grant)["status"] == "active"
    with transaction() as connection:
        register.drained(connection, elsewhere)
    refuse(harness, client, grant)
    assert harness.row(grant)["reason"] == "response_lost"


def test_no_grant_dies_of_anything_but_invalid_grant(harness: Harness, client: int) -> None:
    answers: list[Any] = [INVALID_CLIENT, GATEWAY, BUSY, LOST, UNREACHABLE, TOO_MANY]
    for n, answer in enumerate(answers):
        grant = harness.grant(client, f"customer-{n}", access_left=timedelta(seconds=-1))
        for _ in range(3):
            harness.until_due(grant)
            harness.run("update evergrant.valves set paused_until = null")
            harness.settle(*[(a, answer) for a in harness.start(harness.claim(client).due)])
        row = harness.row(grant)
        assert (row["status"], row["suspect_at"]) == ("active", None)
        harness.set(grant, status="paused")


def test_invalid_grant_under_credentials_that_never_succeeded_blames_us(harness: Harness) -> None:
    client = harness.client(rotation="immediate")
    grant = harness.grant(client)
    harness.ask(client, INVALID_GRANT)
    row = harness.row(grant)
    assert (row["suspect_at"], row["failures"], row["last_error_code"]) == (None, 1, "invalid_grant_unproven")


def test_new_credentials_have_to_be_proven_anew(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    with transaction() as connection:
        operator_actions.set_client_secret(connection, client, b"x", who="tests")
    harness.run("update evergrant.clients set sealed_client_secret = null, updated_at = clock_timestamp()")
    harness.ask(client, INVALID_GRANT)
    assert harness.row(grant)["suspect_at"] is None


def test_a_success_in_the_same_group_proves_the_credentials(harness: Harness) -> None:
    client = harness.client(rotation="immediate")
    first, second = harness.grants(client, 2)
    by_grant = {attempt.job.grant_id: attempt for attempt in harness.start(harness.claim(client).due)}
    harness.settle((by_grant[first], INVALID_GRANT), (by_grant[second], token_set("2")))
    assert harness.row(first)["suspect_at"] is not None
    assert harness.valve(client)["credentials_proven_no"] == 1


def test_an_answer_to_older_credentials_does_not_prove_the_present_ones(harness: Harness, client: int) -> None:
    harness.grant(client)
    attempt = harness.begin(client)
    with transaction() as connection:
        operator_actions.set_client_secret(connection, client, b"x", who="tests")
    harness.settle((attempt, token_set("2")))
    assert harness.valve(client)["credentials_proven_no"] == 1
    assert harness.one("select credentials_no from evergrant.clients")["credentials_no"] == 2


def refuse_all(harness: Harness, client: int, grants: Sequence[UUID], *, but: Sequence[UUID] = ()) -> None:
    started = harness.start(harness.claim(client).due)
    harness.settle(
        *[(a, token_set(a.job.ref) if a.job.grant_id in but else INVALID_GRANT) for a in started],
    )


def test_when_all_are_refused_nobody_dies_and_a_human_is_told_once(harness: Harness, client: int) -> None:
    grants = harness.grants(client, 2, access_left=timedelta(seconds=-1))
    for _ in range(3):
        refuse_all(harness, client, grants)
        harness.later(minutes=11)
    assert [harness.row(grant)["status"] for grant in grants] == ["active"] * 2
    assert harness.events(type="client.deaths_held") == ["client.deaths_held"]
    with transaction() as connection:
        assert operator_actions.accept_deaths(connection, client, who="tests")
    refuse_all(harness, client, grants)
    assert [harness.row(grant)["status"] for grant in grants] == ["needs_consent"] * 2


def test_deaths_that_are_held_again_later_are_told_again(harness: Harness, client: int) -> None:
    harness.grants(client, 2, access_left=timedelta(seconds=-1))
    for _ in range(2):
        refuse_all(harness, client, [])
        harness.later(minutes=11)
    harness.later(hours=25)
    refuse_all(harness, client, [])
    assert harness.events(type="client.deaths_held") == ["client.deaths_held"] * 2


def test_a_client_holds_no_deaths_once_all_have_recovered_and_tells_of_the_next_ones(
    harness: Harness, client: int
) -> None:
    grants = harness.grants(client, 2, access_left=timedelta(seconds=-1))
    for _ in range(2):
        for _ in range(2):
            refuse_all(harness, client, grants)
            harness.later(minutes=11)
        assert shown_as_held(client) == (True, True)
        refuse_all(harness, client, grants, but=grants)
        assert shown_as_held(client) == (False, False)
        harness.later(hours=3)
    assert harness.events(type="client.deaths_held") == ["client.deaths_held"] * 2


def shown_as_held(client_id: int) -> tuple[bool, bool]:
    with transaction() as connection:
        (client,) = [row for row in listing.clients(connection) if row["id"] == client_id]
        (glance,) = [row for row in fleet.by_client(connection) if row["id"] == client_id]
    return client["deaths_held_at"] is not None, glance["deaths_held_at"] is not None


@pytest.mark.parametrize(("suspects", "die"), [(5, True), (6, False)])
def test_more_than_five_suspects_at_once_are_held_and_healthy_grants_go_on(
    harness: Harness, client: int, suspects: int, *, die: bool
) -> None:
    grants = harness.grants(client, 40, access_left=timedelta(minutes=1))
    bad, good = grants[:suspects], grants[suspects:]
    refuse_all(harness, client, bad, but=good)
    harness.later(minutes=11)
    started = harness.start(harness.claim(client).due)
    assert {a.job.grant_id for a in started} == set(bad)
    harness.settle(*[(a, INVALID_GRANT) for a in started])
    dead = [harness.row(grant)["status"] == "needs_consent" for grant in bad]
    assert dead == [die] * suspects
    assert all(harness.row(grant)["generation"] == 2 for grant in good)


def test_deaths_accepted_do_not_cover_suspects_that_come_later(harness: Harness, client: int) -> None:
    harness.grants(client, 2, access_left=timedelta(seconds=-1))
    refuse_all(harness, client, [])
    harness.later(minutes=11)
    refuse_all(harness, client, [])
    with transaction() as connection:
        operator_actions.accept_deaths(connection, client, who="tests")
    harness.run("update evergrant.grants set suspect_at = null")
    harness.later(minutes=11)
    for _ in range(2):
        refuse_all(harness, client, [])
        harness.later(minutes=11)
    assert {row["status"] for row in harness.all("select status from evergrant.grants")} == {"active"}


def test_a_day_of_failing_while_others_succeed_is_a_letter_and_an_hour_between_asks(
    harness: Harness, client: int
) -> None:
    grant = harness.grant(client)
    harness.ask(client, GATEWAY)
    for _ in range(14):
        harness.later(hours=2)
        harness.run("update evergrant.valves set paused_until = null, last_success_at = now()")
        harness.ask(client, GATEWAY)
    assert harness.letters(grant) == ["gave_up"]
    row = harness.row(grant)
    assert row["status"] == "active"
    assert wait_of(harness, grant) > timedelta(minutes=55)
    harness.until_due(grant)
    harness.run("update evergrant.valves set paused_until = null")
    harness.ask(client, token_set("2"))
    assert harness.letters(grant) == []


def test_a_day_of_silence_for_everybody_gives_up_nobody(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    for _ in range(14):
        harness.run("update evergrant.valves set paused_until = null")
        harness.ask(client, GATEWAY)
        harness.later(hours=2)
    assert harness.letters(grant) == []
    assert wait_of(harness, grant) <= timedelta(minutes=5)


def test_a_day_of_our_own_misconfiguration_is_told(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    for _ in range(14):
        harness.run("update evergrant.valves set paused_until = null")
        harness.ask(client, INVALID_CLIENT)
        harness.later(hours=2)
    assert harness.letters(grant) == ["our_configuration"]
    assert harness.row(grant)["status"] == "active"


def test_the_sealed_tokens_of_a_grant_that_died_a_month_ago_are_shredded_with_its_former_ones(
    harness: Harness, client: int
) -> None:
    grant = harness.grant(client)
    harness.former(grant, "surplus", kind="surplus")
    refuse(harness, client, grant, times=2)
    harness.run("update evergrant.grants set status = 'needs_consent'")
    harness.later(days=29)
    with transaction() as connection:
        upkeep.shred_dead_grants(connection)
    assert harness.token(grant) == "rt-customer-1"
    harness.later(days=2)
    with transaction() as connection:
        upkeep.shred_dead_grants(connection)
    row = harness.row(grant)
    assert (row["sealed_refresh_token"], row["sealed_access_token"]) == (None, None)
    (former,) = harness.all("select * from evergrant.former_tokens")
    assert (bytes(former["sealed_refresh_token"]), former["sealed_access_token"]) == (b"", None)
