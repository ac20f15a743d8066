"""`evergrant journals abandon`: for a disk that is gone, and for no other."""

from pathlib import Path
from typing import Any

import pytest

import settings
from models import journal as register
from models.database import transaction
from tasks.journal import Journal, left_behind
from tasks.runtime.runtime import Runtime
from tests.integration.cli.evergrant import Evergrant, use_actor

GONE = "insert into evergrant.journals (host, process, seen_at) values ('box', '7', clock_timestamp() - interval '1 h')"


@pytest.fixture
def waited_for(temple: Evergrant, sql: Any) -> int:
    """A journal of another machine, silent for an hour, that grant `a` waits for; `b` waits for another one, too."""
    temple.take_in("a", "b")
    ((number,),) = sql(GONE + " returning id")
    ((other,),) = sql(GONE + " returning id")
    for ref, journals in (("a", [number]), ("b", [number, other])):
        sql(
            "update evergrant.grants set doubt_since = clock_timestamp(), doubt_journals = :journals where ref = :ref",
            ref=ref,
            journals=journals,
        )
    return int(number)


def _waiting(sql: Any) -> dict[str, int]:
    return {ref: len(journals) for ref, journals in sql("select ref, doubt_journals from evergrant.grants")}


def test_grants_in_doubt_wait_no_longer_for_a_journal_that_is_gone(
    temple: Evergrant, waited_for: int, sql: Any
) -> None:
    use_actor("ada")
    done = temple("journals", "abandon", str(waited_for), "--yes", "--json")
    assert done.json == {"id": waited_for, "state": "abandoned", "grants_waited": 2, "abandoned_by": "ada"}
    assert _waiting(sql) == {"a": 0, "b": 1}
    assert sql("select abandoned_by from evergrant.journals where id = :id", id=waited_for) == [("ada",)]
    assert sql("select count(*) from evergrant.grants where doubt_since is null") == [(0,)]


def test_it_is_asked_first_and_done_once(temple: Evergrant, waited_for: int, sql: Any) -> None:
    asked = temple("journals", "abandon", str(waited_for), "--json")
    assert (asked.code, asked.error) == (2, "needs_yes")
    assert "2 grants in doubt wait for it" in asked.err
    assert _waiting(sql) == {"a": 1, "b": 2}
    use_actor("ada")
    temple("journals", "abandon", str(waited_for), "--yes")
    use_actor("bob")
    again = temple("journals", "abandon", str(waited_for), "--json")
    assert (again.code, again.json["abandoned_by"]) == (0, "ada")


def test_a_journal_that_was_abandoned_by_mistake_is_waited_for_again_once_its_process_is_heard_of(
    temple: Evergrant, waited_for: int, sql: Any
) -> None:
    temple("journals", "abandon", str(waited_for), "--yes")
    with transaction() as connection:
        register.see(connection, waited_for)
    assert sql("select abandoned_at, abandoned_by from evergrant.journals where id = :id", id=waited_for) == [
        (None, None)
    ]
    listed = temple("journals", "list", "--json").lines
    assert {each["id"]: each["state"] for each in listed}[waited_for] == "open"


def test_a_journal_that_is_drained_needs_nothing(temple: Evergrant, waited_for: int, sql: Any) -> None:
    sql("update evergrant.journals set drained_at = clock_timestamp()")
    done = temple("journals", "abandon", str(waited_for), "--json")
    assert (done.code, done.json["state"]) == (0, "drained")
    assert sql("select count(*) from evergrant.journals where abandoned_at is not null") == [(0,)]


def test_a_journal_whose_process_was_heard_of_lately_is_not_abandoned(
    temple: Evergrant, waited_for: int, sql: Any
) -> None:
    sql("update evergrant.journals set seen_at = clock_timestamp() - interval '20 s'")
    done = temple("journals", "abandon", str(waited_for), "--yes", "--json")
    assert (done.code, done.error) == (1, "journal_alive")
    assert _waiting(sql) == {"a": 1, "b": 2}


def test_a_journal_on_this_disk_is_not_abandoned_whether_it_is_held_or_not(
    temple: Evergrant, waited_for: int, sql: Any
) -> None:
    runtime = Runtime.open(settings.current())
    sql("update evergrant.journals set seen_at = clock_timestamp() - interval '1 h'")
    number, folder = runtime.journal_id, settings.current().home / "journals"
    assert temple("journals", "abandon", str(number), "--yes", "--json").error == "journal_alive"
    _crash(runtime.journal)
    assert [each.journal_id for each in left_behind(folder)] == [number]
    assert temple("journals", "abandon", str(number), "--yes", "--json").error == "journal_here"
    _move_away(folder / str(number))
    assert temple("journals", "abandon", str(number), "--yes", "--json").code == 0
    runtime.transport.close()


DAMAGED = "update evergrant.journals set damage = 'segment 1 is damaged at byte 0', damaged_at = clock_timestamp()"


def test_a_damaged_journal_is_shown_with_what_is_wrong_and_what_to_do(
    temple: Evergrant, waited_for: int, sql: Any
) -> None:
    sql(f"{DAMAGED} where id = :id", id=waited_for)
    found = {each["id"]: each for each in temple("journals", "list", "--json").lines}[waited_for]
    assert (found["state"], found["damage"], found["grants_waiting"]) == (
        "damaged",
        "segment 1 is damaged at byte 0",
        2,
    )
    assert found["next"] == f"mend or restore its files, or evergrant journals abandon {waited_for}"
    assert "segment 1 is damaged at byte 0" in temple("journals", "list").out
    status = temple("status", "--json")
    assert (status.code, [each["id"] for each in status.json["journals_damaged"]]) == (1, [waited_for])
    assert f"journal {waited_for} of box is damaged: segment 1 is damaged at byte 0" in {
        each["what"] for each in status.json["attention"]
    }


def test_a_damaged_journal_is_abandoned_also_on_this_disk_and_is_shown_no_more(temple: Evergrant, sql: Any) -> None:
    runtime = Runtime.open(settings.current())
    number = runtime.journal_id
    _crash(runtime.journal)
    sql(f"{DAMAGED}, seen_at = clock_timestamp() - interval '1 h'")
    asked = temple("journals", "abandon", str(number), "--json")
    assert (asked.error, "of which segment 1 is damaged at byte 0" in asked.err) == ("needs_yes", True)
    assert temple("journals", "abandon", str(number), "--yes", "--json").json["state"] == "abandoned"
    assert temple("journals", "list", "--json").lines == []
    status = temple("status", "--json").json
    assert status["journals_damaged"] == []
    assert [each for each in status["attention"] if "journal" in each["what"]] == []
    runtime.transport.close()


def _crash(journal: Journal) -> None:
    """Let the lock go without closing, as the kernel does for a process that was killed."""
    journal.close(drained=False)


def _move_away(own: Path) -> None:
    own.rename(own.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("number", "code", "error"), [("77", 4, "unknown_journal"), ("x", 2, "usage"), ("0", 2, "usage")]
)
def test_a_number_that_is_none_is_refused(temple: Evergrant, number: str, code: int, error: str) -> None:
    done = temple("journals", "abandon", number, "--yes", "--json")
    assert (done.code, done.error) == (code, error)
