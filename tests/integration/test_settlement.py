"""Settling: the generation decides what is stored; no token set that arrived is ever dropped."""

from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from models import bulk_import, locked_grant
from models.bulk_import import Incoming
from models.database import engine, transaction
from tasks.oauth.answer import Response
from tasks.runtime import clock
from tasks.runtime.attempt import Arrived
from tasks.settling.settle import settle
from tests.harness import GATEWAY, HELD_BACK, INVALID_GRANT, LOST, TOO_MANY, UNREACHABLE, Harness, token_set


def test_a_token_set_is_stored_as_the_next_generation_and_nulls_every_fact(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    harness.ask(client, LOST)
    harness.until_due(grant)
    harness.ask(client, token_set("2", scope="crm_read", expires_in=3600))
    row = harness.row(grant)
    assert harness.token(grant) == "rt-2"
    assert (row["generation"], row["claim_no"]) == (2, 5)
    assert row["access_expires_at"] - row["refreshed_at"] == timedelta(hours=1) == row["life"]
    share = (row["due_at"] - row["refreshed_at"]) / row["life"]
    assert 2 / 3 - 0.1 <= share <= 2 / 3 + 0.1
    facts = ("claimed_at", "started_at", "journal_id", "doubt_since", "suspect_at", "failing_since", "last_error_code")
    assert [row[fact] for fact in facts] == [None] * 7
    assert (row["failures"], row["doubt_journals"]) == (0, [])


def test_an_answer_without_a_refresh_token_keeps_the_old_one(harness: Harness) -> None:
    client = harness.client(rotation="none")
    grant = harness.grant(client)
    harness.ask(client, token_set("2", refresh_token=...))
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-customer-1", 2)
    assert harness.formers(grant) == {}


def test_a_changed_scope_is_stored_and_told_and_a_reordered_one_is_not_told(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client, scope="crm_read crm_manage")
    harness.ask(client, token_set("2", scope="crm_manage crm_read"))
    assert "grant.scope_changed" not in harness.events(grant_id=grant)
    harness.until_due(grant)
    harness.ask(client, token_set("3", scope="crm_read"))
    assert harness.row(grant)["scope"] == "crm_read"
    assert harness.events(grant_id=grant) == ["grant.scope_changed"]


def test_a_late_set_for_a_stored_generation_is_kept_as_surplus(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    frozen = harness.begin(client)
    harness.until_due(grant)
    harness.ask(client, token_set("winner"))
    harness.settle((frozen, token_set("late")))
    assert harness.token(grant) == "rt-winner"
    assert harness.formers(grant) == {"rt-customer-1": "predecessor", "rt-late": "surplus"}


def test_two_sets_in_one_group_for_one_grant_are_stored_and_kept(harness: Harness) -> None:
    client = harness.client(rotation="immediate")
    grant = harness.grant(client)
    frozen = harness.begin(client)
    harness.until_due(grant)
    second = harness.begin(client)
    harness.settle((frozen, token_set("a")), (second, token_set("b")))
    assert (harness.token(grant), harness.formers(grant)) == ("rt-a", {"rt-b": "surplus"})


def test_the_same_pair_twice_is_no_surplus(harness: Harness) -> None:
    """django-oauth-toolkit answers two requests at once with the same pair."""
    client = harness.client(rotation="family")
    grant = harness.grant(client)
    frozen = harness.begin(client)
    harness.until_due(grant)
    harness.ask(client, token_set("2"))
    harness.settle((frozen, token_set("2")))
    assert (harness.token(grant), harness.formers(grant), harness.row(grant)["generation"]) == ("rt-2", {}, 2)


def test_a_set_that_was_got_with_a_foreign_token_is_surplus(harness: Harness) -> None:
    """At equality a set is stored only if the token sent is the row's own: here another import came first."""
    client = harness.client(rotation="immediate")
    grant = harness.grant(client)
    attempt = harness.begin(client)
    other = harness.runtime.vault.fingerprint("rt-imported")
    sealed = harness.runtime.vault.seal("rt-imported", table="grants", row_id=grant, purpose="refresh")
    harness.set(grant, refresh_fingerprint=other, sealed_refresh_token=sealed)
    harness.settle((attempt, token_set("2")))
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-imported", 1)
    assert harness.formers(grant) == {"rt-2": "surplus"}


def test_a_restored_row_that_is_generations_behind_takes_the_newer_set(harness: Harness) -> None:
    client = harness.client(rotation="immediate")
    grant = harness.grant(client, generation=7)
    attempt = harness.begin(client)
    harness.set(grant, generation=4, refresh_fingerprint=b"\x02r1older")
    harness.settle((attempt, token_set("8")))
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-8", 8)


def test_a_set_got_with_a_former_token_is_stored_and_the_present_pair_stays_a_branch(harness: Harness) -> None:
    client = harness.client(rotation="immediate")
    harness.run("update evergrant.valves set credentials_proven_no = (select credentials_no from evergrant.clients)")
    grant = harness.grant(client)
    harness.former(grant, "other", kind="surplus")
    harness.ask(client, INVALID_GRANT)
    harness.until_due(grant)
    attempt = harness.ask(client, token_set("2"))
    assert harness.sent(attempt) == "rt-other"
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-2", 2)
    assert harness.formers(grant) == {"rt-other": "surplus", "rt-customer-1": "surplus"}
    dead = harness.all("select refresh_fingerprint as f from evergrant.former_tokens where known_dead_at is not null")
    assert [bytes(row["f"]) for row in dead] == [harness.runtime.vault.fingerprint("rt-other")]


def test_at_on_use_a_former_token_that_works_becomes_the_predecessor_and_the_present_pair_its_sibling(
    harness: Harness,
) -> None:
    client = harness.client(rotation="on_use")
    harness.run("update evergrant.valves set credentials_proven_no = (select credentials_no from evergrant.clients)")
    grant = harness.grant(client, generation=5)
    harness.former(grant, "other", kind="surplus", generation=3)
    harness.ask(client, INVALID_GRANT)
    harness.until_due(grant)
    harness.ask(client, token_set("2"))
    rows = harness.all("select kind, generation from evergrant.former_tokens order by id")
    assert [(row["kind"], row["generation"]) for row in rows] == [("predecessor", 5), ("surplus", 4)]


def test_a_former_token_that_works_and_is_answered_without_a_new_one_becomes_the_present_one(harness: Harness) -> None:
    client = harness.client(rotation="none")
    harness.run("update evergrant.valves set credentials_proven_no = (select credentials_no from evergrant.clients)")
    grant = harness.grant(client)
    harness.former(grant, "other", kind="surplus")
    harness.ask(client, INVALID_GRANT)
    harness.until_due(grant)
    harness.ask(client, token_set("2", refresh_token=...))
    assert harness.token(grant) == "rt-other"
    assert harness.row(grant)["refresh_fingerprint"] == harness.runtime.vault.fingerprint("rt-other")
    assert harness.formers(grant) == {"rt-customer-1": "surplus"}


def test_a_set_for_a_grant_that_was_declared_dead_recovers_it_and_closes_its_letter(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    frozen = harness.begin(client)
    harness.set(grant, status="needs_consent", reason="revoked_or_expired", suspect_at=clock.wall())
    harness.run(
        """insert into evergrant.dead_letters (kind, client_id, grant_id, ref, generation, cause, attempts,
            first_failed_at, dead_at)
        values ('refresh', :client, :grant, 'customer', 1, 'revoked_or_expired', 1, now(), now())""",
        client=client,
        grant=grant,
    )
    harness.settle((frozen, token_set("2")))
    row = harness.row(grant)
    assert (row["status"], row["reason"], row["suspect_at"]) == ("active", None, None)
    assert harness.letters(grant) == []
    assert harness.events(grant_id=grant) == ["grant.recovered"]


@pytest.mark.parametrize("status", ["paused", "revoking"])
def test_a_set_never_changes_what_an_operator_or_a_revocation_has_decided(harness: Harness, status: str) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    harness.set(grant, status=status)
    harness.settle((attempt, token_set("2")))
    assert (harness.row(grant)["status"], harness.token(grant)) == (status, "rt-2")


@pytest.mark.parametrize("stored", [True, False])
def test_a_set_that_arrives_for_a_revoked_grant_reopens_its_revocation(harness: Harness, *, stored: bool) -> None:
    client = harness.client(rotation="immediate")
    grant = harness.grant(client)
    attempt = harness.begin(client)
    harness.run("select evergrant.request_revocation('customer')")
    harness.run(
        """update evergrant.revocations set status = 'done', evidence = 'verified', done_at = now(),
            current_dead_at = now()"""
    )
    harness.set(grant, status="revoked", sealed_refresh_token=None, generation=1 if stored else 2)
    harness.settle((attempt, token_set("2")))
    assert harness.row(grant)["status"] == "revoking"
    found = harness.one("select * from evergrant.revocations")
    assert (found["status"], found["evidence"], found["done_at"]) == ("queued", None, None)
    assert (found["current_dead_at"] is None) or not stored
    assert (harness.formers(grant) == {"rt-2": "surplus"}) != stored


def test_a_pair_that_arrives_after_a_revocation_was_given_up_is_not_taken_for_dead(harness: Harness) -> None:
    """Redriven, it would leave the new pair alive and call the grant's end verified."""
    client = harness.client(rotation="immediate")
    grant = harness.grant(client)
    attempt = harness.begin(client)
    harness.run("select evergrant.request_revocation('customer')")
    harness.run("update evergrant.revocations set status = 'dead', current_dead_at = now()")
    harness.set(grant, status="revoking")
    harness.settle((attempt, token_set("2")))
    found = harness.one("select * from evergrant.revocations")
    assert (found["status"], found["current_dead_at"]) == ("dead", None)


def test_a_judgement_is_written_only_with_the_claim(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    harness.run("update evergrant.valves set credentials_proven_no = (select credentials_no from evergrant.clients)")
    for answer in (INVALID_GRANT, GATEWAY, UNREACHABLE):
        stale = harness.begin(client)
        harness.until_due(grant)
        harness.begin(client)
        before = harness.picture(grant)
        harness.settle((stale, answer))
        assert harness.picture(grant) == before
        harness.until_due(grant)
        harness.run("update evergrant.valves set paused_until = null")


def test_an_attempt_on_an_older_generation_judges_nothing(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    harness.set(grant, generation=2)
    harness.settle((attempt, GATEWAY))
    row = harness.row(grant)
    assert (row["failures"], row["started_at"]) == (0, None)
    assert row["doubt_since"] is not None


def test_an_attempt_that_ends_while_its_grant_is_paused_is_ended_and_not_judged(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    harness.set(grant, status="paused")
    harness.settle((attempt, LOST))
    row = harness.row(grant)
    assert (row["status"], row["started_at"], row["failures"]) == ("paused", None, 0)
    assert row["doubt_since"] is not None


@pytest.mark.parametrize("answer", [token_set("2"), LOST, INVALID_GRANT, UNREACHABLE, TOO_MANY, HELD_BACK])
def test_a_settling_that_is_repeated_changes_nothing(harness: Harness, answer: Any) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    harness.settle((attempt, answer))
    before = harness.picture(grant)
    harness.settle((attempt, answer))
    harness.settle((attempt, answer))
    assert harness.picture(grant) == before


def test_a_commit_answered_by_a_reset_is_settled_again_and_stored_once(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 3)
    started = harness.start(harness.claim(client).due)

    def reset(connection: Any) -> None:
        event.remove(engine(), "commit", reset)
        connection.connection.commit()
        raise OperationalError("COMMIT", {}, ConnectionResetError())

    event.listen(engine(), "commit", reset)
    harness.settle(*[(attempt, token_set(f"{attempt.job.ref}-2")) for attempt in started])
    for n, grant in enumerate(grants):
        assert (harness.token(grant), harness.row(grant)["generation"]) == (f"rt-customer-{n}-2", 2)
        assert harness.formers(grant) == {f"rt-customer-{n}-1": "predecessor"}


def test_at_on_use_twenty_predecessors_are_kept_and_the_oldest_fall_out(harness: Harness) -> None:
    client = harness.client(rotation="on_use")
    grant = harness.grant(client, token="0")
    for n in range(1, 24):
        harness.until_due(grant)
        harness.ask(client, token_set(str(n)))
    assert harness.formers(grant) == {f"rt-{n}": "predecessor" for n in range(3, 23)}


@pytest.mark.parametrize("rotation", ["grace", "immediate", "family"])
def test_where_a_predecessor_is_of_no_use_none_is_kept(harness: Harness, rotation: str) -> None:
    client = harness.client(rotation=rotation)
    grant = harness.grant(client)
    harness.ask(client, token_set("2"))
    assert harness.formers(grant) == {}


def test_a_pair_that_comes_back_is_no_former_one_any_longer(harness: Harness) -> None:
    client = harness.client(rotation="on_use")
    grant = harness.grant(client, token="1")
    for name in ("2", "1"):
        harness.until_due(grant)
        harness.ask(client, token_set(name))
    assert (harness.token(grant), harness.formers(grant)) == ("rt-1", {"rt-2": "predecessor"})


def test_every_set_is_journaled_before_it_is_settled_and_marked_afterwards(harness: Harness) -> None:
    client = harness.client()
    harness.grants(client, 3)
    started = harness.start(harness.claim(client).due)
    with transaction() as connection:
        locked_grant.lock(connection, [attempt.job.grant_id for attempt in started])
        seen = [len(list(harness.runtime.journal.unsettled()))]
    arrived = [Arrived(attempt, token_set(attempt.job.ref), clock.wall()) for attempt in started]

    def look(connection: Any) -> None:
        seen.append(len(list(harness.runtime.journal.unsettled())))

    event.listen(engine(), "commit", look)
    settle(harness.runtime, arrived)
    event.remove(engine(), "commit", look)
    assert seen == [0, 3]
    assert list(harness.runtime.journal.unsettled()) == []


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"access_token": "at-2", "refresh_tok'])
def test_every_2xx_body_is_journaled_before_anybody_has_read_it(harness: Harness, body: bytes) -> None:
    """It may be the only copy of a token set, whatever our reader makes of it today."""
    client = harness.client()
    harness.grant(client)
    harness.ask(client, Response(200, {}, body))
    assert [kept.entry.body for kept in harness.runtime.journal.entries()] == [body]


def test_a_broken_journal_stops_no_settling(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    harness.runtime.journal._writer.close()
    harness.runtime.journal.folder.rename(harness.runtime.journal.folder.with_name("gone"))
    harness.settle((attempt, token_set("2")))
    assert harness.token(grant) == "rt-2"
    harness.runtime.journal.folder.with_name("gone").rename(harness.runtime.journal.folder)


def test_each_stored_token_set_notifies_those_who_wait_for_it(harness: Harness) -> None:
    client = harness.client()
    harness.grants(client, 2)
    started = harness.start(harness.claim(client).due)
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as listener:
        listener.exec_driver_sql("listen evergrant_token_set")
        harness.settle(*[(attempt, token_set(attempt.job.ref)) for attempt in started])
        driver = listener.connection.driver_connection
        assert driver is not None
        told = {notify.payload for notify in driver.notifies(timeout=5, stop_after=2)}
    assert told == {str(attempt.job.grant_id) for attempt in started}


def test_a_connected_and_an_overwritten_grant_notify_too(harness: Harness) -> None:
    client = harness.client()
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as listener:
        listener.exec_driver_sql("listen evergrant_token_set")
        grant = harness.grant(client)
        with transaction() as connection:
            new = harness.new_grant(grant, "again")
            columns: dict[str, Any] = {name: getattr(new, name, None) for name in Incoming._fields}
            bulk_import.copy(connection, [Incoming(**columns | {"labels": "{}", "ever_in_doubt": False})])
            assert bulk_import.overwrite(connection, actor="test") == 1
        driver = listener.connection.driver_connection
        assert driver is not None
        told = [notify.payload for notify in driver.notifies(timeout=5, stop_after=2)]
    assert told == [str(grant)] * 2


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_order_in_which_sets_arrive_each_is_stored_or_kept(harness: Harness, data: st.DataObject) -> None:
    """Several attempts on one generation, each answered, settled in any order, alone or together, some twice."""
    rotation = data.draw(st.sampled_from(["none", "on_use", "immediate", "family"]))
    name = f"c-{uuid4()}"
    client = harness.client(name, rotation=rotation)
    grant = harness.grant(client, name)
    begun = []
    for _ in range(data.draw(st.integers(2, 4))):
        harness.until_due(grant)
        begun.append(harness.begin(client))
    order = data.draw(st.permutations(range(len(begun))))
    repeats = data.draw(st.lists(st.sampled_from(order), max_size=2))
    for n in [*order, *repeats]:
        harness.settle((begun[n], token_set(f"{name}-{n}")))
    held = {harness.token(grant), *harness.formers(grant)}
    assert held >= {f"rt-{name}-{n}" for n in order}
    assert harness.token(grant) == f"rt-{name}-{order[0]}"
    assert harness.row(grant)["generation"] == 2


def test_groups_of_the_same_grants_in_any_order_are_settled_alike(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 3)
    for n, order in enumerate(permutations(range(3))):
        started = {attempt.job.grant_id: attempt for attempt in harness.start(harness.claim(client).due)}
        harness.settle(*[(started[grants[k]], token_set(f"{n}-{k}")) for k in order])
        assert [harness.token(grant) for grant in grants] == [f"rt-{n}-{k}" for k in range(3)]
        harness.later(hours=2)
