"""What a process cannot do now, and what mends it: the cause is named, not the process that tells it."""

import pytest

from tasks.policy.explanation.faults import mended
from tasks.policy.explanation.order import explain
from tests.unit.policy.test_explanation import WELL, both, processes

HANGS = "the broker hangs: it takes connections and does not answer (queue:6379)"
FULL = "the broker refuses what is written to it: MISCONF Errors writing to the AOF file: No space left on device (q:1)"
OF_UP = HANGS.replace("queue:6379", "/run/valkey.sock, process 4711 of `evergrant up`")


@pytest.mark.parametrize(
    ("fault", "command", "says"),
    [
        (OF_UP, "kill -9 4711", "starts another in its place"),
        (HANGS, "evergrant doctor", "end the broker's process"),
        ("the broker cannot be reached (queue:6379)", "evergrant doctor", "start the broker"),
        (FULL, "evergrant doctor", "make room on the disk that the broker writes to"),
        ("the broker refuses what is written to it: command not allowed (queue:6379)", "evergrant doctor", "maxmemory"),
        (
            "the broker is shared with another installation: x (y; at z)",
            "evergrant doctor",
            "a database number of its own",
        ),
        ("the broker does not answer", "evergrant doctor", "start the broker"),  # as 0.1.0 says it
        ("the journal cannot be written: x (/a/journals, on the file system of /a)", "evergrant doctor", "that file"),
        ("no space left on device", "evergrant doctor", "EVERGRANT_HOME"),
    ],
)
def test_each_fault_has_its_remedy(fault: str, command: str, says: str) -> None:
    assert mended(fault).command == command
    assert says in mended(fault).remedy


def test_a_broker_that_hangs_is_the_headline_and_beat_is_not_blamed() -> None:
    told = explain(processes("beat", fault=OF_UP)(WELL))
    assert told.headline.startswith("The broker hangs")
    assert "Beat" not in told.headline
    assert (told.cause, told.command) == ("processes_cannot_work", "kill -9 4711")


def test_a_journal_that_cannot_be_written_is_told_with_its_file_system() -> None:
    fault = "the journal cannot be written: No space left on device (/srv/e/journals, on the file system of /srv)"
    told = explain(both(processes("worker", fault=fault))(WELL))
    assert "on the file system of /srv" in told.headline
    assert told.remedy == "make room on that file system, or let the worker's user write there"


def test_a_broker_that_is_shared_stops_nobody() -> None:
    shared = "the broker is shared with another installation: each takes the other's messages (production; at q:1)"
    assert explain(processes("beat", fault=shared)(WELL)).cause == "grant_is_well"


def test_a_worker_that_waits_for_the_broker_is_not_to_be_started_once_more() -> None:
    away = processes("beat", fault="the broker cannot be reached (queue:6379)")
    told = explain(both(away, processes("worker", alive=False))(WELL))
    assert told.cause == "no_worker_is_alive"
    assert told.remedy is not None
    assert told.remedy.startswith("see to the broker first")
    assert told.command == "evergrant doctor"
