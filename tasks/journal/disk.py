"""The few calls by which a journal touches the disk; what a test or the simulation replaces to break it."""

import os
from contextlib import suppress
from pathlib import Path


class Disk:
    """A real disk."""

    def write(self, fd: int, data: bytes, offset: int) -> int:
        """Write at that byte; may write less."""
        return os.pwrite(fd, data, offset)

    def sync(self, fd: int) -> None:
        """Return when every byte is on the platter."""
        os.fdatasync(fd)

    def reserve(self, fd: int, offset: int, length: int) -> None:
        """Take room on the disk now, so that a later write needs none."""
        os.posix_fallocate(fd, offset, length)


def write_file(path: Path, data: bytes) -> None:
    """Make a new file (0600) and return when it is on the platter; a file half written is removed."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _write_all(fd, data)
        os.fsync(fd)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(fd)


def cut_file(path: Path, length: int) -> None:
    """Leave that many bytes of a file, down to the platter."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(fd, length)
        os.fsync(fd)
    finally:
        os.close(fd)


def shred_file(path: Path) -> None:
    """Overwrite a small file with zeros, down to the platter, and remove it; nothing to do if it is gone."""
    with suppress(FileNotFoundError):
        fd = os.open(path, os.O_WRONLY)
        try:
            _write_all(fd, bytes(os.fstat(fd).st_size))
            os.fsync(fd)
        finally:
            os.close(fd)
        path.unlink()


def sync_folder(path: Path) -> None:
    """Return when names made and removed in that folder are on the platter."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
