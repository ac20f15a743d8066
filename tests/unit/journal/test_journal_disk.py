import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
from structlog.testing import capture_logs

from models.sealing.vault import Vault
from tasks.journal import End, Entry, Journal, JournalBroken, Position, Sizes, take_over
from tasks.journal.disk import Disk
from tasks.runtime.journaling import write_down

MakeEntry = Callable[..., Entry]
ROOT = Path(__file__).parents[3]


class ClockLike(Protocol):
    def __call__(self) -> object: ...
    def forward(self, **delta: float) -> None: ...


class BadDisk(Disk):
    """A disk whose next calls fail as told."""

    def __init__(self) -> None:
        self.write_fails_after: int | None = None
        self.sync_fails = False
        self.full = False
        self.calls: list[str] = []

    def write(self, fd: int, data: bytes, offset: int) -> int:
        self.calls.append("write")
        if self.write_fails_after is None:
            return super().write(fd, data, offset)
        if self.write_fails_after == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(fd, data[: self.write_fails_after], offset)
        self.write_fails_after = 0
        return written

    def sync(self, fd: int) -> None:
        self.calls.append("sync")
        if self.sync_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(fd)

    def reserve(self, fd: int, offset: int, length: int) -> None:
        self.calls.append("reserve")
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().reserve(fd, offset, length)


@pytest.fixture
def disk() -> BadDisk:
    return BadDisk()


@pytest.fixture
def small(folder: Path, vault: Vault, clock: ClockLike, disk: BadDisk) -> Journal:
    return Journal.open(
        folder,
        1,
        vault=vault,
        clock=clock,  # type: ignore[arg-type]
        disk=disk,
        sizes=Sizes(reserve=4000, segment=1 << 20),
    )


def refs(journal: Journal) -> list[str]:
    return [kept.entry.ref for kept in journal.entries()]


def test_a_group_costs_one_write_and_one_sync(small: Journal, disk: BadDisk, an_entry: MakeEntry) -> None:
    small.check_writable()
    disk.calls.clear()
    small.append([an_entry(n) for n in range(5)])
    assert disk.calls == ["write", "sync"]


def test_a_mark_and_a_tick_cost_no_sync(small: Journal, disk: BadDisk, an_entry: MakeEntry) -> None:
    positions = small.append([an_entry()])
    disk.calls.clear()
    small.mark_settled(positions)
    small.note_tick("t1", an_entry().started_at)
    assert disk.calls == ["write", "write"]


def test_a_tick_reaches_the_platter_within_seconds(
    small: Journal, disk: BadDisk, an_entry: MakeEntry, clock: ClockLike
) -> None:
    small.append([an_entry()])
    disk.calls.clear()
    clock.forward(seconds=6)
    small.note_tick("t1", an_entry().started_at)
    assert disk.calls == ["write", "sync"]


def test_an_end_is_synced(small: Journal, disk: BadDisk, an_entry: MakeEntry) -> None:
    small.append([an_entry()])
    disk.calls.clear()
    small.note_end(End(grant_id="g", ended_at=an_entry().started_at))
    assert disk.calls == ["write", "sync"]


def test_what_an_old_segment_still_holds_is_synced_before_it_is_left(
    small: Journal, disk: BadDisk, clock: ClockLike, an_entry: MakeEntry
) -> None:
    small.mark_settled(small.append([an_entry()]))
    clock.forward(hours=2)
    disk.calls.clear()
    small.append([an_entry()])
    assert disk.calls == ["reserve", "sync", "write", "sync"]
    small.close()


