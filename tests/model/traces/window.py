"""A window: one grant from an instant on at which nothing of it is under way, until something that has no model."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.model.traces.event import ANYBODY, MOST_EVENTS, NOBODY, NOT_TOLD, Event, Trace, What

PAIRS = 5  # of the model, here; the row's own and one before it among them
SLOTS = (0, 1)
KEPT_FORMER = ("on_use", "until_next_refresh")  # where what was replaced may live, and is kept
LEAST = timedelta(minutes=1)  # that an access token must serve yet to be handed out; a quarter of a shorter life
STATUSES = {"active": 0, "needs_consent": 1, "revoking": 2, "revoked": 3}

Pair = Hashable  # as the provider's ledger has it


@dataclass(frozen=True, slots=True)
class Row:
    """What a grant's row says, as far as it is modelled."""

    claim_no: int
    generation: int
    pair: Pair
    status: str
    claimed: int  # 2: the claim of 1970
    started_at: datetime | None
    started_by: int | None  # a journal
    doubt: bool
    doubt_journals: tuple[int, ...]
    suspect: bool
    due_at: datetime
    refused_alone: bool  # again and again in a word that nobody understands
    serves_until: datetime | None  # the access token; None: it does not, or an application has told so

    @property
    def is_taken(self) -> bool:
        """Whether somebody has it, be it that the lease has lapsed."""
        return bool(self.claimed) or self.started_at is not None

    def serves(self, at: datetime) -> bool:
        """Whether the access token can still be handed out."""
        return self.serves_until is not None and self.serves_until > at

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of it is under way or open."""
        return self.status == "active" and not (self.is_taken or self.doubt or self.suspect)


@dataclass(slots=True)
class Seen:
    """An event as it was seen, with the names of this run."""

    what: What
    row: Row
    who: int = ANYBODY
    which: Pair = None
    attempt: int | None = None
    asks_from: int = 0
    token: Pair = None
    undrained: bool = False
    serves: bool = False


@dataclass(slots=True)
class Window:
    """What was seen of a grant since it was quiet."""

    profile: str
    first: Row
    before: Sequence[Pair]  # replaced, and may live: the older first
    has_more_before: bool  # and more of them than there is room for
    seen: list[Seen] = field(default_factory=list)
    slots: dict[int, int] = field(default_factory=dict)  # journal → which of two processes
    lapsed: datetime | None = None  # the end of the lease that was told last
    cut: str = ""  # why it ends

    def add(self, what: What, row: Row, **more: object) -> None:
        """Take in one event."""
        if len(self.seen) < MOST_EVENTS:
            self.seen.append(Seen(what, row, **more))  # type: ignore[arg-type]
        else:
            self.cut = self.cut or "longer than there is room for"

    def trace(self, pairs: Sequence[Pair]) -> Trace:
        """The trace; `pairs`: all of this consent, in the order in which the provider made them."""
        numbers = self._numbered(pairs)
        events: list[Event] = []
        for seen in self.seen:
            if seen.which is not None and seen.which not in numbers:
                break  # more of them than the model has room for
            events.append(self._event(seen, numbers))
        return Trace(self.profile, len(self.before), tuple(events))

    def _numbered(self, pairs: Sequence[Pair]) -> dict[Pair, int]:
        known = [*self.before, self.first.pair]
        newer = pairs[pairs.index(self.first.pair) + 1 :]
        return {pair: number for number, pair in enumerate([*known, *newer][:PAIRS])}

    def _event(self, seen: Seen, numbers: dict[Pair, int]) -> Event:
        row, older = seen.row, len(self.before)
        return Event(
            what=seen.what,
            who=seen.who,
            which=NOBODY if seen.which is None else numbers[seen.which],
            claim_no=row.claim_no - self.first.claim_no,
            generation=row.generation - self.first.generation + older,
            pair=NOBODY if row.pair is None else numbers[row.pair],
            status=STATUSES[row.status],
            claimed=row.claimed,
            started=int(row.started_at is not None),
            doubt=int(row.doubt),
            suspect=int(row.suspect),
            attempt=NOT_TOLD if seen.attempt is None else seen.attempt - self.first.claim_no,
            asks_from=0 if seen.attempt is None else seen.asks_from - self.first.generation + older,
            token=ANYBODY if seen.token is None else numbers.get(seen.token, NOBODY),
            undrained=int(seen.undrained),
            serves=int(seen.serves),
        )
