"""Damages: what of one journal cannot be read, gathered as it is read, and told.

A torn tail is none: the last record of a killed writer, which was never said to be on the platter.
"""

import structlog

from tasks.journal.entry import Position

log = structlog.get_logger(__name__)


class Damages:
    """The places of a journal that cannot be read; each is told in the log once. `quiet`: they were told before."""

    def __init__(self, journal_id: int, *, quiet: bool = False) -> None:
        self._journal_id = journal_id
        self._quiet = quiet
        self._found: dict[tuple[int, int | None], str] = {}
        self._torn: set[Position] = set()

    @property
    def sentence(self) -> str | None:
        """What is wrong, beginning with the first place; none: all of it can be read."""
        if not self._found:
            return None
        first = self._found[min(self._found, key=lambda place: (place[0], place[1] or 0))]
        more = len(self._found) - 1
        return f"{first}, and {more} more {'place' if more == 1 else 'places'}" if more else first

    def note_record(self, position: Position) -> None:
        """Bytes that are no record, or a record that does not open."""
        told = f"segment {position.segment} is damaged at byte {position.offset}"
        if self._is_new(position.segment, position.offset, told):
            self._tell("journal.record_damaged", segment=position.segment, offset=position.offset, torn_tail=False)

    def note_cut(self, position: Position) -> None:
        """A segment ends in the midst of a record, although another follows."""
        told = f"segment {position.segment} is cut short at byte {position.offset}"
        if self._is_new(position.segment, position.offset, told):
            self._tell("journal.record_damaged", segment=position.segment, offset=position.offset, torn_tail=True)

    def note_torn(self, position: Position) -> None:
        """What a kill leaves behind at the end of the last segment, and no damage."""
        if position not in self._torn and not self._quiet:
            log.warning(
                "journal.record_damaged",
                journal_id=self._journal_id,
                segment=position.segment,
                offset=position.offset,
                torn_tail=True,
            )
        self._torn.add(position)

    def note_key(self, segment: int) -> None:
        """A segment's own key is gone or damaged: its records are noise."""
        if self._is_new(segment, None, f"the key of segment {segment} is gone or damaged"):
            self._tell("journal.segment_without_key", segment=segment)

    def note_unreadable(self, segment: int, reason: str) -> None:
        """The system does not let it be read."""
        if self._is_new(segment, None, f"segment {segment} cannot be read: {reason}"):
            self._tell("journal.segment_unreadable", segment=segment, reason=reason)

    def _is_new(self, segment: int, offset: int | None, told: str) -> bool:
        known = (segment, offset) in self._found
        self._found.setdefault((segment, offset), told)
        return not known and not self._quiet

    def _tell(self, event: str, **facts: object) -> None:
        log.error(event, journal_id=self._journal_id, **facts)
