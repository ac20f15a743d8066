"""Journals on this disk whose process is gone: find them, take them over, delete what is drained and old."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from models.sealing.vault import SealBroken, Vault, VaultError, key_id
from tasks.journal.disk import sync_folder
from tasks.journal.errors import JournalHeld, JournalUnknown
from tasks.journal.journal import Journal
from tasks.journal.lock import FolderLock
from tasks.journal.names import DRAINED, LOCK, journals_in
from tasks.journal.segment import finish_shredding, log_path, numbers, reason_of, shred

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A journal that no process holds; `drained` is what its last holder left on this disk.

    `shut`: why the system does not let it be opened.
    """

    journal_id: int
    drained: bool
    shut: str | None = None


def journal_ids(folder: Path) -> list[int]:
    """Every journal on this disk; a new one must get a number above them all (a restored sequence would not)."""
    return journals_in(folder)


def left_behind(folder: Path) -> list[LeftBehind]:
    """Journals that no process holds: those of killed workers, and those that were closed."""
    found: list[LeftBehind] = []
    for journal_id in journal_ids(folder):
        own = folder / str(journal_id)
        try:
            FolderLock.take(own, journal_id).release()
            found.append(LeftBehind(journal_id, (own / DRAINED).exists()))
        except (JournalHeld, JournalUnknown):
            continue
        except OSError as error:
            found.append(LeftBehind(journal_id, drained=False, shut=reason_of(error)))
    return found


def take_over(folder: Path, journal_id: int, *, vault: Vault, quiet: bool = False) -> Journal:
    """Hold a journal whose process is gone, to replay it and mark what was settled.

    `quiet`: what of it cannot be read was told before.

    Raises:
        OSError: the system does not let it be opened.
        JournalHeld: a process holds it.
        JournalUnknown: it is not on this disk.
        KeyMissing: the ring lacks a key it is sealed with; it stays as it is.

    """
    own = folder / str(journal_id)
    lock = FolderLock.take(own, journal_id)
    try:
        return Journal(own, journal_id, lock, vault=vault, quiet=quiet)
    except (OSError, VaultError):
        lock.release()
        raise


def ring_keys_in_use(folder: Path) -> set[str]:
    """Ids of the ring keys that some journal on this disk cannot be opened without: they must not be retired."""
    found: set[str] = set()
    for journal_id in journals_in(folder):
        for path in (folder / str(journal_id)).glob("[0-9]*.key"):
            with suppress(SealBroken, OSError):  # one that cannot be read says of no key that it is needed
                found.add(key_id(path.read_bytes()))
    return found


def delete_drained(folder: Path, *, before: datetime) -> list[int]:
    """Shred what drained journals without an owner wrote before then; give those that are gone altogether."""
    drained = [found.journal_id for found in left_behind(folder) if found.drained]
    gone = [journal_id for journal_id in drained if _delete_old(folder / str(journal_id), journal_id, before)]
    if gone:
        sync_folder(folder)
    return gone


def _delete_old(own: Path, journal_id: int, before: datetime) -> bool:
    try:
        lock = FolderLock.take(own, journal_id)
    except (JournalHeld, JournalUnknown, OSError):
        return False
    try:
        finish_shredding(own)
        for number in numbers(own):
            if log_path(own, number).stat().st_mtime >= before.timestamp():
                return False
            shred(own, number)
        if (own / DRAINED).stat().st_mtime >= before.timestamp():
            return False
        # The lock's name goes first: who opened it meanwhile finds that it has no name and turns away.
        (own / LOCK).unlink()
        shutil.rmtree(own)
    except OSError:
        log.exception("journal.delete_failed", journal_id=journal_id)
        return False
    finally:
        lock.release()
    return True
