"""Verdicts: from the first refusal to `needs_consent`, and everything that stands against it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models import fleet, operating, reading
from models import journal as register
from models.database import transaction
from tasks import upkeep
from tests.harness import BUSY, GATEWAY, INVALID_CLIENT, INVALID_GRANT, LOST, TOO_MANY, UNREACHABLE, Heart, token_set


@pytest.fixture
def client(heart: Heart) -> int:
    return proven(heart, heart.client(rotation="immediate"))


def proven(heart: Heart, client: int) -> int:
    """The client's credentials have had a success."""
    query = """update evergrant.valves v set credentials_proven_no = c.credentials_no
        from evergrant.clients c where c.id = v.client_id"""
    heart.run(query)
    return client


def witness(heart: Heart, client: int, ref: str = "witness") -> UUID:
    """Another grant is refreshed well, now."""
    grant = heart.grant(client, ref, due_in=timedelta(hours=-1))
    attempt = next(a for a in heart.start(heart.claim(client, most=1).due) if a.job.grant_id == grant)
    heart.settle((attempt, token_set(f"{ref}-2")))
    return grant


def refuse(heart: Heart, client: int, grant: UUID, *, times: int = 1) -> list[str]:
    """Let the grant be refused when it is due, several times; returns the tokens that were presented."""
    sent = []
    for _ in range(times):
        heart.until_due(grant)
        attempts = heart.start(heart.claim(client).due)
        heart.settle(*[(a, INVALID_GRANT if a.job.grant_id == grant else TOO_MANY) for a in attempts])
        heart.run("update evergrant.valves set paused_until = null")
        sent += [heart.sent(a) for a in attempts if a.job.grant_id == grant]
    return sent


def handed_out(heart: Heart, grant: UUID) -> bool:
    query = "select sealed_access_token is not null as out from evergrant.access_tokens where grant_id = :id"
    return bool(heart.one(query, id=grant)["out"])


def wait_of(heart: Heart, grant: UUID) -> timedelta:
    row = heart.row(grant)
    return row["due_at"] - row["asked_at"]  # type: ignore[no-any-return]


def test_one_refusal_makes_a_suspect_that_still_serves_and_is_asked_again_after_ten_minutes(
    heart: Heart, client: int
) -> None:
    grant = heart.grant(client)
    heart.ask(client, INVALID_GRANT)
    row = heart.row(grant)
    assert (row["status"], row["failures"], row["last_error_code"]) == ("active", 0, "invalid_grant")
    assert row["suspect_at"] == row["asked_at"]
    assert timedelta(minutes=9.9) < wait_of(heart, grant) <= timedelta(minutes=10)
    assert handed_out(heart, grant)
    assert heart.letters(grant) == []


def test_a_suspect_of_a_short_life_is_asked_again_after_a_quarter_of_it(heart: Heart, client: int) -> None:
    grant = heart.grant(client, life=timedelta(seconds=20))
    heart.ask(client, INVALID_GRANT)
    assert timedelta(seconds=4.5) < wait_of(heart, grant) <= timedelta(seconds=5)


