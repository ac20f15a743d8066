"""Which segment a journal writes to, and whether there is room for the answers under way.

Room is reserved before it is needed, and no new segment that cannot be made stops the old one: so a disk that fills
up stops the sending, and the answers of what was already sent still find their place.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from models.sealing.vault import Vault
from tasks.journal.disk import Disk
from tasks.journal.entry import Position
from tasks.journal.errors import JournalBroken
from tasks.journal.frames import RecordKind
from tasks.journal.segment import Segment, next_number, reason_of

log = structlog.get_logger(__name__)

SEGMENT_AGE = timedelta(hours=1)
RETRY_AFTER = timedelta(seconds=1)
CLOSED = "it was closed"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: how much room there must be before anything is sent, and after how many a new segment begins.

    Answers are about 1 KiB: 4 MiB hold four thousand of them, or sixty-four of the largest kind.
    """

    reserve: int = 4 << 20
    segment: int = 16 << 20


DEFAULT_SIZES = Sizes()


class Writer:
    """Writes records to the segment of now; the journal's lock is held, except for `has_room`."""

    def __init__(
        self,
        folder: Path,
        journal_id: int,
        *,
        vault: Vault,
        sizes: Sizes,
        clock: Callable[[], datetime],
        disk: Disk,
    ) -> None:
        self._folder = folder
        self._journal_id = journal_id
        self._vault = vault
        self._sizes = sizes
        self._clock = clock
        self._disk = disk
        self._segment: Segment | None = None
        self._closed = False
        self._trouble: str | None = None
        self._tried_at: datetime | None = None

    @property
    def has_room(self) -> bool:
        """Whether all is well; read without the lock, before every request."""
        segment = self._segment
        return segment is not None and not segment.failed and segment.room >= self._sizes.reserve

    @property
    def end(self) -> tuple[int, int] | None:
        """Number and length of the segment of now, if there is one."""
        return (self._segment.number, self._segment.end) if self._segment else None

    def write(self, kind: RecordKind, plains: list[bytes]) -> tuple[Segment, list[Position]]:
        """Append records, all or none.

        Raises:
            JournalBroken: there is no segment to write to, or nothing was appended.

        """
        segment = self._segment_of_now()
        try:
            places = segment.write(kind, plains)
        except OSError as error:
            self._note_trouble(reason_of(error))
            raise JournalBroken(reason_of(error)) from error
        return segment, [Position(self._journal_id, segment.number, place) for place in places]

    def make_room(self) -> str | None:
        """Reserve room for the answers under way, in the present segment or a new one; else tell why not."""
        if self._closed:
            return CLOSED
        if not self._may_try():
            return self._trouble
        try:
            if self._segment is None or self._segment.failed:
                self._roll()
            elif not self.has_room:
                self._segment.reserve(2 * self._sizes.reserve)
        except OSError as error:
            self._note_trouble(reason_of(error))
        else:
            self._trouble = None
        return self._trouble

    def close(self) -> None:
        """Finish the segment of now; nothing is written after."""
        self._closed = True
        self._finish()

    def _segment_of_now(self) -> Segment:
        """The segment to write to: a new one each hour or 16 MiB, the old one while no new one can be made."""
        if self._closed:
            raise JournalBroken(CLOSED)
        segment = self._segment
        if (segment is None or segment.failed or self._is_full(segment)) and self._may_try():
            with suppress(OSError):
                self._roll()
        if self._segment is None or self._segment.failed:
            raise JournalBroken(self._trouble or "no segment could be made")
        return self._segment

    def _is_full(self, segment: Segment) -> bool:
        age = abs(self._clock() - segment.opened_at)
        return segment.end >= self._sizes.segment or (age >= SEGMENT_AGE and segment.end > 0)

    def _may_try(self) -> bool:
        """Whether the disk may be tried: at once while all is well, in trouble once a second."""
        if self._trouble is None or self._tried_at is None:
            return True
        return abs(self._clock() - self._tried_at) >= RETRY_AFTER

    def _roll(self) -> None:
        """Begin a new segment with room reserved, then finish the old one."""
        try:
            fresh = Segment.create(
                self._folder,
                self._journal_id,
                next_number(self._folder),
                vault=self._vault,
                room=2 * self._sizes.reserve,
                now=self._clock(),
                disk=self._disk,
            )
        except OSError as error:
            self._note_trouble(reason_of(error))
            raise
        self._finish()
        self._segment = fresh
        self._trouble = None

    def _note_trouble(self, reason: str) -> None:
        if self._trouble is None:
            log.error("journal.broken", journal_id=self._journal_id, reason=reason)
        self._trouble, self._tried_at = reason, self._clock()

    def _finish(self) -> None:
        if self._segment is None:
            return
        try:
            self._segment.finish()
        except OSError as error:
            # Whoever waits for this segment's sync is told there; what was synced before stays.
            log.warning("journal.finish_failed", journal_id=self._journal_id, reason=reason_of(error))
        self._segment = None
