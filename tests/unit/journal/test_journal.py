import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sealing.vault import KeyMissing, KeyRing, Vault
from tasks.journal import (
    End,
    Entry,
    Journal,
    JournalBroken,
    Kept,
    Position,
    Sizes,
    Tick,
    replay,
    take_over,
)
from tasks.journal.entry import decode_entry, encode_entry
from tasks.journal.replay import grouped

MakeEntry = Callable[..., Entry]


class ClockLike(Protocol):
    def forward(self, **delta: float) -> None: ...


NOON = datetime(2025, 11, 24, 12, tzinfo=UTC)


def test_an_answer_is_read_back_as_it_came(journal: Journal, an_entry: MakeEntry) -> None:
    entry = an_entry(1, body=bytes(range(256)), status=207, kind="exchange", generation=0, labels={})
    [position] = journal.append([entry])
    assert list(journal.unsettled()) == [Kept(position, entry, settled=False)]


def test_what_is_marked_settled_is_kept_and_no_longer_unsettled(journal: Journal, an_entry: MakeEntry) -> None:
    positions = journal.append([an_entry(n) for n in range(3)])
    journal.mark_settled(positions[:2])
    assert [kept.entry.ref for kept in journal.unsettled()] == ["customer-2"]
    assert [kept.settled for kept in journal.entries()] == [True, True, False]


def test_nothing_to_append_and_nothing_to_mark_touches_no_disk(journal: Journal) -> None:
    assert journal.append([]) == []
    journal.mark_settled([])
    assert sorted(path.name for path in journal.folder.iterdir()) == ["lock"]