def test_a_second_refusal_beside_a_witness_is_the_verdict(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    heart.ask(client, INVALID_GRANT)
    witness(heart, client)
    refuse(heart, client, grant)
    row = heart.row(grant)
    assert (row["status"], row["reason"]) == ("needs_consent", "revoked_or_expired")
    assert heart.letters(grant) == ["revoked_or_expired"]
    assert heart.one("select attempts from evergrant.dead_letters")["attempts"] == 2
    assert heart.events(grant_id=grant) == ["grant.needs_consent"]
    assert not handed_out(heart, grant)
    assert heart.claim(client).count == 0


def test_without_a_witness_a_suspect_waits_for_the_end_of_its_access_token(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    refuse(heart, client, grant, times=4)
    assert heart.row(grant)["status"] == "active"
    heart.later(minutes=20)
    refuse(heart, client, grant)
    assert heart.row(grant)["status"] == "needs_consent"


def test_without_a_witness_and_with_a_long_life_it_waits_a_day(heart: Heart, client: int) -> None:
    grant = heart.grant(client, life=timedelta(days=90), access_left=timedelta(days=60))
    refuse(heart, client, grant, times=2)
    heart.later(hours=23)
    refuse(heart, client, grant)
    assert heart.row(grant)["status"] == "active"
    heart.later(hours=1)
    refuse(heart, client, grant)
    assert heart.row(grant)["status"] == "needs_consent"


def test_without_a_witness_a_reported_401_tells_of_the_end_of_the_access_token(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    refuse(heart, client, grant, times=2)
    heart.run("select evergrant.request_refresh('customer')")
    refuse(heart, client, grant)
    assert heart.row(grant)["status"] == "active"
    heart.run("select evergrant.request_refresh('customer', if_generation => 1)")
    refuse(heart, client, grant)
    assert heart.row(grant)["status"] == "needs_consent"


def test_a_401_that_was_reported_before_the_first_refusal_counts_for_this_token_set_alone(
    heart: Heart, client: int
) -> None:
    grant = heart.grant(client, due_in=timedelta(hours=1))
    heart.run("select evergrant.request_refresh('customer', if_generation => 1)")
    heart.ask(client, INVALID_GRANT)
    assert heart.row(grant)["rejected_at"] is not None
    heart.until_due(grant)
    heart.ask(client, token_set("2"))
    assert heart.row(grant)["rejected_at"] is None
    refuse(heart, client, grant, times=2)
    assert heart.row(grant)["status"] == "active"


def test_a_success_begun_before_the_suspicion_is_no_witness(heart: Heart, client: int) -> None:
    witness(heart, client)
    grant = heart.grant(client)
    refuse(heart, client, grant, times=2)
    assert heart.row(grant)["status"] == "active"


def test_a_success_under_other_credentials_is_no_witness(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    heart.ask(client, INVALID_GRANT)
    other = witness(heart, client)
    heart.set(other, refreshed_credentials_no=7)
    refuse(heart, client, grant)
    assert heart.row(grant)["status"] == "active"


def test_an_imported_grant_that_is_dead_is_judged_although_it_never_had_a_life(heart: Heart, client: int) -> None:
    grant = heart.grant(client, life=None, access_left=None)
    refuse(heart, client, grant, times=2)
    assert heart.row(grant)["status"] == "needs_consent"


def test_every_former_token_is_tried_once_newest_first_before_the_verdict(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    for name in ("old", "older-surplus", "newest"):
        heart.former(grant, name, kind="surplus")
    heart.run("update evergrant.former_tokens set known_dead_at = now() where id = 1")
    assert refuse(heart, client, grant) == ["rt-customer-1"]
    witness(heart, client)
    assert refuse(heart, client, grant) == ["rt-newest"]
    assert wait_of(heart, grant) <= timedelta(seconds=15)
    assert refuse(heart, client, grant) == ["rt-older-surplus"]
    assert heart.row(grant)["status"] == "active"
    assert refuse(heart, client, grant) == ["rt-customer-1"]
    assert heart.row(grant)["status"] == "needs_consent"
    tried = heart.all("select tried_at is not null as tried from evergrant.former_tokens where known_dead_at is null")
    assert [row["tried"] for row in tried] == [True, True]


def test_at_family_no_verdict_is_spoken_while_a_surplus_pair_has_not_been_tried(heart: Heart) -> None:
    client = proven(heart, heart.client(rotation="family"))
    grant = heart.grant(client)
    heart.former(grant, "surplus", kind="surplus")
    heart.ask(client, INVALID_GRANT)
    witness(heart, client)
    assert refuse(heart, client, grant) == ["rt-customer-1"]
    assert heart.row(grant)["status"] == "active"
    assert refuse(heart, client, grant, times=2) == ["rt-surplus", "rt-customer-1"]
    assert heart.row(grant)["status"] == "needs_consent"


@pytest.mark.parametrize("answer", [LOST, UNREACHABLE, GATEWAY, TOO_MANY, INVALID_CLIENT])
def test_a_former_token_whose_try_was_not_answered_is_tried_again(heart: Heart, client: int, answer: Any) -> None:
    grant = heart.grant(client)
    heart.former(grant, "surplus", kind="surplus")
    heart.ask(client, INVALID_GRANT)
    heart.until_due(grant)
    assert heart.sent(heart.ask(client, answer)) == "rt-surplus"
    heart.run("update evergrant.valves set paused_until = null")
    assert refuse(heart, client, grant) == ["rt-surplus"]


def test_a_former_token_that_works_saves_the_grant(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    heart.former(grant, "surplus", kind="surplus")
    heart.ask(client, INVALID_GRANT)
    heart.until_due(grant)
    heart.ask(client, token_set("2"))
    row = heart.row(grant)
    assert (row["suspect_at"], row["status"], heart.token(grant)) == (None, "active", "rt-2")


def test_a_grant_that_was_in_doubt_died_of_a_lost_response(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    heart.ask(client, LOST)
    refuse(heart, client, grant)
    witness(heart, client)
    refuse(heart, client, grant)
    assert heart.row(grant)["reason"] == "response_lost"
    assert heart.letters(grant) == ["response_lost"]


def test_a_suspect_waits_for_a_journal_that_may_hold_its_answer(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    with transaction() as connection:
        elsewhere = register.register(connection, host="elsewhere", process="1")
    heart.set(grant, doubt_since=heart.row(grant)["created_at"], doubt_journals=[elsewhere])
    refuse(heart, client, grant)
    witness(heart, client)
    refuse(heart, client, grant, times=2)
    assert heart.row(grant)["status"] == "active"
    with transaction() as connection:
        register.drained(connection, elsewhere)
    refuse(heart, client, grant)
    assert heart.row(grant)["reason"] == "response_lost"


def test_no_grant_dies_of_anything_but_invalid_grant(heart: Heart, client: int) -> None:
    answers: list[Any] = [INVALID_CLIENT, GATEWAY, BUSY, LOST, UNREACHABLE, TOO_MANY]
    for n, answer in enumerate(answers):
        grant = heart.grant(client, f"customer-{n}", access_left=timedelta(seconds=-1))
        for _ in range(3):
            heart.until_due(grant)
            heart.run("update evergrant.valves set paused_until = null")
            heart.settle(*[(a, answer) for a in heart.start(heart.claim(client).due)])
        row = heart.row(grant)
        assert (row["status"], row["suspect_at"]) == ("active", None)
        heart.set(grant, status="paused")


def test_invalid_grant_under_credentials_that_never_succeeded_blames_us(heart: Heart) -> None:
    client = heart.client(rotation="immediate")
    grant = heart.grant(client)
    heart.ask(client, INVALID_GRANT)
    row = heart.row(grant)
    assert (row["suspect_at"], row["failures"], row["last_error_code"]) == (None, 1, "invalid_grant_unproven")


def test_new_credentials_have_to_be_proven_anew(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    with transaction() as connection:
        operating.set_client_secret(connection, client, b"x", who="tests")
    heart.run("update evergrant.clients set sealed_client_secret = null, updated_at = clock_timestamp()")
    heart.ask(client, INVALID_GRANT)
    assert heart.row(grant)["suspect_at"] is None


def test_a_success_in_the_same_group_proves_the_credentials(heart: Heart) -> None:
    client = heart.client(rotation="immediate")
    first, second = heart.grants(client, 2)
    by_grant = {attempt.job.grant_id: attempt for attempt in heart.start(heart.claim(client).due)}
    heart.settle((by_grant[first], INVALID_GRANT), (by_grant[second], token_set("2")))
    assert heart.row(first)["suspect_at"] is not None
    assert heart.valve(client)["credentials_proven_no"] == 1


def test_an_answer_to_older_credentials_does_not_prove_the_present_ones(heart: Heart, client: int) -> None:
    heart.grant(client)
    attempt = heart.begin(client)
    with transaction() as connection:
        operating.set_client_secret(connection, client, b"x", who="tests")
    heart.settle((attempt, token_set("2")))
    assert heart.valve(client)["credentials_proven_no"] == 1
    assert heart.one("select credentials_no from evergrant.clients")["credentials_no"] == 2


def refuse_all(heart: Heart, client: int, grants: Sequence[UUID], *, but: Sequence[UUID] = ()) -> None:
    started = heart.start(heart.claim(client).due)
    heart.settle(
        *[(a, token_set(a.job.ref) if a.job.grant_id in but else INVALID_GRANT) for a in started],
    )


def test_when_all_are_refused_nobody_dies_and_a_human_is_told_once(heart: Heart, client: int) -> None:
    grants = heart.grants(client, 2, access_left=timedelta(seconds=-1))
    for _ in range(3):
        refuse_all(heart, client, grants)
        heart.later(minutes=11)
    assert [heart.row(grant)["status"] for grant in grants] == ["active"] * 2
    assert heart.events(type="client.deaths_held") == ["client.deaths_held"]
    with transaction() as connection:
        assert operating.accept_deaths(connection, client, who="tests")
    refuse_all(heart, client, grants)
    assert [heart.row(grant)["status"] for grant in grants] == ["needs_consent"] * 2


def test_deaths_that_are_held_again_later_are_told_again(heart: Heart, client: int) -> None:
    heart.grants(client, 2, access_left=timedelta(seconds=-1))
    for _ in range(2):
        refuse_all(heart, client, [])
        heart.later(minutes=11)
    heart.later(hours=25)
    refuse_all(heart, client, [])
    assert heart.events(type="client.deaths_held") == ["client.deaths_held"] * 2


def test_a_client_holds_no_deaths_once_all_have_recovered_and_tells_of_the_next_ones(heart: Heart, client: int) -> None:
    grants = heart.grants(client, 2, access_left=timedelta(seconds=-1))
    for _ in range(2):
        for _ in range(2):
            refuse_all(heart, client, grants)
            heart.later(minutes=11)
        assert shown_as_held(client) == (True, True)
        refuse_all(heart, client, grants, but=grants)
        assert shown_as_held(client) == (False, False)
        heart.later(hours=3)
    assert heart.events(type="client.deaths_held") == ["client.deaths_held"] * 2


def shown_as_held(client_id: int) -> tuple[bool, bool]:
    with transaction() as connection:
        (client,) = [row for row in reading.clients(connection) if row["id"] == client_id]
        (glance,) = [row for row in fleet.by_client(connection) if row["id"] == client_id]
    return client["deaths_held_at"] is not None, glance["deaths_held_at"] is not None


@pytest.mark.parametrize(("suspects", "die"), [(5, True), (6, False)])
def test_more_than_five_suspects_at_once_are_held_and_healthy_grants_go_on(
    heart: Heart, client: int, suspects: int, *, die: bool
) -> None:
    grants = heart.grants(client, 40, access_left=timedelta(minutes=1))
    bad, good = grants[:suspects], grants[suspects:]
    refuse_all(heart, client, bad, but=good)
    heart.later(minutes=11)
    started = heart.start(heart.claim(client).due)
    assert {a.job.grant_id for a in started} == set(bad)
    heart.settle(*[(a, INVALID_GRANT) for a in started])
    dead = [heart.row(grant)["status"] == "needs_consent" for grant in bad]
    assert dead == [die] * suspects
    assert all(heart.row(grant)["generation"] == 2 for grant in good)


def test_deaths_accepted_do_not_cover_suspects_that_come_later(heart: Heart, client: int) -> None:
    heart.grants(client, 2, access_left=timedelta(seconds=-1))
    refuse_all(heart, client, [])
    heart.later(minutes=11)
    refuse_all(heart, client, [])
    with transaction() as connection:
        operating.accept_deaths(connection, client, who="tests")
    heart.run("update evergrant.grants set suspect_at = null")
    heart.later(minutes=11)
    for _ in range(2):
        refuse_all(heart, client, [])
        heart.later(minutes=11)
    assert {row["status"] for row in heart.all("select status from evergrant.grants")} == {"active"}


def test_a_day_of_failing_while_others_succeed_is_a_letter_and_an_hour_between_asks(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    heart.ask(client, GATEWAY)
    for _ in range(14):
        heart.later(hours=2)
        heart.run("update evergrant.valves set paused_until = null, last_success_at = now()")
        heart.ask(client, GATEWAY)
    assert heart.letters(grant) == ["gave_up"]
    row = heart.row(grant)
    assert row["status"] == "active"
    assert wait_of(heart, grant) > timedelta(minutes=55)
    heart.until_due(grant)
    heart.run("update evergrant.valves set paused_until = null")
    heart.ask(client, token_set("2"))
    assert heart.letters(grant) == []


def test_a_day_of_silence_for_everybody_gives_up_nobody(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    for _ in range(14):
        heart.run("update evergrant.valves set paused_until = null")
        heart.ask(client, GATEWAY)
        heart.later(hours=2)
    assert heart.letters(grant) == []
    assert wait_of(heart, grant) <= timedelta(minutes=5)


def test_a_day_of_our_own_misconfiguration_is_told(heart: Heart, client: int) -> None:
    grant = heart.grant(client)
    for _ in range(14):
        heart.run("update evergrant.valves set paused_until = null")
        heart.ask(client, INVALID_CLIENT)
        heart.later(hours=2)
    assert heart.letters(grant) == ["our_configuration"]
    assert heart.row(grant)["status"] == "active"


def test_the_sealed_tokens_of_a_grant_that_died_a_month_ago_are_shredded_with_its_former_ones(
    heart: Heart, client: int
) -> None:
    grant = heart.grant(client)
    heart.former(grant, "surplus", kind="surplus")
    refuse(heart, client, grant, times=2)
    heart.run("update evergrant.grants set status = 'needs_consent'")
    heart.later(days=29)
    with transaction() as connection:
        upkeep.shred_dead_grants(connection)
    assert heart.token(grant) == "rt-customer-1"
    heart.later(days=2)
    with transaction() as connection:
        upkeep.shred_dead_grants(connection)
    row = heart.row(grant)
    assert (row["sealed_refresh_token"], row["sealed_access_token"]) == (None, None)
    (former,) = heart.all("select * from evergrant.former_tokens")
    assert (bytes(former["sealed_refresh_token"]), former["sealed_access_token"]) == (b"", None)
