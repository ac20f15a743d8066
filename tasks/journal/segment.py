"""Segment: one file of a journal, and the key that alone opens it.

Each segment has 256 random bits of key of its own, kept sealed beside it under the refresh key ring. To shred a
segment is to overwrite and remove that small file: the segment's bytes are then noise, wherever copies of them lie.
"""

import base64
import os
import threading
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.sealing.vault import NONCE_BYTES, SealBroken, Vault, new_nonce
from tasks.journal.disk import Disk, shred_file, sync_folder, write_file
from tasks.journal.frames import RecordKind, frame
from tasks.journal.names import GONE, KEY, RECORDS, last_segment, path_of, segments_in


class SegmentCipher:
    """Seals the records of one segment, each bound to its place and kind."""

    def __init__(self, key: bytes, journal_id: int, number: int) -> None:
        self._aead = AESGCM(key)
        self._place = f"journal:{journal_id}/{number}"

    def seal(self, kind: int, offset: int, plain: bytes) -> bytes:
        """Nonce, ciphertext and tag of a record that begins at that byte."""
        nonce = new_nonce()
        return nonce + self._aead.encrypt(nonce, plain, self._bound_to(kind, offset))

    def open(self, kind: int, offset: int, payload: bytes) -> bytes:
        """Open what `seal` made for that byte and kind.

        Raises:
            SealBroken: it was made for another place, or is damaged.

        """
        nonce, ciphertext = payload[:NONCE_BYTES], payload[NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, ciphertext, self._bound_to(kind, offset))
        except (InvalidTag, ValueError):
            message = f"the record at byte {offset} of {self._place} does not open"
            raise SealBroken(message) from None

    def _bound_to(self, kind: int, offset: int) -> bytes:
        return f"{self._place}:{offset}:{kind}".encode()


def log_path(folder: Path, number: int) -> Path:
    """The file of records."""
    return path_of(folder, number, RECORDS)


def key_path(folder: Path, number: int) -> Path:
    """The file of the sealed key."""
    return path_of(folder, number, KEY)


def numbers(folder: Path) -> list[int]:
    """Every segment of a journal, the oldest first."""
    return segments_in(folder)


def next_number(folder: Path) -> int:
    """A number that no segment ever had, a key without a segment (a crash in between) counted as one."""
    return last_segment(folder) + 1


def make_key(folder: Path, journal_id: int, number: int, vault: Vault) -> SegmentCipher:
    """Make a key and keep it sealed on the disk, before anything is written with it."""
    key = AESGCM.generate_key(256)
    text = base64.b64encode(key).decode("ascii")
    row_id = f"{journal_id}/{number}"
    write_file(key_path(folder, number), vault.seal(text, table="journals", row_id=row_id, purpose="journal"))
    return SegmentCipher(key, journal_id, number)


def read_key(folder: Path, journal_id: int, number: int, vault: Vault) -> SegmentCipher | None:
    """Open a segment's key; none where it is gone or damaged, and the segment is noise for ever.

    Raises:
        KeyMissing: the ring lacks the key that it is sealed with.
        OSError: it cannot be read.

    """
    row_id = f"{journal_id}/{number}"
    try:
        sealed = key_path(folder, number).read_bytes()
        text = vault.open(sealed, table="journals", row_id=row_id, purpose="journal")
    except (FileNotFoundError, SealBroken):
        return None
    return SegmentCipher(base64.b64decode(text), journal_id, number)


def shred(folder: Path, number: int) -> None:
    """Destroy the key, then the records.

    They get another name first: records without a key are damage, unless they were to lose it.
    """
    log_path(folder, number).rename(path_of(folder, number, GONE))
    sync_folder(folder)
    finish_shredding(folder)


def finish_shredding(folder: Path) -> None:
    """Destroy what was to be destroyed, also after a crash in between; safe to repeat."""
    for number in segments_in(folder, GONE):
        shred_file(key_path(folder, number))
        sync_folder(folder)
        path_of(folder, number, GONE).unlink(missing_ok=True)
        sync_folder(folder)


def reason_of(error: OSError) -> str:
    """What the system says of it."""
    return error.strerror or str(error)


class Segment:
    """The segment that a journal writes now.

    `write` is called by one thread at a time (the journal's lock); `sync` by any number: one fdatasync serves all
    that wait for it.
    """

    def __init__(self, path: Path, number: int, cipher: SegmentCipher, opened_at: datetime, disk: Disk) -> None:
        self.number = number
        self.opened_at = opened_at
        self.end = 0
        self.failed: str | None = None
        self._reserved = 0
        self._synced = 0
        self._cipher = cipher
        self._disk = disk
        self._syncing = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)

    @classmethod
    def create(
        cls, folder: Path, journal_id: int, number: int, *, vault: Vault, room: int, now: datetime, disk: Disk
    ) -> Self:
        """Make key and file and reserve the room; all of it is on the platter, or nothing of it remains.

        Raises:
            OSError: there is no room, or the disk fails.

        """
        cipher = make_key(folder, journal_id, number, vault)
        path = log_path(folder, number)
        try:
            segment = cls(path, number, cipher, now, disk)
        except OSError:
            key_path(folder, number).unlink()
            raise
        try:
            segment.reserve(room)
            os.fsync(segment._fd)
            sync_folder(folder)
        except OSError:
            os.close(segment._fd)
            path.unlink()
            key_path(folder, number).unlink()
            raise
        return segment

    @property
    def room(self) -> int:
        """Bytes that can be written without asking the disk for more."""
        return self._reserved - self.end

    def reserve(self, room: int) -> None:
        """Have at least that much room from here on.

        Raises:
            OSError: the disk has no more.

        """
        if self.room < room:
            self._disk.reserve(self._fd, self._reserved, self.end + room - self._reserved)
            self._reserved = self.end + room

    def write(self, kind: RecordKind, plains: list[bytes]) -> list[int]:
        """Append records in one write and give their places; all of them, or none.

        Raises:
            OSError: nothing was appended; where not even that is sure, `failed` says so.

        """
        places: list[int] = []
        group = bytearray()
        for plain in plains:
            place = self.end + len(group)
            places.append(place)
            group += frame(kind, self._cipher.seal(kind, place, plain))
        try:
            self._write_at(self.end, bytes(group))
        except OSError:
            self._cut_back()
            raise
        self.end += len(group)
        return places

    def sync(self, upto: int) -> None:
        """Return when every byte before `upto` is on the platter.

        Raises:
            OSError: it may not be. Linux reports a failed write-back once and then forgets the pages, so the segment
                is given up and every thread that waits is told.

        """
        with self._syncing:
            if self._synced >= upto:
                return
            if self.failed:
                raise OSError(self.failed)
            end = self.end
            try:
                self._disk.sync(self._fd)
            except OSError as error:
                self.failed = error.strerror or "the disk failed"
                raise
            self._synced = end

    def finish(self) -> None:
        """Sync, give back the room that was not used, close; nothing may be written after."""
        try:
            self.sync(self.end)
            with self._syncing:
                os.ftruncate(self._fd, self.end)
                os.fsync(self._fd)
        finally:
            os.close(self._fd)

    def _write_at(self, offset: int, data: bytes) -> None:
        while data:
            written = self._disk.write(self._fd, data, offset)
            offset, data = offset + written, data[written:]

    def _cut_back(self) -> None:
        """Take away half a group, so that the next record stands where it began."""
        try:
            os.ftruncate(self._fd, self.end)
            self._reserved = self.end
        except OSError as error:
            self.failed = error.strerror or "the disk failed"
