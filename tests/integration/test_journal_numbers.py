"""Numbers of journals: each is given once, also to workers that start at the same moment."""

import threading

from sqlalchemy import Engine

from models import journal
from models.database import transaction


def register(above: int) -> int:
    with transaction() as connection:
        return journal.register(connection, host="here", process="1", above=above)


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
        numbers.append(journal.register(connection, host="here", process="1", above=last))
        second.start()
        second.join(0.3)
    second.join(10)
    assert sorted(numbers) == [last + 1, last + 2]


def test_a_restored_sequence_passes_over_the_numbers_that_are_taken(database: Engine) -> None:
    last = register(0)
    with transaction() as connection:
        journal.replayed(connection, last + 1, host="there", process="1", incident_no=1, drained=False)
    assert register(0) == last + 2
