import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from models.sealing.vault import KeyRing, Vault
from tasks.journal import (
    Entry,
    Journal,
    JournalHeld,
    JournalUnknown,
    Kept,
    LeftBehind,
    Position,
    Replayed,
    Sizes,
    delete_drained,
    drain_held,
    journal_ids,
    left_behind,
    ring_keys_in_use,
    take_over,
)

MakeEntry = Callable[..., Entry]
ROOT = Path(__file__).parents[3]
KEYS = KeyRing.generate_line("shared")

CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from models.sealing.vault import KeyRing, Vault
from tasks.journal import Entry, Journal, Sizes

now = datetime.now(UTC)
vault = Vault(KeyRing.parse(sys.argv[2]), None)
journal = Journal.open(Path(sys.argv[1]), 1, vault=vault, sizes=Sizes(reserve=1 << 14, segment=1 << 15))
number = 0
for _ in range(200_000):
    group = [Entry(kind="refresh", grant_id=str(n), client="c", ref=str(n), labels={}, generation=1, fingerprint=b"",
                   credentials_no=1, started_at=now, received_at=now, status=200, body=b"rt" * 300)
             for n in range(number, number + 3)]
    positions = journal.append(group)
    number += 3
    print(number, flush=True)
    journal.mark_settled(positions[:1])