def test_another_process_sees_the_same_after_the_first_is_gone(
    journal: Journal, folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    positions = journal.append([an_entry(n) for n in range(5)])
    journal.mark_settled([positions[0], positions[3]])
    before = list(journal.entries())
    journal.close()
    taken = take_over(folder, 7, vault=vault)
    assert list(taken.entries()) == before
    assert [kept.position for kept in taken.unsettled()] == [positions[1], positions[2], positions[4]]
    taken.mark_settled([positions[1]])
    taken.close()
    again = take_over(folder, 7, vault=vault)
    assert [kept.position for kept in again.unsettled()] == [positions[2], positions[4]]
    again.close()


def test_unsettled_answers_come_in_order_of_generation(journal: Journal, an_entry: MakeEntry) -> None:
    journal.append([an_entry(1, generation=g) for g in (5, 3, 4)])
    assert [kept.entry.generation for kept in journal.unsettled()] == [3, 4, 5]
    assert [kept.entry.generation for kept in journal.entries()] == [3, 4, 5]


def test_only_what_came_since_is_read_again(journal: Journal, an_entry: MakeEntry) -> None:
    journal.append([an_entry(1, received_at=NOON), an_entry(2, received_at=NOON + timedelta(hours=1))])
    since = NOON + timedelta(minutes=30)
    assert [kept.entry.ref for kept in journal.entries(since)] == ["customer-2"]


def test_ends_and_ticks_are_read_back(journal: Journal, folder: Path, vault: Vault, an_entry: MakeEntry) -> None:
    end = End(grant_id="g", ended_at=NOON, revocation_id=4, evidence="verified")
    journal.append([an_entry()])
    journal.note_end(end)
    journal.note_tick("5d1", NOON)
    journal.close()
    taken = take_over(folder, 7, vault=vault)
    assert list(taken.ends()) == [end]
    assert list(taken.ticks()) == [Tick(tick_id="5d1", seen_at=NOON)]
    assert len(list(taken.entries())) == 1
    taken.close()


def test_no_secret_is_in_any_file_in_plain_text(journal: Journal, an_entry: MakeEntry) -> None:
    secret = b"rt-very-secret-indeed"
    positions = journal.append([an_entry(n, body=secret * 3, ref="customer-hidden") for n in range(20)])
    journal.mark_settled(positions)
    journal.note_end(End(grant_id="customer-hidden", ended_at=NOON))
    journal.close(drained=True)
    files = [path for path in journal.folder.rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        data = path.read_bytes()
        assert secret not in data
        assert b"customer-hidden" not in data


def test_no_repr_holds_the_answer(journal: Journal, an_entry: MakeEntry) -> None:
    journal.append([an_entry(1)])
    for kept in journal.unsettled():
        assert "rt-1" in kept.entry.body.decode()
        assert "rt-1" not in repr(kept)


def test_files_are_for_their_owner_alone(journal: Journal, an_entry: MakeEntry) -> None:
    journal.append([an_entry()])
    assert journal.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in journal.folder.iterdir()} == {0o600}


def segments(journal: Journal) -> list[str]:
    return sorted(path.name for path in journal.folder.glob("*.log"))


def test_a_new_segment_begins_every_hour_with_a_key_of_its_own(
    journal: Journal, an_entry: MakeEntry, clock: ClockLike
) -> None:
    journal.append([an_entry(1)])
    clock.forward(minutes=59)
    journal.append([an_entry(2)])
    assert segments(journal) == ["00000001.log"]
    clock.forward(minutes=1)
    [position] = journal.append([an_entry(3)])
    assert position.segment == 2
    assert (journal.folder / "00000001.log").stat().st_size < 2000  # room that was not used is given back
    keys = {path.read_bytes() for path in journal.folder.glob("*.key")}
    assert len(keys) == 2
    assert [kept.entry.ref for kept in journal.entries()] == ["customer-1", "customer-2", "customer-3"]


def test_a_clock_that_jumps_back_does_not_stop_new_segments(
    journal: Journal, an_entry: MakeEntry, clock: ClockLike
) -> None:
    journal.append([an_entry(1)])
    clock.forward(hours=-1)
    assert journal.append([an_entry(2)])[0].segment == 2


def test_a_new_segment_begins_when_one_is_full(folder: Path, vault: Vault, an_entry: MakeEntry) -> None:
    journal = Journal.open(folder, 1, vault=vault, sizes=Sizes(reserve=4096, segment=20_000))
    for number in range(60):
        journal.mark_settled(journal.append([an_entry(number, body=bytes(1000))])[: number % 2])
    sizes = [path.stat().st_size for path in sorted(journal.folder.glob("*.log"))]
    assert len(sizes) == 5
    assert all(size < 22_000 for size in sizes[:-1])
    assert [kept.entry.ref for kept in journal.entries()] == [f"customer-{n}" for n in range(60)]
    assert len(list(journal.unsettled())) == 30
    journal.close()


def test_room_that_was_reserved_is_given_back(journal: Journal, an_entry: MakeEntry) -> None:
    journal.append([an_entry()])
    [log] = journal.folder.glob("*.log")
    assert log.stat().st_size == 8 << 20
    journal.close()
    assert log.stat().st_size < 1000


def test_many_threads_append_and_settle_and_nothing_is_lost_or_mixed(
    folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    journal = Journal.open(folder, 1, vault=vault, sizes=Sizes(reserve=1 << 13, segment=1 << 13))
    wrong: list[str] = []
    placed: dict[Position, str] = {}

    def work(thread: int) -> None:
        for turn in range(40):
            entries = [an_entry(thread * 1000 + turn * 3 + n) for n in range(1 + turn % 3)]
            positions = journal.append(entries)
            placed.update(zip(positions, (entry.ref for entry in entries), strict=True))
            journal.mark_settled(positions[1:])
            if journal.check_writable():
                wrong.append("not writable")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert {kept.position: kept.entry.ref for kept in journal.entries()} == placed
    assert len(list(journal.unsettled())) == 12 * 40
    assert len(segments(journal)) > 1
    journal.close()


def test_a_journal_is_read_while_others_write(folder: Path, vault: Vault, an_entry: MakeEntry) -> None:
    journal = Journal.open(folder, 1, vault=vault, sizes=Sizes(reserve=1 << 14, segment=1 << 14))
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            journal.append([an_entry(number)])
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    try:
        for _ in range(20):
            refs = [kept.entry.ref for kept in journal.entries()]
            assert refs == [f"customer-{n}" for n in range(len(refs))]
            assert len(refs) >= seen
            seen = len(refs)
    finally:
        stop.set()
        writer.join()
    journal.close()


def test_a_closed_journal_takes_nothing_and_says_so(journal: Journal, an_entry: MakeEntry) -> None:
    journal.append([an_entry()])
    journal.close()
    assert journal.check_writable() == "it was closed"
    with pytest.raises(JournalBroken, match="it was closed"):
        journal.append([an_entry()])
    journal.mark_settled([Position(7, 1, 0)])
    journal.note_tick("t", NOON)


def test_a_journal_with_an_unsettled_answer_is_never_marked_drained(journal: Journal, an_entry: MakeEntry) -> None:
    journal.append([an_entry()])
    assert journal.close(drained=True) is False
    assert not (journal.folder / "drained").exists()


def test_replay_settles_in_groups_that_hold_a_grant_once(journal: Journal, an_entry: MakeEntry) -> None:
    journal.append([an_entry(1, generation=g) for g in (2, 1)] + [an_entry(n) for n in range(2, 6)])
    groups: list[list[tuple[str, int]]] = []

    def settle(kept: Sequence[Kept]) -> set[Position]:
        groups.append([(item.entry.ref, item.entry.generation) for item in kept])
        return {item.position for item in kept}

    result = replay(journal, settle, group=10)
    assert (result.settled, result.left, result.drained) == (6, 0, True)
    assert [len(group) for group in groups] == [5, 1]
    assert groups[-1] == [("customer-1", 2)]
    assert list(journal.unsettled()) == []


def test_replay_leaves_what_was_not_settled(journal: Journal, an_entry: MakeEntry) -> None:
    positions = journal.append([an_entry(n) for n in range(4)])
    result = replay(journal, lambda _: positions[:3])
    assert (result.settled, result.left, result.drained) == (3, 1, False)
    assert [kept.position for kept in journal.unsettled()] == [positions[3]]


def test_a_replay_of_everything_hands_over_settled_answers_too(journal: Journal, an_entry: MakeEntry) -> None:
    positions = journal.append([an_entry(n) for n in range(4)])
    journal.mark_settled(positions[:2])
    flags: list[bool] = []

    def settle(kept: Sequence[Kept]) -> list[Position]:
        flags.extend(item.settled for item in kept)
        return [item.position for item in kept]

    replay(journal, settle, everything=True)
    assert flags == [True, True, False, False]


def test_a_journal_whose_ring_key_is_missing_stays_as_it_is(
    journal: Journal, folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    [position] = journal.append([an_entry()])
    journal.close()
    other = Vault(KeyRing.parse(KeyRing.generate_line("k2")), None)
    with pytest.raises(KeyMissing):
        take_over(folder, 7, vault=other)
    taken = take_over(folder, 7, vault=vault)
    assert [kept.position for kept in taken.unsettled()] == [position]
    taken.close()


@given(
    st.binary(),
    st.dictionaries(st.text(), st.lists(st.text())),
    st.text(),
    st.integers(0, 2**62),
    st.datetimes(timezones=st.just(UTC)),
)
def test_any_entry_survives_encoding(
    body: bytes, labels: dict[str, list[str]], ref: str, generation: int, at: datetime
) -> None:
    entry = Entry(
        kind="exchange",
        grant_id="g",
        client=ref,
        ref=ref,
        labels=labels,
        generation=generation,
        fingerprint=body,
        credentials_no=generation,
        started_at=at,
        received_at=at,
        status=200,
        body=body,
    )
    assert decode_entry(encode_entry(entry)) == entry


@given(st.lists(st.integers(0, 5)), st.integers(1, 4))
def test_grouping_keeps_order_and_every_entry(numbers: list[int], size: int) -> None:
    kept = [
        Kept(Position(1, 1, place), _entry_of(f"g{number}", place), settled=False)
        for place, number in enumerate(numbers)
    ]
    groups = list(grouped(kept, size))
    assert [item for group in groups for item in group] == kept
    for group in groups:
        assert 0 < len(group) <= size
        assert len({item.entry.grant_id for item in group}) == len(group)


def _entry_of(grant_id: str, generation: int) -> Entry:
    return Entry(
        kind="refresh",
        grant_id=grant_id,
        client="c",
        ref="r",
        labels={},
        generation=generation,
        fingerprint=b"",
        credentials_no=1,
        started_at=NOON,
        received_at=NOON,
        status=200,
        body=b"",
    )
