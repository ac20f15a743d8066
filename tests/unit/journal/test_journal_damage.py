import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from models.sealing.vault import KeyMissing, KeyRing, Vault
from tasks.journal import Entry, Journal, Replayed, Sizes, delete_drained, drain_held, journal_ids, take_over
from tasks.journal.frames import Damage, Frame, RecordKind, frame, scan

MakeEntry = Callable[..., Entry]
EVERY_KIND = list(RecordKind)


@pytest.fixture
def closed(folder: Path, vault: Vault, an_entry: MakeEntry) -> Path:
    """A journal of two segments with five answers, the last of them in the second."""
    journal = Journal.open(folder, 1, vault=vault, sizes=Sizes(reserve=100, segment=1500))
    for number in range(5):
        journal.append([an_entry(number)])
    journal.close()
    own = folder / "1"
    assert sorted(path.name for path in own.glob("*.log")) == ["00000001.log", "00000002.log"]
    return own


def refs(own: Path, vault: Vault) -> list[str]:
    journal = take_over(own.parent, 1, vault=vault)
    found = [kept.entry.ref.removeprefix("customer-") for kept in journal.entries()]
    assert [kept.position for kept in journal.unsettled()] == sorted(kept.position for kept in journal.entries())
    journal.close()
    return found


def split(own: Path) -> tuple[list[str], list[str]]:
    """The answers that a journal's two segments hold, by how long the first is."""
    first = sum(isinstance(found, Frame) for found in scan((own / "00000001.log").read_bytes()))
    return [str(n) for n in range(first)], [str(n) for n in range(first, 5)]


def test_a_last_record_cut_at_any_byte_costs_only_itself(closed: Path, vault: Vault) -> None:
    log = closed / "00000002.log"
    data = log.read_bytes()
    *whole, last = [found for found in scan(data) if isinstance(found, Frame)]
    first, second = split(closed)
    for length in range(last.offset, len(data)):
        log.write_bytes(data[:length])
        with capture_logs() as logs:
            assert refs(closed, vault) == first + second[: len(whole)]
        torn = [entry for entry in logs if entry["event"] == "journal.record_damaged"]
        assert all(entry["torn_tail"] for entry in torn)
        assert bool(torn) == (length > last.offset)


def test_a_tail_that_never_reached_the_platter_reads_as_zeros_and_costs_only_itself(closed: Path, vault: Vault) -> None:
    log = closed / "00000001.log"
    data = log.read_bytes()
    last = [found for found in scan(data) if isinstance(found, Frame)][-1]
    first, second = split(closed)
    written = len(data.rstrip(b"\0"))  # what ends in zeros of its own (one in 256) has lost nothing there
    for length in range(last.offset, written, 7):
        log.write_bytes(data[:length] + bytes(len(data) - length + 5000))
        assert refs(closed, vault) == first[:-1] + second


def test_room_that_was_never_used_is_no_damage(closed: Path, vault: Vault) -> None:
    log = closed / "00000001.log"
    log.write_bytes(log.read_bytes() + bytes(100_000))
    with capture_logs() as logs:
        assert len(refs(closed, vault)) == 5
    assert logs == []


def test_a_flipped_bit_costs_one_answer_and_hides_no_other(closed: Path, vault: Vault) -> None:
    log = closed / "00000001.log"
    data = log.read_bytes()
    frames = [found for found in scan(data) if isinstance(found, Frame)]
    everything = ["0", "1", "2", "3", "4"]
    for index in range(0, len(data) * 8, 37):
        damaged = bytearray(data)
        damaged[index // 8] ^= 1 << index % 8
        log.write_bytes(damaged)
        hit = next(n for n, found in enumerate(frames) if index // 8 < found.end)
        with capture_logs() as logs:
            assert refs(closed, vault) == [ref for ref in everything if ref != str(hit)]
        assert {entry["offset"] for entry in logs} == {frames[hit].offset}


def test_a_segment_of_noise_hides_no_other(closed: Path, vault: Vault) -> None:
    _, second = split(closed)
    (closed / "00000001.log").write_bytes(b"\xe5EG\x01" * 1000)
    assert refs(closed, vault) == second


def test_a_record_moved_within_the_journal_is_not_believed(closed: Path, vault: Vault) -> None:
    log = closed / "00000001.log"
    data = log.read_bytes()
    first = next(found for found in scan(data) if isinstance(found, Frame))
    log.write_bytes(data + data[: first.end])
    assert refs(closed, vault) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"\x01\x02k1 noise")])