def test_a_new_segment_is_whole_on_the_platter_with_key_and_names_before_it_is_used(
    small: Journal, an_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", record)
    small.append([an_entry()])
    assert synced == ["00000001.key", "00000001.log", "1"]
    small.close()


def test_threads_that_wait_share_a_sync(folder: Path, vault: Vault, an_entry: MakeEntry) -> None:
    gate = threading.Event()
    started = threading.Event()

    class SlowDisk(BadDisk):
        def sync(self, fd: int) -> None:
            super().sync(fd)
            started.set()
            gate.wait(30)

    disk = SlowDisk()
    journal = Journal.open(folder, 1, vault=vault, disk=disk)
    threads = [threading.Thread(target=journal.append, args=([an_entry(n)],)) for n in range(9)]
    threads[0].start()
    assert started.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(journal._unsettled) < 9:
        threading.Event().wait(0.001)
    gate.set()
    for thread in threads:
        thread.join()
    assert disk.calls.count("sync") == 2
    assert len(refs(journal)) == 9
    journal.close()


class PlatterDisk(Disk):
    """Remembers of each file what was in it at its last sync: all that a power cut would leave."""

    def __init__(self) -> None:
        self.platter: dict[str, bytes] = {}

    def sync(self, fd: int) -> None:
        length = os.fstat(fd).st_size
        data = os.pread(fd, length, 0)
        super().sync(fd)
        self.platter[Path(f"/proc/self/fd/{fd}").readlink().name] = data


def test_what_append_returned_for_outlives_a_power_cut_at_any_moment(
    folder: Path, tmp_path: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    disk = PlatterDisk()
    journal = Journal.open(folder, 1, vault=vault, disk=disk, sizes=Sizes(reserve=1 << 12, segment=1 << 14))
    appended: set[Position] = set()
    stop = threading.Event()
    room = threading.Semaphore(0)  # where a sync costs nothing, as in memory, a cut would never have read all of it

    def work(thread: int) -> None:
        number = thread * 100_000
        while room.acquire() and not stop.is_set():
            appended.update(journal.append([an_entry(number), an_entry(number + 1)]))
            number += 2

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for cut in range(15):
            room.release(100)
            while len(appended) < cut * 20:
                threading.Event().wait(0.001)
            promised = set(appended.copy())
            platter = dict(disk.platter)
            copy = tmp_path / f"cut-{cut}" / "1"
            shutil.copytree(journal.folder, copy)
            for log in copy.glob("*.log"):
                log.write_bytes(platter.get(log.name, b""))
            taken = take_over(copy.parent, 1, vault=vault)
            assert promised <= {kept.position for kept in taken.unsettled()}
            taken.close()
    finally:
        stop.set()
        room.release(len(threads))
        for thread in threads:
            thread.join()
    journal.close()


@pytest.mark.parametrize("written", [0, 1, 5, 17, 300, 500, 900])
def test_a_group_that_fails_half_way_leaves_nothing_that_hides_what_follows(
    small: Journal, disk: BadDisk, vault: Vault, an_entry: MakeEntry, written: int
) -> None:
    small.append([an_entry(1)])
    disk.write_fails_after = written
    with pytest.raises(JournalBroken, match="No space left on device") as error:
        small.append([an_entry(2), an_entry(3), an_entry(4)])
    assert error.value.positions == []
    disk.write_fails_after = None
    small.append([an_entry(5)])
    killed = shutil.copytree(small.folder.parent, small.folder.parents[1] / "killed")
    for journal in (small, take_over(killed, 1, vault=vault)):
        with capture_logs() as logs:
            assert refs(journal) == ["customer-1", "customer-5"]
        assert logs == []
        assert len(list(journal.unsettled())) == 2
        journal.close()


@pytest.mark.parametrize("asked_before_sending", [True, False])
def test_a_failed_sync_gives_up_the_segment_and_names_what_may_have_reached_it(
    small: Journal, disk: BadDisk, an_entry: MakeEntry, asked_before_sending: bool
) -> None:
    small.append([an_entry(1)])
    disk.sync_fails = True
    with pytest.raises(JournalBroken, match="Input/output error") as error:
        small.append([an_entry(2)])
    assert len(error.value.positions) == 1
    disk.sync_fails = False
    if asked_before_sending:
        assert small.check_writable() is None
    [position] = small.append([an_entry(3)])
    assert position.segment == 2
    small.mark_settled(error.value.positions)
    assert [kept.entry.ref for kept in small.unsettled()] == ["customer-1", "customer-3"]
    small.close()


def test_every_thread_that_waits_is_told_of_a_failed_sync(folder: Path, vault: Vault, an_entry: MakeEntry) -> None:
    class FailsOnce(BadDisk):
        def sync(self, fd: int) -> None:
            first = "sync" not in self.calls
            super().sync(fd)
            if first:
                started.set()
                gate.wait(30)
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    gate, started = threading.Event(), threading.Event()
    disk = FailsOnce()
    journal = Journal.open(folder, 1, vault=vault, disk=disk)
    told: list[str] = []

    def append(number: int) -> None:
        try:
            journal.append([an_entry(number)])
        except JournalBroken as error:
            told.append(error.reason)

    threads = [threading.Thread(target=append, args=(n,)) for n in range(4)]
    threads[0].start()
    assert started.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(journal._unsettled) < 4:
        threading.Event().wait(0.001)
    gate.set()
    for thread in threads:
        thread.join()
    assert told == ["Input/output error"] * 4
    journal.close()


def test_a_full_disk_stops_the_sending_before_it_stops_the_writing(
    small: Journal, disk: BadDisk, an_entry: MakeEntry
) -> None:
    assert small.check_writable() is None
    disk.full = True
    sent = 0
    while small.check_writable() is None:
        small.append([an_entry(sent)])
        sent += 1
    assert small.check_writable() == "No space left on device"
    for number in range(sent, sent + 8):  # the answers of what was under way: 4000 bytes were promised
        small.append([an_entry(number)])
    assert len(refs(small)) == sent + 8
    small.close()


def test_sending_goes_on_by_itself_when_there_is_room_again(
    small: Journal, disk: BadDisk, clock: ClockLike, an_entry: MakeEntry
) -> None:
    disk.full = True
    with capture_logs() as logs:
        assert small.check_writable() == "No space left on device"
        clock.forward(seconds=2)
        assert small.check_writable() == "No space left on device"
    assert [entry["event"] for entry in logs] == ["journal.broken"]
    disk.full = False
    clock.forward(seconds=2)
    assert small.check_writable() is None
    assert small.append([an_entry()])
    small.close()


def test_what_reached_the_file_though_not_the_disk_has_a_place_and_goes_to_the_database_all_the_same(
    small: Journal, disk: BadDisk, an_entry: MakeEntry
) -> None:
    assert small.check_writable() is None
    disk.sync_fails = True
    with capture_logs() as logs:
        places = write_down(small, [an_entry(1), an_entry(2)])
    assert places == sorted(kept.position for kept in small.unsettled())
    assert "journal.broken" in [entry["event"] for entry in logs]
    small.close()


def test_what_no_journal_takes_has_no_place(small: Journal, an_entry: MakeEntry) -> None:
    small.close()
    assert write_down(small, [an_entry(1), an_entry(2)]) == [None, None]
    assert write_down(small, []) == []


def test_in_trouble_the_disk_is_tried_once_a_second_and_not_for_every_request(
    small: Journal, disk: BadDisk, clock: ClockLike
) -> None:
    disk.full = True
    for _ in range(1000):
        assert small.check_writable()
    assert disk.calls == ["reserve"]
    clock.forward(hours=-1)
    small.check_writable()
    assert disk.calls == ["reserve", "reserve"]
    assert sorted(path.name for path in small.folder.iterdir()) == ["lock"]
    small.close()


def test_while_all_is_well_the_guard_touches_no_disk(small: Journal, disk: BadDisk) -> None:
    small.check_writable()
    disk.calls.clear()
    for _ in range(1000):
        assert small.check_writable() is None
    assert disk.calls == []
    small.close()


def test_a_new_segment_that_cannot_be_made_does_not_stop_the_old_one(
    small: Journal, disk: BadDisk, clock: ClockLike, an_entry: MakeEntry
) -> None:
    small.append([an_entry(1)])
    clock.forward(hours=2)
    disk.full = True
    [position] = small.append([an_entry(2)])
    assert position.segment == 1
    disk.full = False
    clock.forward(seconds=2)
    assert small.append([an_entry(3)])[0].segment == 2
    assert refs(small) == ["customer-1", "customer-2", "customer-3"]
    small.close()


def test_marks_that_could_not_be_written_are_written_later(
    small: Journal, disk: BadDisk, folder: Path, vault: Vault, an_entry: MakeEntry
) -> None:
    positions = small.append([an_entry(n) for n in range(3)])
    disk.write_fails_after = 0
    small.mark_settled(positions[:1])
    disk.write_fails_after = None
    small.mark_settled(positions[1:2])
    small.close()
    taken = take_over(folder, 1, vault=vault)
    assert [kept.position for kept in taken.unsettled()] == positions[2:]
    taken.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, vault: Vault) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalBroken, match="Not a directory"):
        Journal.open(tmp_path / "file" / "journals", 1, vault=vault)
