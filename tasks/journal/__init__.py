"""Journal: the fsynced file of providers' answers that each worker holds, and its replay.

A refresh token that was rotated exists once, in the answer. So every answer with a token set is appended here, sealed,
and is on the platter before anybody parses it; a mark follows when it is settled. What has no mark is replayed by
whoever holds the journal's lock next. The register of journals is models/journal.py; no SQL in here.

    journal.py   a process's journal       entry.py    what is kept          frames.py   how it lies in a file
    writer.py    which segment, what room  segment.py  one file and its key  reading.py  everything read back
    left_behind.py  journals without owner  replay.py   settle what is left   lock.py     whose it is
    disk.py      the calls to the disk     errors.py   what may be wrong         damage.py   what cannot be read
    names.py     what is a journal's file, and what is not
"""

from tasks.journal.entry import End, Entry, Kept, Position, Tick
from tasks.journal.errors import JournalBroken, JournalError, JournalHeld, JournalUnknown
from tasks.journal.journal import Journal
from tasks.journal.left_behind import LeftBehind, delete_drained, journal_ids, left_behind, ring_keys_in_use, take_over
from tasks.journal.replay import Replayed, Settle, drain_held, replay
from tasks.journal.writer import Sizes

__all__ = [
    "End",
    "Entry",
    "Journal",
    "JournalBroken",
    "JournalError",
    "JournalHeld",
    "JournalUnknown",
    "Kept",
    "LeftBehind",
    "Position",
    "Replayed",
    "Settle",
    "Sizes",
    "Tick",
    "delete_drained",
    "drain_held",
    "journal_ids",
    "left_behind",
    "replay",
    "ring_keys_in_use",
    "take_over",
]