def test_a_segment_whose_key_is_gone_or_damaged_is_told_and_hides_no_other(
    closed: Path, vault: Vault, change: Callable[[Path], object]
) -> None:
    _, second = split(closed)
    change(closed / "00000001.key")
    with capture_logs() as logs:
        assert refs(closed, vault) == second
    assert {(entry["event"], entry["segment"]) for entry in logs} == {("journal.segment_without_key", 1)}


def test_a_missing_ring_key_is_no_damage_and_destroys_nothing(closed: Path) -> None:
    before = {path.name: path.read_bytes() for path in closed.iterdir() if path.name != "lock"}
    other = Vault(KeyRing.parse(KeyRing.generate_line("k2")), None)
    with capture_logs() as logs, pytest.raises(KeyMissing, match="'k1'"):
        take_over(closed.parent, 1, vault=other)
    assert logs == []
    assert {path.name: path.read_bytes() for path in closed.iterdir() if path.name != "lock"} == before


def test_a_segment_copied_over_another_does_not_open(closed: Path, vault: Vault) -> None:
    _, second = split(closed)
    shutil.copy(closed / "00000002.log", closed / "00000001.log")
    assert refs(closed, vault) == second


def drained(own: Path, vault: Vault) -> Replayed:
    """What a neighbour makes of it at its next look; everything that can be read settles well."""
    recorded: list[int] = []
    (result,) = drain_held(own.parent, lambda kept: [each.position for each in kept], recorded.append, vault=vault)
    assert (recorded == [1], (own / "drained").exists()) == (result.drained, result.drained)
    return result


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 if data[at] != 1 else 2  # no zero: at the end that is what a killed writer leaves
    path.write_bytes(data)


def last_of(own: Path) -> int:
    """Where the last record begins."""
    return [found for found in scan((own / "00000002.log").read_bytes()) if isinstance(found, Frame)][-1].offset


def a_folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte": (lambda own: flip(own / "00000001.log", 60), "segment 1 is damaged at byte 0"),
    "a flipped byte of the last record": (
        lambda own: flip(own / "00000002.log", -1),
        "segment 2 is damaged at byte",
    ),
    "a flipped byte of its head": (
        lambda own: flip(own / "00000002.log", last_of(own)),
        "segment 2 is damaged at byte",
    ),
    "a first segment that is cut": (
        lambda own: os.truncate(own / "00000001.log", 700),
        "segment 1 is cut short at byte",
    ),
    "a segment that is a folder": (
        lambda own: a_folder_instead(own / "00000001.log"),
        "segment 1 cannot be read: Is a",
    ),
    "a key that is a folder": (lambda own: a_folder_instead(own / "00000001.key"), "segment 1 cannot be read: Is a"),
    "a key that is gone": (lambda own: (own / "00000001.key").unlink(), "the key of segment 1 is gone or damaged"),
    "a lock that is a folder": (lambda own: a_folder_instead(own / "lock"), "it cannot be opened: Is a directory"),
}


@pytest.mark.parametrize(("spoil", "told"), SPOILT.values(), ids=SPOILT)
def test_a_journal_that_cannot_be_read_to_its_end_is_damaged_and_not_drained(
    closed: Path, vault: Vault, spoil: Callable[[Path], object], told: str
) -> None:
    spoil(closed)
    for _ in range(2):  # nor is it at the look after, when a further segment holds the marks of the first
        assert (drained(closed, vault).damage or "").startswith(told)


@pytest.mark.parametrize("name", ["a flipped byte", "a segment that is a folder", "a key that is gone"])
def test_what_can_be_read_of_a_damaged_journal_is_settled_all_the_same(closed: Path, vault: Vault, name: str) -> None:
    first, second = split(closed)
    SPOILT[name][0](closed)
    assert drained(closed, vault).settled == (4 if name == "a flipped byte" else len(second))
    assert len(first) > 1


def test_a_journal_whose_files_are_restored_is_drained_at_the_next_look(closed: Path, vault: Vault) -> None:
    log = closed / "00000001.log"
    whole = log.read_bytes()
    flip(log, 60)
    assert not drained(closed, vault).drained
    log.write_bytes(whole)
    result = drained(closed, vault)
    assert (result.drained, result.settled) == (True, 1)


def test_a_torn_tail_is_no_damage_neither_before_nor_after_somebody_has_written_behind_it(
    closed: Path, vault: Vault
) -> None:
    log = closed / "00000002.log"
    os.truncate(log, len(log.read_bytes()) - 3)
    refused = drain_held(closed.parent, lambda kept: [kept[0].position], lambda _: None, vault=vault)
    assert [(each.damage, each.drained) for each in refused] == [(None, False)]
    assert [path.name for path in sorted(closed.glob("*.log"))] == [f"0000000{n}.log" for n in (1, 2, 3)]
    assert drained(closed, vault).damage is None


