"""A journal belongs to whoever holds the flock of its folder, and to nobody once that process is gone."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from tasks.journal.disk import sync_folder
from tasks.journal.errors import JournalHeld, JournalUnknown
from tasks.journal.names import LOCK


class FolderLock:
    """Holds a journal's folder from `make` or `take` until `release` or the end of the process."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    @classmethod
    def make(cls, folder: Path, journal_id: int) -> "FolderLock":
        """Hold a folder that may be new.

        Raises:
            JournalHeld: another process holds it.

        """
        made = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if made:
            sync_folder(folder.parent)
        if (folder / LOCK).exists():
            return cls.take(folder, journal_id)
        # Locked before it gets its name: who looks for journals without an owner must not find this one.
        fresh = folder / f"{LOCK}.{os.getpid()}"
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            os.link(fresh, folder / LOCK)
        except FileExistsError:
            os.close(fd)
            return cls.take(folder, journal_id)
        finally:
            fresh.unlink()
        return cls._signed(fd)

    @classmethod
    def take(cls, folder: Path, journal_id: int) -> "FolderLock":
        """Hold a folder that exists and that nobody holds.

        Raises:
            JournalHeld: another process holds it.
            JournalUnknown: it does not exist, or was deleted just now.

        """
        try:
            fd = os.open(folder / LOCK, os.O_RDWR)
        except FileNotFoundError:
            raise JournalUnknown(journal_id, folder.parent) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise JournalHeld(journal_id, holder) from None
        if os.fstat(fd).st_nlink == 0:
            os.close(fd)
            raise JournalUnknown(journal_id, folder.parent)
        return cls._signed(fd)

    @classmethod
    def _signed(cls, fd: int) -> "FolderLock":
        # Only for the message of who comes second; on a full disk the lock holds without it.
        with suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return cls(fd)

    def release(self) -> None:
        """Let others have it; again does nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
