"""A watched grant: opens a window whenever it is quiet, takes in what is seen, and closes it where the model ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.model.traces.event import What
from tests.model.traces.window import SLOTS, Pair, Row, Window

ENOUGH = 2  # token sets after which a window closes when the grant is quiet again

# What a process is at, as far as it shows.
BEGUN, SENT, JOURNALED, BROKEN = "begun", "sent", "journaled", "broken"


@dataclass(slots=True)
class Attempt:
    """An attempt that a process has not done with."""

    claim_no: int
    generation: int
    started_at: datetime
    at: str = BEGUN
    pair: Pair = None
    undrained: bool = False


@dataclass
class Watched:
    """One grant. Processes are known by their journals."""

    profile: str
    close: Callable[[Window], None]
    window: Window | None = None
    attempts: dict[int, Attempt] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)  # journals of the dead that may hold something of it, undrained
    left_in_window: set[int] = field(default_factory=set)
    stores: int = 0
    end_asked: bool = False

    # What happens to the row

    def changed(self, at: datetime, before: Row, after: Row, *, journal: int | None, undrained: bool = False) -> None:
        """Its row was changed; `journal`: of the process that did it."""
        self._time(at, before)
        if after.generation != before.generation or after.pair not in (before.pair, None):
            self._stored(before, after)
        elif after.claim_no != before.claim_no:
            self._claim_moved(at, before, after, journal, undrained=undrained)
        elif before.started_at is not None and after.started_at is None:
            self._attempt_is_over(before, after, journal)
        elif before.claimed and not after.claimed:
            self.cut("a claim that is given back before its start")
        elif _shown(before) != _shown(after):
            self.cut(_why(before, after))

    def _stored(self, before: Row, after: Row) -> None:
        if after.claim_no != before.claim_no + 1 or after.generation <= before.generation:
            self.cut("a token set that no refresh has brought")
            return
        self.stores += 1
        self._broken_is_done(after.pair)
        self._add(What.STORED, after, which=after.pair)

    def surplus(self, at: datetime, row: Row, pair: Pair) -> None:
        """A token set was kept beside its row."""
        self._time(at, row)
        self._broken_is_done(pair)
        self._add(What.SURPLUS, row, which=pair)

    def _broken_is_done(self, pair: Pair) -> None:
        """What no journal has taken nobody marks."""
        for journal, attempt in list(self.attempts.items()):
            if attempt.at == BROKEN and attempt.pair == pair:
                del self.attempts[journal]

    def _claim_moved(self, at: datetime, before: Row, after: Row, journal: int | None, *, undrained: bool) -> None:
        if before.status == "needs_consent":
            self.cut("a second look")
        elif after.claimed:
            self._add(What.CLAIMED, after)
        elif after.status == "revoked" and before.started_at is not None and after.started_at is None:
            self._attempt_is_over(before, after, journal)
        elif after.started_at in (None, before.started_at) or journal is None:
            self.cut(_why(before, after))
        else:
            self._started(at, after, journal, undrained=undrained)

    def _started(self, at: datetime, row: Row, journal: int, *, undrained: bool) -> None:
        assert row.started_at is not None
        if (old := self.attempts.get(journal)) is not None and old.at in (JOURNALED, BROKEN):
            self.cut("two attempts of one grant in one process")
        self.attempts[journal] = Attempt(row.claim_no, row.generation, row.started_at, undrained=undrained)
        if row.refused_alone:
            self.cut("refused again and again in a word that nobody understands")
        if (slot := self._slot(row, journal)) is None:
            self.cut("a third process")
            return
        self._add(
            What.STARTED,
            row,
            who=slot,
            attempt=row.claim_no,
            asks_from=row.generation,
            undrained=undrained,
            serves=row.serves(at),
        )

    def _attempt_is_over(self, before: Row, after: Row, journal: int | None) -> None:
        attempt = self.attempts.pop(journal, None) if journal is not None else None
        unsent = attempt is not None and attempt.at == BEGUN and before.status == "active"
        if after.status not in (before.status, "needs_consent", "revoked"):
            self.cut(_why(before, after))
        elif (slot := self._slot_of(journal)) is not None:
            self._add(What.RELEASED if unsent else What.ENDED, after, who=slot)

    # What processes do

    def sends(self, at: datetime, row: Row, journal: int, *, claim_no: int, generation: int, token: Pair) -> None:
        """The first byte of a request leaves."""
        self._time(at, row)
        attempt = self.attempts.get(journal)
        undrained = False
        if attempt is not None and attempt.claim_no == claim_no:
            attempt.at, undrained = SENT, attempt.undrained
        if (slot := self._slot_of(journal)) is not None:
            if row.status in ("revoking", "revoked") and attempt is not None and attempt.claim_no == row.claim_no:
                self.cut("a revocation that refreshes first")
            self._add(
                What.SENDS,
                row,
                who=slot,
                attempt=claim_no,
                asks_from=generation,
                token=token,
                undrained=undrained,
                serves=row.serves(at),
            )

    def journaled(self, at: datetime, row: Row, journal: int, pair: Pair, *, kept: bool, started_at: datetime) -> None:
        """A token set is in a journal, or a journal could not take it."""
        self._time(at, row)
        attempt = self.attempts.get(journal)
        if attempt is None or attempt.started_at != started_at:
            self.cut("two attempts of one grant in one process")
            return
        attempt.at, attempt.pair = JOURNALED if kept else BROKEN, pair
        if (slot := self._slot_of(journal)) is not None:
            self._add(What.JOURNALED if kept else What.NOT_JOURNALED, row, who=slot, which=pair)

    def marked(self, at: datetime, row: Row, journal: int, pair: Pair) -> None:
        """An entry of its own journal is marked as settled by a process."""
        self._time(at, row)
        attempt = self.attempts.get(journal)
        if attempt is None or attempt.pair != pair:
            return
        del self.attempts[journal]
        if (slot := self._slot_of(journal)) is not None:
            self._add(What.MARKED, row, who=slot, which=pair)
        self._look_whether_quiet(row)

    def done(self, journal: int, claim_no: int) -> None:
        """A process has done with an attempt, however it ended: what it journaled must still be marked."""
        attempt = self.attempts.get(journal)
        if attempt is not None and attempt.claim_no == claim_no and attempt.at in (BEGUN, SENT):
            del self.attempts[journal]

    def killed(self, at: datetime, row: Row, journal: int) -> None:
        """A process is gone."""
        if self.attempts.pop(journal, None) is None and journal not in row.doubt_journals:
            return
        self._time(at, row)
        if self.left_in_window:
            self.cut("journals of two dead processes at once")
        self.left.add(journal)
        if self.window is not None and (slot := self.window.slots.pop(journal, None)) is not None:
            self._add(What.KILLED, row, who=slot)
            self.left_in_window.add(journal)

    def drained(self, at: datetime, row: Row, journal: int) -> None:
        """The journal of a dead process holds nothing more that is not settled."""
        self.left.discard(journal)
        if journal in self.left_in_window:
            self._time(at, row)
            self.left_in_window.discard(journal)
            self._add(What.DRAINED, row)
        self._look_whether_quiet(row)

    def asked_to_end(self, at: datetime, row: Row) -> None:
        """Somebody has asked for its end."""
        self._time(at, row)
        self.end_asked = True
        self._add(What.END_ASKED, row)

    # Windows

    def looks_quiet(self, row: Row) -> bool:
        """Whether a window may begin."""
        return row.is_quiet and not (self.attempts or self.left or self.end_asked)

    def begin(self, row: Row, before: Sequence[Pair], *, has_more_before: bool) -> None:
        """Begin a window, where none is open."""
        self.stores, self.left_in_window = 0, set()
        self.window = Window(self.profile, row, before, has_more_before)

    def cut(self, why: str) -> None:
        """What happens now has no model."""
        if self.window is not None:
            self.window.cut = why
            self.end()

    def end(self) -> None:
        """Close the window as it is."""
        window, self.window = self.window, None
        if window is not None and window.seen:
            self.close(window)

    def _look_whether_quiet(self, row: Row) -> None:
        if self.window is not None and self.stores >= ENOUGH and self.looks_quiet(row):
            self.end()

    def _time(self, at: datetime, row: Row) -> None:
        """The lease may have ended before this."""
        window = self.window
        if window is not None and row.is_taken and row.due_at <= at and window.lapsed != row.due_at:
            window.lapsed = row.due_at
            window.add(What.LAPSED, row)

    def _add(self, what: What, row: Row, **more: object) -> None:
        window = self.window
        if window is None:
            return
        window.add(what, row, **more)
        if window.cut:
            self.end()
        elif window.has_more_before and (row.suspect or self.end_asked):
            self.cut("more former tokens than the model has room for")

    # Who is who

    def _slot_of(self, journal: int | None) -> int | None:
        """Which of two processes it is; one that is unknown ends the window."""
        if self.window is None:
            return None
        slot = None if journal is None else self.window.slots.get(journal)
        if slot is None:
            self.cut("an attempt that began before")
        return slot

    def _slot(self, row: Row, journal: int) -> int | None:
        """Which of two processes one that starts is: it takes the place of one that has nothing of this grant."""
        if self.window is None:
            return SLOTS[0]
        slots = self.window.slots
        if journal not in slots:
            for other in [each for each in slots if each not in self.attempts and each not in row.doubt_journals]:
                del slots[other]
            free = [slot for slot in SLOTS if slot not in slots.values()]
            if not free:
                return None
            slots[journal] = free[0]
        return slots[journal]


def _shown(row: Row) -> tuple[object, ...]:
    return row.status, row.claimed, row.started_at, row.doubt, row.suspect


def _why(before: Row, after: Row) -> str:
    if "paused" in (before.status, after.status):
        return "an operator's pause"
    if (before.status, after.status) == ("active", "revoking"):
        return "a new consent in its place"
    if before.status != after.status:
        return f"from {before.status} to {after.status}, and no attempt says why"
    return "a change of the row that no attempt has made"