def test_a_key_that_is_not_in_the_ring_is_told_and_once_it_is_back_the_journal_is_drained(
    closed: Path, vault: Vault
) -> None:
    other = Vault(KeyRing.parse(KeyRing.generate_line("k2")), None)
    assert drained(closed, other).damage == "the key ring of refresh tokens lacks k1"
    assert drained(closed, vault).drained


def test_a_journal_that_was_damaged_before_is_not_told_of_again(closed: Path, vault: Vault) -> None:
    flip(closed / "00000001.log", 60)
    drained(closed, vault)
    with capture_logs() as logs:
        drain_held(closed.parent, lambda _: [], lambda _: None, vault=vault, known={1})
    assert logs == []


STRANGE = ["1x", "01", "-1", "٣", "9" * 30, "readme", "901/1x.log", "901/1.log", "1/00000001.log~", "1/0000001.log"]


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_called_otherwise_is_left_alone_told_once_and_stops_nobody(
    closed: Path, vault: Vault, an_entry: MakeEntry, name: str
) -> None:
    strange = closed.parent / name
    strange.parent.mkdir(exist_ok=True)
    strange.write_bytes(b"somebody else's")
    with capture_logs() as logs:
        assert max(journal_ids(closed.parent)) <= 901
        assert drained(closed, vault).settled == 5
        delete_drained(closed.parent, before=datetime.now(UTC))
        assert drain_held(closed.parent, lambda _: [], lambda _: None, vault=vault) == []
        Journal.open(closed.parent, 1000, vault=vault).append([an_entry(1)])
    assert [entry["names"][0].split("/")[0] for entry in logs if entry["event"] == "journal.strange_files"] == [
        name.split("/", maxsplit=1)[0]
    ]
    assert strange.exists() or name.startswith("1/")


def test_a_shredding_that_was_interrupted_leaves_no_damage(closed: Path, vault: Vault) -> None:
    (closed / "00000001.log").rename(closed / "00000001.gone")
    (closed / "00000001.key").unlink()
    assert drained(closed, vault).damage is None


@given(st.lists(st.tuples(st.sampled_from(EVERY_KIND), st.binary(max_size=40))))
def test_every_record_is_found_again(records: list[tuple[RecordKind, bytes]]) -> None:
    data = b"".join(frame(kind, payload) for kind, payload in records)
    found = list(scan(data + bytes(50)))
    assert [(item.kind, item.payload) for item in found if isinstance(item, Frame)] == records
    assert len(found) == len(records)


@given(
    st.lists(st.binary(min_size=1, max_size=40), min_size=1),
    st.binary(min_size=1, max_size=60).filter(lambda noise: noise.strip(b"\0") != b""),
    st.data(),
)
def test_noise_between_records_hides_none(payloads: list[bytes], noise: bytes, data: st.DataObject) -> None:
    frames = [frame(RecordKind.ENTRY, payload) for payload in payloads]
    place = data.draw(st.integers(0, len(frames)))
    found = list(scan(b"".join([*frames[:place], noise, *frames[place:]])))
    assert [item.payload for item in found if isinstance(item, Frame)] == payloads
    assert sum(isinstance(item, Damage) for item in found) == 1


@given(st.binary())
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    end = 0
    for item in scan(data):
        assert item.offset >= end
        end = item.end
    assert end <= len(data)


@pytest.mark.parametrize("laid_out", [0, 4096])
def test_a_damaged_record_that_ends_with_a_zero_is_no_torn_tail(laid_out: int) -> None:
    """One in 256 does, and nobody in doubt waits for what was never written."""
    whole = frame(RecordKind.ENTRY, bytes(range(1, 200)) + b"\0")
    flipped = whole[:60] + bytes([whole[60] ^ 1]) + whole[61:] + bytes(laid_out)
    assert [found.tail for found in scan(flipped) if isinstance(found, Damage)] == [False]


@pytest.mark.parametrize("laid_out", [0, 4096])
def test_a_record_that_was_written_by_half_is_a_torn_tail(laid_out: int) -> None:
    half = frame(RecordKind.ENTRY, bytes(range(1, 200)))[:100] + bytes(laid_out)
    assert [found.tail for found in scan(half) if isinstance(found, Damage)] == [True]
