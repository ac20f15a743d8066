"""Errors of a journal: it cannot be written, somebody else holds it, or nobody here knows it.

    JournalError
    ├── JournalBroken    it cannot be written now: send nothing, settle straight to the database
    ├── JournalHeld      another process holds it
    └── JournalUnknown   there is no such journal on this disk

A journal whose key ring lacks a key raises `models.sealing.vault.KeyMissing`: it stays as it is, undrained.
"""

from collections.abc import Sequence
from pathlib import Path

from tasks.journal.entry import Position


class JournalError(Exception):
    """A journal cannot be used."""

    error = "journal"
    next = "make room in EVERGRANT_HOME, or see that it can be written; nothing was sent"


class JournalBroken(JournalError):
    """The journal cannot be written; make room on the disk or see to it, sending goes on by itself.

    `positions` are those of records that reached the file but perhaps not the disk: mark them settled as well.
    """

    def __init__(self, reason: str, positions: Sequence[Position] = ()) -> None:
        super().__init__(f"the journal cannot be written: {reason}")
        self.reason = reason
        self.positions = list(positions)


class JournalHeld(JournalError):
    """Another process holds this journal and will drain it itself."""

    def __init__(self, journal_id: int, holder: str) -> None:
        super().__init__(f"journal {journal_id} is held by process {holder or 'unknown'}; it drains it itself")
        self.journal_id = journal_id


class JournalUnknown(JournalError):
    """There is no such journal on this disk."""

    def __init__(self, journal_id: int, folder: Path) -> None:
        super().__init__(f"there is no journal {journal_id} in {folder}")
        self.journal_id = journal_id
