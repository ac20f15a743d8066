"""Settling where something is wrong: poison, a row that somebody holds, a row that is not there."""

from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.database import transaction
from tasks.journal import End
from tasks.runtime import clock
from tasks.runtime.attempt import Arrived
from tasks.settling import replay
from tasks.settling.settle import journal_answers, settle
from tests.harness import HELD_BACK, Harness, token_set
from tests.polling import eventually


def test_a_poisonous_row_fails_alone_and_stays_in_the_journal(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 5)
    harness.run(
        f"""create function evergrant.poison() returns trigger language plpgsql as
            $$ begin if new.id = '{grants[2]}' and new.generation > 1 then raise 'poison'; end if; return new; end $$;
        create trigger poison before update on evergrant.grants for each row execute function evergrant.poison()"""
    )
    started = harness.start(harness.claim(client).due)
    harness.settle(*[(attempt, token_set(f"{attempt.job.ref}-2")) for attempt in started])
    harness.run("drop trigger poison on evergrant.grants; drop function evergrant.poison()")
    assert [harness.row(grant)["generation"] for grant in grants] == [2, 2, 1, 2, 2]
    (left,) = harness.runtime.journal.unsettled()
    assert left.entry.grant_id == str(grants[2])


def test_a_row_that_a_stranger_has_locked_waits_alone_and_its_later_answers_behind_it(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, 4)
    started = {attempt.job.grant_id: attempt for attempt in harness.start(harness.claim(client).due)}
    with transaction() as stranger:
        stranger.execute(text("select from evergrant.grants where id = :id for update"), {"id": grants[1]})
        harness.settle(*[(attempt, token_set(f"{attempt.job.ref}-2")) for attempt in started.values()])
        assert [harness.row(grant)["generation"] for grant in grants] == [2, 1, 2, 2]
        harness.settle((started[grants[1]], token_set("late")))
        assert len(harness.runtime.answers.parked) == 1
    harness.settle()
    assert (harness.token(grants[1]), harness.formers(grants[1])["rt-late"]) == ("rt-customer-1-2", "surplus")
    assert len(harness.runtime.answers.parked) == 0
    assert list(harness.runtime.journal.unsettled()) == []


def test_what_was_put_aside_is_tried_again_also_where_nothing_else_arrives(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    harness.runtime.admission.begin(attempt)
    harness.runtime.handle_answers(journal=journal_answers, settle=settle)
    with transaction() as stranger:
        stranger.execute(text("select from evergrant.grants for update"))
        harness.runtime.answers.arrive(Arrived(attempt, token_set("2"), clock.wall()))
        eventually(lambda: len(harness.runtime.answers.parked))
    assert eventually(lambda: harness.row(grant)["generation"] == 2)


def test_what_was_put_aside_is_settled_once_each_by_however_many_threads(harness: Harness) -> None:
    """A revocation settles in its own thread: both had tried the same answer, and the next one was forgotten."""
    client = harness.client(rotation="family")
    grants = harness.grants(client, 12)
    for each in harness.start(harness.claim(client).due):
        harness.runtime.answers.parked.add(Arrived(each, token_set(each.job.ref), clock.wall()))
    threads = [Thread(target=harness.settle) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [harness.row(grant)["generation"] for grant in grants] == [2] * 12
    assert len(harness.runtime.answers.parked) == 0


def forget(harness: Harness, grant: UUID) -> None:
    """As after a restore of a copy that was made before the grant was connected."""
    harness.run("delete from evergrant.grants where id = :id", id=grant)


def test_an_answer_for_a_row_that_is_missing_makes_the_row_at_once(harness: Harness) -> None:
    client = harness.client()
    grant, other = harness.grants(client, 2)
    started = harness.start(harness.claim(client).due)
    forget(harness, grant)
    harness.settle(*[(attempt, token_set(f"{attempt.job.ref}-2")) for attempt in started])
    assert [harness.token(each) for each in (grant, other)] == ["rt-customer-0-2", "rt-customer-1-2"]
    row = harness.row(grant)
    assert (row["ref"], row["client_id"], row["status"], row["generation"]) == ("customer-0", client, "active", 2)
    assert list(harness.runtime.journal.unsettled()) == []


def test_a_row_whose_end_is_noted_is_not_made_again(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    forget(harness, grant)
    harness.runtime.journal.note_end(End(grant_id=str(grant), ended_at=clock.wall()))
    harness.settle((attempt, token_set("2")))
    assert harness.all("select id from evergrant.grants") == []


def test_an_answer_whose_client_is_missing_as_well_stays_in_the_journal(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client)
    attempt = harness.begin(client)
    forget(harness, grant)
    harness.run("delete from evergrant.valves; delete from evergrant.clients")
    harness.settle((attempt, token_set("2")))
    assert [kept.entry.grant_id for kept in harness.runtime.journal.unsettled()] == [str(grant)]


POISON: list[dict[str, Any]] = [
    {"scope": "crm\x00read"},
    {"scope": "x" * 60_000},
    {"scope": ["crm_read", None, 7]},
    {"expires_in": 10**18},
    {"expires_in": -(10**18)},
    {"expires_in": "1e400"},
    {"expires_in": "NaN"},
    {"expires_in": None},
    {"expires_in": [1]},
    {"expires_in": 0},
    {"token_type": "\x00" * 9},
    {"created_at": "\ud800"},
]


def test_poisonous_members_of_an_answer_sink_neither_it_nor_its_neighbours(harness: Harness) -> None:
    client = harness.client()
    grants = harness.grants(client, len(POISON))
    started = sorted(harness.start(harness.claim(client).due), key=lambda attempt: grants.index(attempt.job.grant_id))
    ended = [(attempt, token_set(f"p{n}", **POISON[n])) for n, attempt in enumerate(started)]
    harness.settle(*ended)
    assert [harness.token(grant) for grant in grants] == [f"rt-p{n}" for n in range(len(POISON))]
    assert list(harness.runtime.journal.unsettled()) == []
    lives = [harness.row(grant)["life"] for grant in grants]
    assert lives[3] == timedelta(seconds=60)  # what is no length is taken for the provider's default
    assert lives[4] == lives[9] == timedelta(seconds=60)


def test_while_the_journal_holds_an_answer_that_the_database_refused_its_grant_stays_in_doubt_of_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At `family` a later attempt that was held back had told that the journal holds nothing; the next one was sent."""
    client = harness.client(rotation="family")
    grant = harness.grant(client, token="1", access_left=timedelta(seconds=-1))
    harness.run(
        """create function evergrant.poison() returns trigger language plpgsql as
            $$ begin if new.generation > 1 then raise 'poison'; end if; return new; end $$;
        create trigger poison before update on evergrant.grants for each row execute function evergrant.poison()"""
    )
    harness.ask(client, token_set("2"))
    harness.until_due(grant)
    harness.settle((harness.begin(client), HELD_BACK))
    assert harness.row(grant)["doubt_journals"] == [harness.runtime.journal_id]
    harness.run("drop trigger poison on evergrant.grants; drop function evergrant.poison()")
    monkeypatch.setattr(replay, "LEFT_FOR", timedelta(0))
    replay.settle_left(harness.runtime)
    row = harness.row(grant)
    assert (row["generation"], row["doubt_journals"], harness.runtime.answers.refused) == (2, [], set())
