"""Files of a journal: a real one, damaged."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from models.sealing.vault import KeyMissing, KeyRing, Vault
from tasks.journal import Entry, Journal, Sizes
from tasks.journal.damage import Damages
from tasks.journal.entry import decode_entry
from tasks.journal.frames import Frame, RecordKind, scan
from tasks.journal.reading import read_segments, torn_tail
from tests.fuzz.door import Door
from tests.fuzz.spoiling import SOME_PIECE, Damage, damaged, damages

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEYS = "k1"
LOGS = ("00000001.log", "00000002.log")
FILES = (*LOGS, "00000001.key", "00000002.key")


@cache
def written() -> tuple[dict[str, bytes], Vault, dict[str, list[tuple[int, Entry]]]]:
    """The files of a journal of two segments, and of each its entries with the byte after them."""
    vault = Vault(KeyRing.parse(KeyRing.generate_line(KEYS)), None)
    entries = [entry(number) for number in range(6)]
    with tempfile.TemporaryDirectory() as place:
        journal = Journal.open(Path(place), 1, vault=vault, sizes=Sizes(reserve=100, segment=1500))
        positions = [journal.append([each])[0] for each in entries]
        journal.close()
        files = {name: (Path(place) / "1" / name).read_bytes() for name in FILES}
    ends: dict[str, list[tuple[int, Entry]]] = {name: [] for name in LOGS}
    for position, each in zip(positions, entries, strict=True):
        name = LOGS[position.segment - 1]
        frames = [found for found in scan(files[name]) if isinstance(found, Frame)]
        ends[name].append((next(found.end for found in frames if found.offset == position.offset), each))
    return files, vault, ends


def entry(number: int) -> Entry:
    return Entry(
        kind="refresh",
        grant_id=f"00000000-0000-4000-8000-{number:012}",
        client="event-temple",
        ref=f"customer-{number}",
        labels={"org": ["8f2"]},
        generation=1,
        fingerprint=b"\x02k1" + bytes(16),
        credentials_no=1,
        started_at=NOON,
        received_at=NOON,
        status=200,
        body=b'{"access_token": "at-%d", "refresh_token": "rt-%d"}' % (number, number),
    )


@cache
def pieces() -> list[bytes]:
    """Whole records of both segments: at another place none of them may be believed."""
    files, _, _ = written()
    return [
        *SOME_PIECE,
        *(
            files[name][found.offset : found.end]
            for name in LOGS
            for found in scan(files[name])
            if isinstance(found, Frame)
        ),
    ]


def check(changes: dict[str, list[Damage]]) -> None:
    """No entry that was not written, all before the first damage, and all of a segment that has none."""
    files, vault, ends = written()
    spoilt = {name: damaged(raw, changes.get(name, [])) for name, raw in files.items()}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:  # noqa: S108
        folder = Path(place)
        for name, raw in spoilt.items():
            (folder / name).write_bytes(raw)
        keys_differ = {name for name in FILES if name.endswith(".key") and spoilt[name] != files[name]}
        try:
            found = list(entries_of(folder, vault))
        except KeyMissing:
            assert keys_differ  # it names a key that the ring does not have
            return
        for number in (1, 2):
            torn_tail(folder, number)
    everything = [each for name in LOGS for _, each in ends[name]]
    assert [each for each in everything if each in found] == found  # as written, none twice, in their order
    for name in LOGS:
        if name.replace("log", "key") not in keys_differ:
            whole = first_difference(files[name], spoilt[name])
            assert all(each in found for end, each in ends[name] if end <= whole)


def entries_of(folder: Path, vault: Vault) -> Iterator[Entry]:
    for record in read_segments(folder, 1, vault, damages=Damages(1, quiet=True)):
        plain = record.open()
        if record.kind == RecordKind.ENTRY and plain is not None:
            yield decode_entry(plain)


def first_difference(one: bytes, other: bytes) -> int:
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def hits(one: str, first: list[Damage], other: str, second: list[Damage]) -> dict[str, list[Damage]]:
    return {one: first} if one == other else {one: first, other: second}


DOOR = Door(
    "journals",
    st.builds(hits, st.sampled_from(FILES), damages(pieces), st.sampled_from(FILES), damages(pieces)),
    check,
)


def test_a_damaged_journal_gives_what_was_written_and_all_of_it_that_is_whole() -> None:
    DOOR.knock()
