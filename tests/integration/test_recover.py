"""Recovery: an incident is over when every journal was replayed, and nobody begins it anew."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

import settings as configuration
from models import installation, tick
from models.database import transaction
from tasks.runtime.runtime import Runtime
from tasks.settling import recover

Open = Callable[[str], Runtime]


@pytest.fixture
def process_on(adopted: configuration.Settings, tmp_path: Path) -> Iterator[Open]:
    """Open the runtime of another worker process, on a machine of that name."""
    opened: list[Runtime] = []

    def open_(machine: str) -> Runtime:
        home = tmp_path / machine
        home.mkdir(exist_ok=True)
        opened.append(Runtime.open(adopted.model_copy(update={"home": home})))
        return opened[-1]

    yield open_
    for runtime in opened:
        runtime.transport.close()
        runtime.journal.close()


def lose_ticks() -> None:
    """What a restore of an older copy does to them."""
    with transaction() as connection:
        connection.execute(text("delete from evergrant.ticks"))
        tick.write(connection)


def write_tick() -> None:
    with transaction() as connection:
        tick.write(connection)


def run(query: str, **values: Any) -> None:
    with transaction() as connection:
        connection.execute(text(query), values)


def incidents() -> int:
    with transaction() as connection:
        return int(connection.execute(text("select incident_no from evergrant.installation")).scalar_one())


def undrained() -> set[int]:
    with transaction() as connection:
        return set(connection.execute(text("select id from evergrant.journals where drained_at is null")).scalars())


class Killed(BaseException):
    """A process ends here and now."""


def kill(*_: Any, **__: Any) -> Any:
    raise Killed


def test_one_incident_is_enough_for_every_worker_whoever_closes_it(process_on: Open) -> None:
    first, second, third = process_on("a"), process_on("b"), process_on("a")
    write_tick()
    assert [recover.look(each) for each in (first, second, third)] == ["fit"] * 3
    lose_ticks()
    assert [recover.look(each) for each in (second, third, first)] == ["rewound", "rewound", "fit"]
    for _ in range(3):
        assert [recover.look(each) for each in (first, second, third)] == ["fit"] * 3
    assert incidents() == 1


def test_a_claim_that_has_the_number_of_one_before_the_incident_is_begun_by_who_had_begun_that(
    process_on: Open,
) -> None:
    """A restored row counts its claims from where the copy was: a worker that remembers them would drop them all."""
    first, second = process_on("a"), process_on("b")
    write_tick()
    assert [recover.look(each) for each in (first, second)] == ["fit"] * 2
    job = (uuid4(), 7)
    for each in (first, second):
        assert each.admission.once([job]) == [job]
        recover.look(each)
        assert each.admission.once([job]) == []
    lose_ticks()
    assert [recover.look(each) for each in (first, second, first)] == ["rewound", "fit", "fit"]
    for each in (first, second):
        assert each.admission.once([job]) == [job]
        recover.look(each)
        assert each.admission.once([job]) == []


def test_an_incident_lasts_until_a_living_worker_whose_journal_was_forgotten_can_have_noticed_it(
    process_on: Open,
) -> None:
    """Its row is among the missing commits: nothing tells the others that its journal is not replayed yet."""
    first, forgotten = process_on("a"), process_on("b")
    for each in (first, forgotten):
        each.settings = each.settings.model_copy(update={"incident_seconds": 15})
    write_tick()
    assert [recover.look(each) for each in (first, forgotten)] == ["fit"] * 2
    lose_ticks()
    run("delete from evergrant.journals where id = :id", id=forgotten.journal_id)
    assert recover.look(first) == "rewound"
    assert recover.look(forgotten) == "rewound"
    run("update evergrant.installation set incident_at = incident_at - interval '15 seconds'")
    assert recover.look(first) == "fit"
    assert incidents() == 1


def test_a_worker_that_starts_after_an_incident_does_not_begin_it_anew(process_on: Open) -> None:
    gone = process_on("a")
    write_tick()
    recover.look(gone)
    gone.journal.close()
    lose_ticks()
    for _ in range(2):
        assert recover.look(process_on("a"), thoroughly=True) == "fit"
    assert incidents() == 1


def test_a_tick_that_was_put_back_is_missed_again_after_another_restore(process_on: Open) -> None:
    runtime = process_on("a")
    write_tick()
    recover.look(runtime)
    for number in (1, 2):
        lose_ticks()
        assert recover.look(runtime) == "fit"
        assert incidents() == number
    with transaction() as connection:
        assert installation.state(connection, "test") == "fit"


def test_a_worker_that_is_killed_while_it_recovers_leaves_the_next_one_less_to_replay(
    process_on: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is killed as often as a replay of all journals takes would begin for ever, and nothing ever sent."""
    gone = [process_on("a") for _ in range(3)]
    write_tick()
    for each in gone:
        recover.look(each)
        each.journal.close()
    killed = process_on("a")
    lose_ticks()
    monkeypatch.setattr(killed.journal, "entries", kill)  # its own comes last
    with pytest.raises(Killed):
        recover.look(killed)
    killed.journal.close()
    left = killed.journal_id, (after := process_on("a")).journal_id
    with capture_logs() as lines:
        assert recover.look(after) == "fit"
    assert [line["journal_id"] for line in lines if line["event"] == "recover.replayed"] == [*left]


def test_an_incident_waits_for_the_process_that_replays_its_disk_though_its_row_is_missing(
    process_on: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, slow = process_on("a"), process_on("b")
    write_tick()
    for each in (first, slow):
        recover.look(each)
    lose_ticks()
    run("delete from evergrant.journals where id = :id", id=slow.journal_id)
    monkeypatch.setattr(slow.journal, "entries", kill)
    with pytest.raises(Killed):
        recover.look(slow)
    assert recover.look(first) == "rewound"
    monkeypatch.undo()
    assert [recover.look(each) for each in (slow, first)] == ["fit"] * 2


def test_a_worker_that_stops_in_an_incident_is_waited_for_until_its_journal_was_replayed(process_on: Open) -> None:
    """What it calls settled is among the missing commits: drained, nobody would wait for it."""
    first, stopped = process_on("a"), process_on("b")
    write_tick()
    for each in (first, stopped):
        recover.look(each)
    lose_ticks()
    assert recover.look(first) == "rewound"
    stopped.close()
    assert recover.look(first) == "rewound"
    assert stopped.journal_id in undrained()
    assert [recover.look(each) for each in (process_on("b"), first)] == ["fit"] * 2
    assert stopped.journal_id not in undrained()
