"""Numbers of journals: each is given once, also to workers that start at the same moment, and none without a folder."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from models import journal
from models.database import engine, transaction
from tasks.journal import LeftBehind, journal_ids, left_behind
from tasks.runtime.runtime import Runtime
from tasks.settling.replay import drain_others
from tests.harness import Harness

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def register(above: int, *, now: datetime = NOW) -> int:
    with transaction() as connection:
        return journal.register(connection, host="here", process="1", above=above, now=now)


def test_a_new_journal_is_numbered_above_those_on_its_disk(database: Engine) -> None:
    first = register(0)
    assert register(first + 40) == first + 41
    assert register(0) == first + 42


def test_two_workers_that_register_at_the_same_moment_get_two_numbers(database: Engine) -> None:
    last = register(0)
    numbers: list[int] = []
    # The second one still sees only the old numbers on the disk while the first has taken the next one.
    second = threading.Thread(target=lambda: numbers.append(register(last)))
    with transaction() as connection:
        numbers.append(journal.register(connection, host="here", process="1", above=last, now=NOW))
        second.start()
        second.join(0.3)
    second.join(10)
    assert sorted(numbers) == [last + 1, last + 2]


def test_a_restored_sequence_passes_over_the_numbers_that_are_taken(database: Engine) -> None:
    last = register(0)
    with transaction() as connection:
        journal.replayed(connection, last + 1, host="there", process="1", incident_no=1, drained=False)
    assert register(0) == last + 2


def test_a_number_that_another_machine_was_given_before_a_restore_is_not_given_again(database: Engine) -> None:
    """Its disk is not here, and its row is among the commits that are missing: only the clock tells of it."""
    forgotten = register(0)
    with transaction() as connection:
        connection.execute(text("delete from evergrant.journals"))
        connection.execute(text("alter sequence evergrant.journals_id_seq restart with 1"))
    assert register(0, now=NOW + timedelta(seconds=2)) > forgotten


def test_a_worker_that_ends_while_its_number_is_committed_leaves_a_journal_that_others_drain(harness: Harness) -> None:
    """A number without a folder could be drained by nobody, and work would wait for it after a restore."""
    folder, own = harness.settings.home / "journals", harness.runtime.journal_id
    on_disk: list[list[int]] = []

    def die(connection: object) -> None:
        event.remove(engine(), "commit", die)
        on_disk.append(journal_ids(folder))
        connection.connection.commit()  # type: ignore[attr-defined]
        raise OperationalError("COMMIT", {}, ConnectionResetError())

    event.listen(engine(), "commit", die)
    with pytest.raises(OperationalError):
        Runtime.open(harness.settings)
    ((before, new),) = on_disk
    assert before == own
    assert left_behind(folder) == [LeftBehind(new, drained=True)]
    drain_others(harness.runtime)
    with transaction() as connection:
        drained = connection.execute(text("select id from evergrant.journals where drained_at is not null"))
        assert drained.scalars().all() == [new]
