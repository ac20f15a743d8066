"""Events of one grant and traces of them, as tests/model/promela/trace.pml names and trace.c reads them."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from enum import IntEnum

ANYBODY = NOBODY = 7
NOT_TOLD = 255
MOST_EVENTS = 100


class What(IntEnum):
    """What was seen."""

    CLAIMED = 1
    STARTED = 2
    SENDS = 3
    RELEASED = 4
    JOURNALED = 5
    NOT_JOURNALED = 6
    STORED = 7
    SURPLUS = 8
    MARKED = 9
    ENDED = 10
    KILLED = 11
    DRAINED = 12
    LAPSED = 13
    END_ASKED = 14


WORDS = {
    What.CLAIMED: "is claimed",
    What.STARTED: "starts",
    What.SENDS: "sends",
    What.RELEASED: "ends without having sent",
    What.JOURNALED: "journals",
    What.NOT_JOURNALED: "cannot journal",
    What.STORED: "is stored",
    What.SURPLUS: "is kept as surplus",
    What.MARKED: "marks",
    What.ENDED: "ends without a token set",
    What.KILLED: "is killed",
    What.DRAINED: "journals of the dead are drained",
    What.LAPSED: "the lease ends",
    What.END_ASKED: "its end is asked for",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, and the row after it; claims, generations and pairs are counted from the beginning of the trace."""

    what: What
    who: int = ANYBODY  # which of two processes
    which: int = NOBODY  # pair
    claim_no: int
    generation: int
    pair: int
    status: int
    claimed: int  # 2: the claim of 1970
    started: int
    doubt: int
    suspect: int
    attempt: int = NOT_TOLD  # the claim number under which it was begun
    asks_from: int = 0  # generation
    token: int = ANYBODY  # the pair whose refresh token is presented
    undrained: int = 0  # at its start a journal of its doubt was
    serves: int = 0  # the access token, now

    def __str__(self) -> str:
        """For people."""
        who = "" if self.who == ANYBODY else f"worker {self.who} "
        which = "" if self.which == NOBODY else f"pair {self.which} "
        facts = [word for word in ("claimed", "started", "doubt", "suspect") if getattr(self, word)]
        row = f"claim {self.claim_no}, generation {self.generation}, pair {self.pair}"
        return f"{who}{which}{WORDS[self.what]} ({', '.join([row, *facts])})"


@dataclass(frozen=True, slots=True)
class Trace:
    """What was seen of one grant from an instant on at which nothing of it was under way."""

    profile: str
    before: int  # pairs that were replaced and may live
    events: tuple[Event, ...]

    def numbers(self) -> str:
        """The line that trace.c reads."""
        return " ".join(map(str, self._numbers()))

    def _numbers(self) -> Iterator[int]:
        yield from (self.before, len(self.events))
        for event in self.events:
            yield from map(int, astuple(event))
