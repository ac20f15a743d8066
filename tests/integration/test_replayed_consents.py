"""Consents that a restored database lacks: journals tell of them, in whatever order they are read."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from models import journal as register
from models.database import transaction
from tasks import journal
from tasks.journal import Entry, Journal
from tasks.runtime import clock
from tasks.settling import replay
from tests.harness import Harness, token_set

Tell = Callable[..., None]


@pytest.fixture
def tell(harness: Harness) -> Tell:
    """Leave a journal of a process that is gone, with one answer in it."""
    folder = harness.settings.home / "journals"

    def write(grant: UUID, generation: int, name: str, *, minutes_ago: float, sent: str | None = None) -> None:
        with transaction() as connection:
            journal_id = register.register(connection, host="here", process="1", above=max(journal.journal_ids(folder)))
        kept = Journal.open(folder, journal_id, vault=harness.runtime.vault)
        at = clock.wall() - timedelta(minutes=minutes_ago)
        kept.append(
            [
                Entry(
                    kind="exchange" if generation == 0 else "refresh",
                    grant_id=str(grant),
                    client="demo",
                    ref="customer",
                    labels={},
                    generation=generation,
                    fingerprint=harness.runtime.vault.fingerprint(f"rt-{sent}") if sent else b"",
                    credentials_no=1,
                    started_at=at,
                    received_at=at,
                    status=200,
                    body=token_set(name).body,
                )
            ]
        )
        kept.close()

    return write


def test_an_imported_grant_that_the_backup_lacks_comes_back_by_its_refresh(harness: Harness, tell: Tell) -> None:
    harness.client()
    grant = uuid4()
    tell(grant, 1, "b", minutes_ago=20, sent="imported")
    tell(grant, 2, "c", minutes_ago=10, sent="b")
    replay.drain_others(harness.runtime)
    row = harness.row(grant)
    assert (row["ref"], row["status"], row["generation"]) == ("customer", "active", 3)
    assert harness.token(grant) == "rt-c"


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_of_two_consents_of_one_ref_the_newer_one_stays_in_whatever_order_they_are_read(
    harness: Harness, tell: Tell, order: tuple[int, ...]
) -> None:
    harness.client()
    older, newer = uuid4(), uuid4()
    entries: list[Callable[[], None]] = [
        lambda: tell(older, 0, "a", minutes_ago=40),
        lambda: tell(older, 1, "b", minutes_ago=30, sent="a"),
        lambda: tell(newer, 0, "x", minutes_ago=20),
        lambda: tell(newer, 3, "y", minutes_ago=10, sent="x"),
    ]
    for number in order:
        entries[number]()
    replay.drain_others(harness.runtime)
    assert harness.row(newer)["status"] == "active"
    assert harness.token(newer) == "rt-y"
    assert harness.row(older)["status"] == "revoking"
    reasons = harness.all("select grant_id, reason from evergrant.revocations")
    assert [(row["grant_id"], row["reason"]) for row in reasons] == [(older, "replaced")]


def test_a_consent_newer_than_the_backup_takes_the_place_of_the_old_one(harness: Harness, tell: Tell) -> None:
    client = harness.client()
    old = harness.grant(client)
    harness.run("update evergrant.grants set created_at = created_at - interval '1 day'")
    newer = uuid4()
    tell(newer, 0, "x", minutes_ago=20)
    replay.drain_others(harness.runtime)
    assert (harness.row(old)["status"], harness.row(newer)["status"]) == ("revoking", "active")
    assert harness.row(newer)["generation"] == harness.row(old)["generation"] + 1
