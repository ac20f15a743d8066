"""Replay: what a journal still holds is settled by the same rule as a live answer, any number of times."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import installation
from models import journal as register
from models.database import transaction
from models.states.installation import DatabaseState
from models.views import overdue
from tasks import journal
from tasks.journal import Entry, Journal
from tasks.policy.guard import guard
from tasks.runtime import clock
from tasks.runtime.runtime import Runtime
from tasks.settling import recover, replay
from tests.harness import HELD_BACK, LOST, Harness, token_set
from tests.polling import eventually

Write = Callable[..., Journal]


@pytest.fixture
def folder(harness: Harness) -> Path:
    return harness.settings.home / "journals"


@pytest.fixture
def gone(harness: Harness, folder: Path) -> Write:
    """Write a journal of a process that is gone."""

    def write(*entries: Entry, settled: bool = False) -> Journal:
        with transaction() as connection:
            journal_id = register.register(connection, host="here", process="1", above=max(journal.journal_ids(folder)))
        made = Journal.open(folder, journal_id, vault=harness.runtime.vault)
        positions = made.append(entries)
        if settled:
            made.mark_settled(positions)
        made.close()
        return made

    return write


def read_all(harness: Harness, folder: Path) -> None:
    """Replay all that journals of processes that are gone hold, settled before or not, as after a restore."""
    journal.drain_held(
        folder,
        lambda kept: replay.replay(harness.runtime, kept),
        lambda _: None,
        vault=harness.runtime.vault,
        everything=True,
    )


def entry(
    harness: Harness, grant: UUID, generation: int, name: str, *, sent: str | None = None, kind: str = "refresh"
) -> Entry:
    """What a process kept of an answer; `sent` is the refresh token that was presented."""
    return Entry(
        kind=kind,  # type: ignore[arg-type]
        grant_id=str(grant),
        client="demo",
        ref="customer",
        labels={"org": ["8f2"]},
        generation=generation,
        fingerprint=harness.runtime.vault.fingerprint(f"rt-{sent}") if sent else b"",
        credentials_no=1,
        started_at=clock.wall() - timedelta(minutes=2),
        received_at=clock.wall() - timedelta(minutes=2),
        status=200,
        body=token_set(name).body,
    )


def drained(harness: Harness, journal_id: int) -> bool:
    row = harness.one("select drained_at from evergrant.journals where id = :id", id=journal_id)
    return row["drained_at"] is not None


def test_a_set_that_a_killed_worker_has_kept_is_stored(harness: Harness, gone: Write) -> None:
    client = harness.client()
    grant = harness.grant(client, token="1")
    journal_id = gone(entry(harness, grant, 1, "2", sent="1")).journal_id
    replay.drain_others(harness.runtime)
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-2", 2)
    assert drained(harness, journal_id)


def test_generations_are_replayed_in_order_whatever_the_order_in_the_file(harness: Harness, gone: Write) -> None:
    client = harness.client(rotation="immediate")
    grant = harness.grant(client, token="1")
    chain = [entry(harness, grant, n, str(n + 1), sent=str(n)) for n in range(1, 6)]
    gone(chain[3], chain[0], chain[4], chain[2], chain[1])
    replay.drain_others(harness.runtime)
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-6", 6)
    assert harness.formers(grant) == {}


def test_a_restored_row_several_generations_behind_ends_at_the_newest(harness: Harness, gone: Write) -> None:
    client = harness.client(rotation="immediate")
    grant = harness.grant(client, token="1")
    gone(entry(harness, grant, 7, "8", sent="7"))
    replay.drain_others(harness.runtime)
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-8", 8)


def test_replaying_again_changes_nothing(harness: Harness, gone: Write, folder: Path) -> None:
    client = harness.client()
    grant = harness.grant(client, token="1")
    gone(*[entry(harness, grant, n, str(n + 1), sent=str(n)) for n in range(1, 4)])
    replay.drain_others(harness.runtime)
    before = harness.picture(grant)
    for _ in range(2):
        read_all(harness, folder)
    assert harness.picture(grant) == before


def test_a_set_for_a_generation_that_is_stored_is_surplus_unless_the_journal_says_that_it_was_settled(
    harness: Harness, gone: Write, folder: Path
) -> None:
    client = harness.client(rotation="immediate")
    grant = harness.grant(client, token="5", generation=5)
    gone(entry(harness, grant, 2, "late", sent="2"))
    gone(entry(harness, grant, 2, "settled", sent="2"), settled=True)
    read_all(harness, folder)
    assert (harness.token(grant), harness.formers(grant)) == ("rt-5", {"rt-late": "surplus"})


def test_of_two_settled_answers_to_one_question_a_restore_keeps_the_one_that_has_no_place_in_the_row(
    harness: Harness, gone: Write, folder: Path
) -> None:
    """A request of a frozen process gave the second; the row that knew both is among the missing commits."""
    client = harness.client(rotation="on_use")
    grant = harness.grant(client, token="2", generation=2)
    gone(entry(harness, grant, 2, "3", sent="2"), settled=True)
    gone(entry(harness, grant, 2, "twin", sent="2"), settled=True)
    for _ in range(2):
        read_all(harness, folder)
    held = {harness.token(grant): "current", **harness.formers(grant)}
    assert {"rt-3", "rt-twin"} <= held.keys()
    assert sorted(kind for token, kind in held.items() if token != "rt-2") == ["current", "surplus"]


@pytest.mark.parametrize(("rotation", "uncertain"), [("on_use", True), ("immediate", False)])
def test_a_replaced_pair_that_finds_no_place_after_a_restore_leaves_the_grants_end_uncertain_where_it_may_live(
    harness: Harness, gone: Write, folder: Path, rotation: str, uncertain: bool
) -> None:
    client = harness.client(rotation=rotation)
    grant = harness.grant(client, token="2", generation=2)
    gone(entry(harness, grant, 3, "4", sent="3"), settled=True)
    gone(entry(harness, grant, 2, "3", sent="2"), settled=True)
    read_all(harness, folder)
    assert harness.token(grant) == "rt-4"
    assert harness.row(grant)["ever_in_doubt"] is uncertain


def test_an_attempt_under_way_loses_nothing_to_a_replay_that_comes_between(harness: Harness, gone: Write) -> None:
    client = harness.client()
    grant = harness.grant(client, token="1")
    attempt = harness.begin(client)
    gone(entry(harness, grant, 1, "2", sent="1"))
    replay.drain_others(harness.runtime)
    harness.settle((attempt, token_set("sibling")))
    assert harness.token(grant) == "rt-2"
    assert harness.formers(grant) == {"rt-1": "predecessor", "rt-sibling": "surplus"}


def test_a_drained_journal_leaves_every_doubt(harness: Harness, gone: Write) -> None:
    client = harness.client(rotation="family")
    waiting, other = harness.grants(client, 2)
    journal_id = gone().journal_id
    for grant in (waiting, other):
        harness.set(grant, doubt_since=clock.wall(), doubt_journals=[journal_id, 999])
    replay.drain_others(harness.runtime)
    assert [harness.row(grant)["doubt_journals"] for grant in (waiting, other)] == [[999], [999]]


def test_a_drained_journal_whose_end_was_not_recorded_is_recorded_later(
    harness: Harness, gone: Write, folder: Path
) -> None:
    """Its worker ended well while the database was away; without this a family would wait for it for ever."""
    client = harness.client(rotation="family")
    grant = harness.grant(client)
    journal_id = gone().journal_id
    harness.set(grant, doubt_since=clock.wall(), doubt_journals=[journal_id])
    journal.take_over(folder, journal_id, vault=harness.runtime.vault).close(drained=True)
    replay.drain_others(harness.runtime)
    assert drained(harness, journal_id)
    assert harness.row(grant)["doubt_journals"] == []


def test_the_journal_of_a_living_process_is_left_alone(harness: Harness, gone: Write, folder: Path) -> None:
    client = harness.client()
    grant = harness.grant(client, token="1")
    journal_id = gone(entry(harness, grant, 1, "2", sent="1")).journal_id
    held = journal.take_over(folder, journal_id, vault=harness.runtime.vault)
    assert replay.drain_others(harness.runtime) == []
    assert not drained(harness, journal_id)
    held.close()
    replay.drain_others(harness.runtime)
    assert harness.token(grant) == "rt-2"


def test_a_row_that_is_missing_is_made_from_its_exchange_and_refreshed_from_what_followed(
    harness: Harness, gone: Write
) -> None:
    harness.client()
    grant = uuid4()
    gone(
        entry(harness, grant, 2, "3", sent="2"),
        entry(harness, grant, 1, "2", sent="1"),
        entry(harness, grant, 0, "1", kind="exchange"),
    )
    replay.drain_others(harness.runtime)
    row = harness.row(grant)
    assert (row["status"], row["generation"], harness.token(grant)) == ("active", 3, "rt-3")
    assert (row["ref"], row["labels"]) == ("customer", {"org": ["8f2"]})


def test_a_row_that_is_missing_is_made_from_a_refresh_at_the_generation_that_it_says(
    harness: Harness, gone: Write
) -> None:
    harness.client()
    grant = uuid4()
    gone(entry(harness, grant, 6, "7", sent="6"))
    replay.drain_others(harness.runtime)
    assert (harness.token(grant), harness.row(grant)["generation"]) == ("rt-7", 7)


def test_a_consent_that_replaced_another_is_replayed_as_a_new_row_and_the_old_one_ends(
    harness: Harness, gone: Write
) -> None:
    client = harness.client(revocation="token")
    old = harness.grant(client, token="old", generation=4, created_at=clock.wall() - timedelta(days=1))
    new = uuid4()
    gone(entry(harness, new, 0, "new", kind="exchange"))
    for _ in range(2):
        replay.drain_others(harness.runtime)
    assert (harness.row(new)["generation"], harness.token(new)) == (5, "rt-new")
    assert harness.row(old)["status"] == "revoking"
    assert harness.one("select reason, status from evergrant.revocations") == {"reason": "replaced", "status": "queued"}


def test_what_is_no_token_set_is_done_with(harness: Harness, gone: Write) -> None:
    client = harness.client()
    grant = harness.grant(client)
    broken = entry(harness, grant, 1, "2", sent="customer-1")
    object.__setattr__(broken, "body", b"<html>200 but no token</html>")
    journal_id = gone(broken).journal_id
    replay.drain_others(harness.runtime)
    assert drained(harness, journal_id)
    assert harness.row(grant)["generation"] == 1


def test_an_entry_that_the_database_refuses_keeps_no_other_back(harness: Harness, gone: Write) -> None:
    client = harness.client()
    first, poisoned, last = harness.grants(client, 3)
    harness.run(
        """create function evergrant.poison() returns trigger language plpgsql as
            $$ begin if new.ref = 'customer-1' and new.generation > 1 then raise 'poison'; end if; return new; end $$;
        create trigger poison before update on evergrant.grants for each row execute function evergrant.poison()"""
    )
    journal_id = gone(
        *[entry(harness, grant, 1, f"{n}", sent=f"customer-{n}-1") for n, grant in enumerate((first, poisoned, last))]
    ).journal_id
    replay.drain_others(harness.runtime)
    harness.run("drop trigger poison on evergrant.grants; drop function evergrant.poison()")
    assert [harness.row(grant)["generation"] for grant in (first, poisoned, last)] == [2, 1, 2]
    assert not drained(harness, journal_id)
    replay.drain_others(harness.runtime)
    assert harness.token(poisoned) == "rt-1"
    assert drained(harness, journal_id)


def test_a_client_whose_provider_file_is_gone_keeps_no_other_client_back(harness: Harness, gone: Write) -> None:
    good, broken = harness.client(), harness.client("broken")
    kept, left = harness.grant(good, token="a"), harness.grant(broken, token="b")
    harness.run("update evergrant.clients set provider = 'gone' where name = 'broken'")
    journal_id = gone(entry(harness, left, 1, "b2", sent="b"), entry(harness, kept, 1, "a2", sent="a")).journal_id
    replay.drain_others(harness.runtime)
    assert (harness.token(kept), harness.token(left)) == ("rt-a2", "rt-b")
    harness.run("update evergrant.clients set provider = 'simulator'")
    replay.drain_others(harness.runtime)
    assert harness.token(left) == "rt-b2"
    assert drained(harness, journal_id)


def test_an_answer_that_the_database_refused_is_settled_by_its_own_process_later(harness: Harness) -> None:
    client = harness.client()
    grant = harness.grant(client, token="1")
    harness.runtime.journal.append([entry(harness, grant, 1, "2", sent="1")])
    replay.settle_left(harness.runtime)
    assert harness.token(grant) == "rt-2"
    assert list(harness.runtime.journal.unsettled()) == []


def test_a_family_waits_for_the_journal_and_is_saved_by_its_replay(harness: Harness, gone: Write) -> None:
    client = harness.client(rotation="family")
    grant = harness.grant(client, token="1", access_left=timedelta(seconds=-1))
    with transaction() as connection:
        elsewhere = register.register(connection, host="here", process="2")
    harness.set(grant, started_at=clock.wall() - timedelta(minutes=5), journal_id=elsewhere)
    attempt = harness.begin(client)
    assert attempt.job.journals_undrained
    harness.settle((attempt, LOST))
    gone(entry(harness, grant, 1, "2", sent="1"))
    replay.drain_others(harness.runtime)
    row = harness.row(grant)
    assert (harness.token(grant), row["doubt_since"], row["doubt_journals"]) == ("rt-2", None, [])


def test_a_family_in_doubt_waits_for_no_access_token_that_applications_are_refused_with(harness: Harness) -> None:
    """The provider had promised a year."""
    client = harness.client(rotation="family")
    grant = harness.grant(client, token="1", access_left=timedelta(days=365))
    harness.ask(client, LOST)
    harness.until_due(grant)
    assert _held_back(harness, client) == "access_token_still_serves"
    harness.run("select evergrant.request_refresh('customer', if_generation => 1)")
    harness.until_due(grant)
    assert _held_back(harness, client) is None


def _held_back(harness: Harness, client: int) -> str | None:
    attempt = harness.begin(client)
    held = guard(attempt.situation(journal_writable=True, valve_shut=False, stopping=False))
    harness.settle((attempt, HELD_BACK))
    return None if held is None else held.code


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_journals_replayed_in_any_order_end_at_the_newest_set_and_lose_none(
    harness: Harness, gone: Write, data: st.DataObject
) -> None:
    """A chain of refreshes spread over several journals, some of them replayed before others are found."""
    client = harness.client(f"c-{uuid4()}", rotation="immediate")
    length = data.draw(st.integers(1, 4))
    start = data.draw(st.integers(1, length))
    grant = harness.grant(client, token=str(start), generation=start)
    for n in data.draw(st.permutations(range(1, length + 1))):
        gone(entry(harness, grant, n, str(n + 1), sent=str(n)))
        if data.draw(st.booleans()):
            replay.drain_others(harness.runtime)
    replay.drain_others(harness.runtime)
    assert (harness.token(grant), harness.row(grant)["generation"]) == (f"rt-{length + 1}", length + 1)


def test_a_drained_journal_makes_nothing_due_that_was_not_and_what_it_held_is_due_by_its_own_life(
    harness: Harness, gone: Write
) -> None:
    """Else all that a dead worker had under way would leave at once."""
    client = harness.client(rotation="family")
    answered, lost, *_ = grants = harness.grants(client, 4)
    harness.start(harness.claim(client).due)
    before = {grant: harness.row(grant)["due_at"] for grant in grants}
    kept = entry(harness, answered, 1, "2", sent="customer-0-1")
    harness.set(answered, started_at=kept.started_at)  # the very attempt that was answered
    journal_id = gone(kept).journal_id
    harness.run("update evergrant.grants set doubt_since = started_at, doubt_journals = array[:id]", id=journal_id)
    replay.drain_others(harness.runtime)
    assert harness.row(lost)["doubt_journals"] == []
    after = {grant: harness.row(grant)["due_at"] for grant in grants}
    assert {grant for grant in grants if after[grant] != before[grant]} == {answered}
    assert after[answered] > before[answered] + timedelta(minutes=30)


def damage(own: Path) -> bytes:
    """Flip a byte of the first record; returns the file as it was."""
    log = own / "00000001.log"
    whole = log.read_bytes()
    log.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    return whole


def standing(harness: Harness, journal_id: int) -> tuple[bool, str | None]:
    """Whether it is drained, and what is known to be wrong with it."""
    row = harness.one("select drained_at, damage from evergrant.journals where id = :id", id=journal_id)
    return row["drained_at"] is not None, row["damage"]


def test_a_damaged_journal_keeps_its_doubt_until_it_can_be_read_again(
    harness: Harness, gone: Write, folder: Path
) -> None:
    client = harness.client(rotation="family")
    lost, other = harness.grants(client, 2, token="1")
    answers = entry(harness, lost, 1, "lost", sent="1"), entry(harness, other, 1, "kept", sent="1")
    journal_id = gone(*answers).journal_id
    own = folder / str(journal_id)
    harness.set(lost, doubt_since=clock.wall() - timedelta(minutes=11), doubt_journals=[journal_id])
    whole = damage(own)
    for _ in range(2):
        replay.drain_others(harness.runtime)
        assert standing(harness, journal_id) == (False, "segment 1 is damaged at byte 0")
    assert harness.token(other) == "rt-kept"  # what stands behind the hole
    assert (harness.row(lost)["doubt_journals"], harness.token(lost)) == ([journal_id], "rt-1")
    with transaction() as connection:
        overdue.tell_waiting(connection)
    told = harness.one("select data from evergrant.events where type = 'grant.waiting'")["data"]
    assert (told["journal"], told["damage"]) == (journal_id, "segment 1 is damaged at byte 0")
    (own / "00000001.log").write_bytes(whole)
    replay.drain_others(harness.runtime)
    assert standing(harness, journal_id) == (True, None)
    assert (harness.row(lost)["doubt_journals"], harness.token(lost)) == ([], "rt-lost")


def test_a_family_waits_for_a_damaged_journal(harness: Harness, gone: Write, folder: Path) -> None:
    client = harness.client(rotation="family")
    grant = harness.grant(client, token="1")
    journal_id = gone(entry(harness, grant, 1, "2", sent="1")).journal_id
    harness.set(grant, doubt_since=clock.wall(), doubt_journals=[journal_id])
    damage(folder / str(journal_id))
    replay.drain_others(harness.runtime)
    assert harness.begin(client).job.journals_undrained


def test_a_damaged_journal_keeps_an_incident_open_until_it_is_abandoned(
    harness: Harness, gone: Write, folder: Path
) -> None:
    client = harness.client()
    grant = harness.grant(client, token="1")
    journal_id = gone(entry(harness, grant, 1, "2", sent="1")).journal_id
    damage(folder / str(journal_id))
    with transaction() as connection:
        installation.raise_incident(connection, "tick_missing")
    assert recover.look(harness.runtime) == DatabaseState.REWOUND
    assert standing(harness, journal_id) == (False, "segment 1 is damaged at byte 0")
    with transaction() as connection:
        register.abandon(connection, journal_id, by="tests")
    eventually(lambda: recover.look(harness.runtime) == DatabaseState.FIT)


def test_one_bad_journal_stops_neither_the_start_nor_the_others(harness: Harness, gone: Write, folder: Path) -> None:
    client = harness.client()
    grant = harness.grant(client, token="1")
    bad, good = gone().journal_id, gone(entry(harness, grant, 1, "2", sent="1")).journal_id
    (folder / str(bad) / "lock").unlink()
    (folder / str(bad) / "lock").mkdir()
    (folder / "901").mkdir()
    (folder / "901" / "1x.log").touch()
    recover.look(harness.runtime, thoroughly=True)
    replay.drain_others(harness.runtime)
    replay.shred_old(harness.runtime)
    assert [standing(harness, each) for each in (bad, good)] == [
        (False, "it cannot be opened: Is a directory"),
        (True, None),
    ]
    another = Runtime.open(harness.settings)
    assert another.journal_id > 901
    another.close()