"""


@pytest.fixture
def vault() -> Vault:
    return Vault(KeyRing.parse(KEYS), None)


@pytest.fixture
def worker(folder: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts worker processes that append answers to journal 1 for ever."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), KEYS],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=60)


def acknowledged(process: subprocess.Popen[str], at_least: int) -> int:
    """Read until the worker has told of that many answers."""
    assert process.stdout
    number = 0
    while number < at_least:
        ready, _, _ = select.select([process.stdout], [], [], 60)
        assert ready, "the worker tells nothing"
        number = int(process.stdout.readline())
    return number


def last_acknowledged(process: subprocess.Popen[str]) -> int:
    """What a killed worker had told of at last."""
    output, _ = process.communicate(timeout=60)
    lines = [line for line in output.split("\n")[:-1] if line]
    return int(lines[-1]) if lines else 0


@pytest.mark.parametrize("at_least", [3, 30, 90, 150, 300, 600, 601, 602, 900, 1200])
def test_a_worker_killed_while_it_appends_loses_no_answer_that_it_acknowledged(
    folder: Path, vault: Vault, worker: Callable[[], subprocess.Popen[str]], at_least: int
) -> None:
    process = worker()
    told = acknowledged(process, at_least)
    process.send_signal(signal.SIGKILL)
    told = max(told, last_acknowledged(process))
    assert left_behind(folder) == [LeftBehind(1, drained=False)]
    journal = take_over(folder, 1, vault=vault)
    refs = [int(kept.entry.ref) for kept in journal.entries()]
    assert refs == list(range(len(refs)))
    assert len(refs) >= told
    unsettled = {int(kept.entry.ref) for kept in journal.unsettled()}
    assert {n for n in range(told - 3) if n % 3} <= unsettled
    assert not unsettled & set(range(0, told - 3, 3))
    journal.close()


def test_a_journal_is_one_process_s_until_that_process_is_gone(
    folder: Path, vault: Vault, worker: Callable[[], subprocess.Popen[str]]
) -> None:
    process = worker()
    acknowledged(process, 3)
    sentence = f"journal 1 is held by process {process.pid}; it drains it itself"
    with pytest.raises(JournalHeld) as error:
        Journal.open(folder, 1, vault=vault)
    assert str(error.value) == sentence
    with pytest.raises(JournalHeld):
        take_over(folder, 1, vault=vault)
    assert left_behind(folder) == []
    assert drain_held(folder, settle_all, print, vault=vault) == []
    process.kill()
    process.communicate(timeout=60)
    assert left_behind(folder) == [LeftBehind(1, drained=False)]
    take_over(folder, 1, vault=vault).close()


def test_a_stopped_process_keeps_its_journal(
    folder: Path, vault: Vault, worker: Callable[[], subprocess.Popen[str]]
) -> None:
    process = worker()
    acknowledged(process, 3)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(JournalHeld):
        take_over(folder, 1, vault=vault)
    assert left_behind(folder) == []


def test_a_journal_being_made_is_never_taken_for_one_without_an_owner(folder: Path, vault: Vault) -> None:
    folder.mkdir()
    stop = threading.Event()
    seen: list[LeftBehind] = []

    def look() -> None:
        while not stop.is_set():
            seen.extend(left_behind(folder))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        journals = [Journal.open(folder, number, vault=vault) for number in range(1, 60)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert seen == []
    for journal in journals:
        journal.close()


def test_a_journal_that_is_not_there_is_told(folder: Path, vault: Vault) -> None:
    assert left_behind(folder) == []
    assert journal_ids(folder) == []
    with pytest.raises(JournalUnknown, match="there is no journal 9 in"):
        take_over(folder, 9, vault=vault)


def settle_all(kept: Sequence[Kept]) -> list[Position]:
    return [item.position for item in kept]


def a_dead_journal(folder: Path, number: int, vault: Vault, entries: Sequence[Entry], *, settled: int = 0) -> None:
    journal = Journal.open(folder, number, vault=vault, sizes=Sizes(reserve=100, segment=1500))
    for place, entry in enumerate(entries):
        positions = journal.append([entry])
        if place < settled:
            journal.mark_settled(positions)
    journal.close()


def test_dead_journals_are_drained_recorded_and_not_drained_again(
    folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    a_dead_journal(folder, 3, vault, [an_entry(n) for n in range(6)], settled=2)
    a_dead_journal(folder, 5, vault, [])
    recorded: list[int] = []
    assert drain_held(folder, settle_all, recorded.append, vault=vault) == [
        Replayed(3, settled=4, left=0),
        Replayed(5, settled=0, left=0),
    ]
    assert recorded == [3, 5]
    assert left_behind(folder) == [LeftBehind(3, drained=True), LeftBehind(5, drained=True)]
    assert drain_held(folder, settle_all, recorded.append, vault=vault) == []
    assert journal_ids(folder) == [3, 5]


def test_after_a_restore_drained_journals_are_replayed_from_their_beginning(
    folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    a_dead_journal(folder, 3, vault, [an_entry(n) for n in range(6)], settled=6)
    drain_held(folder, settle_all, lambda _: None, vault=vault)
    flags: list[bool] = []

    def settle(kept: Sequence[Kept]) -> list[Position]:
        flags.extend(item.settled for item in kept)
        return settle_all(kept)

    assert drain_held(folder, settle, lambda _: None, vault=vault, everything=True) == [Replayed(3, settled=6, left=0)]
    assert flags == [True] * 6
    assert left_behind(folder) == [LeftBehind(3, drained=True)]


def test_a_journal_that_cannot_be_drained_keeps_no_other_from_it(
    folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    a_dead_journal(folder, 1, Vault(KeyRing.parse(KeyRing.generate_line("lost")), None), [an_entry(1)])
    a_dead_journal(folder, 2, vault, [an_entry(2)])
    a_dead_journal(folder, 3, vault, [an_entry(3)])

    def settle(kept: Sequence[Kept]) -> list[Position]:
        if kept[0].entry.ref == "customer-2":
            message = "the database is away"
            raise ConnectionError(message)
        return settle_all(kept)

    with capture_logs() as logs:
        results = drain_held(folder, settle, lambda _: None, vault=vault)
    assert results == [
        Replayed(1, settled=0, left=0, missing_key="lost", damage="the key ring of refresh tokens lacks lost"),
        Replayed(3, settled=1, left=0),
    ]
    assert not results[0].drained
    assert [entry["event"] for entry in logs] == ["journal.key_missing", "journal.drain_failed"]
    assert left_behind(folder) == [
        LeftBehind(1, drained=False),
        LeftBehind(2, drained=False),
        LeftBehind(3, drained=True),
    ]


def test_a_register_that_cannot_be_written_leaves_the_journal_undrained(
    folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    a_dead_journal(folder, 1, vault, [an_entry(1)])

    def record(_: int) -> None:
        message = "the database is away"
        raise ConnectionError(message)

    with capture_logs():
        assert drain_held(folder, settle_all, record, vault=vault) == []
    assert left_behind(folder) == [LeftBehind(1, drained=False)]
    assert drain_held(folder, settle_all, lambda _: None, vault=vault) == [Replayed(1, settled=0, left=0)]


def in_days(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_a_drained_journal_is_deleted_once_it_is_old(folder: Path, vault: Vault, an_entry: MakeEntry) -> None:
    a_dead_journal(folder, 1, vault, [an_entry(n) for n in range(6)])
    a_dead_journal(folder, 2, vault, [an_entry(1)])
    drain_held(folder, lambda kept: settle_all(kept) if len(kept) > 1 else [], lambda _: None, vault=vault)
    assert left_behind(folder) == [LeftBehind(1, drained=True), LeftBehind(2, drained=False)]
    assert delete_drained(folder, before=in_days(-1)) == []
    assert delete_drained(folder, before=in_days(1)) == [1]
    assert journal_ids(folder) == [2]


def test_a_journal_that_a_process_holds_is_not_deleted(folder: Path, vault: Vault, an_entry: MakeEntry) -> None:
    a_dead_journal(folder, 1, vault, [an_entry(1)], settled=1)
    drain_held(folder, settle_all, lambda _: None, vault=vault)
    taken = take_over(folder, 1, vault=vault)
    assert delete_drained(folder, before=in_days(1)) == []
    assert len(list(taken.entries())) == 1
    taken.close()


def test_a_journal_that_is_deleted_while_another_process_opens_it_is_gone_for_that_one(
    folder: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_dead_journal(folder, 1, vault, [])
    flock = fcntl.flock

    def late(fd: int, operation: int) -> None:
        (folder / "1" / "lock").unlink()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(JournalUnknown):
        take_over(folder, 1, vault=vault)


def test_a_drained_journal_that_is_opened_to_write_again_is_drained_no_more(
    folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    a_dead_journal(folder, 1, vault, [an_entry(1)])
    drain_held(folder, settle_all, lambda _: None, vault=vault)
    a_dead_journal(folder, 1, vault, [an_entry(2)])
    assert left_behind(folder) == [LeftBehind(1, drained=False)]


def test_ring_keys_that_a_journal_still_needs_are_named(folder: Path, vault: Vault, an_entry: MakeEntry) -> None:
    assert ring_keys_in_use(folder) == set()
    a_dead_journal(folder, 1, vault, [an_entry(1)], settled=1)
    a_dead_journal(folder, 2, Vault(KeyRing.parse(KeyRing.generate_line("old")), None), [an_entry(1)])
    assert ring_keys_in_use(folder) == {"shared", "old"}
    drain_held(folder, settle_all, lambda _: None, vault=vault)
    delete_drained(folder, before=in_days(1))
    assert ring_keys_in_use(folder) == {"old"}


def names(journal: Journal) -> list[str]:
    return sorted(path.name for path in journal.folder.iterdir())


def test_shredding_overwrites_and_removes_the_key_of_what_is_old_and_settled(
    folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    journal = Journal.open(folder, 1, vault=vault, sizes=Sizes(reserve=100, segment=1))
    for number in range(3):
        journal.mark_settled(journal.append([an_entry(number)]))
    journal.append([an_entry(9)])
    first = journal.folder / "00000001.key"
    key = first.read_bytes()
    alias = folder / "alias"
    os.link(first, alias)
    assert journal.shred(in_days(-1)) == 0
    assert journal.shred(in_days(1)) > 0
    assert alias.read_bytes() == bytes(len(key))
    assert "00000001.log" not in names(journal)
    assert "00000001.key" not in names(journal)
    assert [kept.entry.ref for kept in journal.unsettled()] == ["customer-9"]
    assert "customer-9" in [kept.entry.ref for kept in journal.entries()]
    journal.close()


def test_nothing_is_shredded_from_the_first_unsettled_answer_on(
    folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    journal = Journal.open(folder, 1, vault=vault, sizes=Sizes(reserve=100, segment=1))
    placed = [journal.append([an_entry(number)])[0] for number in range(4)]
    journal.mark_settled([placed[0], placed[2], placed[3]])
    assert journal.shred(in_days(1)) == 1
    refs = [(kept.entry.ref, kept.settled) for kept in journal.entries()]
    assert refs == [("customer-1", False), ("customer-2", True), ("customer-3", True)]
    journal.close()
    taken = take_over(folder, 1, vault=vault)
    assert [kept.position for kept in taken.unsettled()] == [placed[1]]
    taken.close()


def test_a_shredding_that_was_interrupted_is_finished_by_the_next(
    folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    journal = Journal.open(folder, 1, vault=vault, sizes=Sizes(reserve=100, segment=1))
    for number in range(2):
        journal.mark_settled(journal.append([an_entry(number)]))
    (journal.folder / "00000001.key").unlink()
    assert journal.shred(in_days(1)) > 0
    assert "00000001.log" not in names(journal)
    journal.close()


def test_a_key_without_a_segment_is_no_obstacle(folder: Path, vault: Vault, an_entry: MakeEntry) -> None:
    journal = Journal.open(folder, 1, vault=vault)
    (journal.folder / "00000001.key").write_bytes(b"")
    [position] = journal.append([an_entry()])
    assert position.segment == 2
    journal.close()
