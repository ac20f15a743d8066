"""Forged: traces made wrong on purpose, each in one way. The model must refuse every one of them.

A kind is given a trace that was seen, and changes it or has nothing to change in it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.model.traces.event import ANYBODY, NOBODY, NOT_TOLD, Event, Trace, What

Events = list[Event]
Forge = Callable[[Events], Events | None]
NEEDS_CONSENT = 1


def stored_twice(events: Events) -> Events | None:
    """A token set is stored, and stored again as the next generation."""
    at = _first(events, What.STORED)
    if at is None:
        return None
    again = replace(events[at], claim_no=events[at].claim_no + 1, generation=events[at].generation + 1)
    return [*events[: at + 1], again]


def an_older_one_overwrites(events: Events) -> Events | None:
    """A token set replaces one that is newer."""
    stored = [event for event in events if event.what is What.STORED]
    if len(stored) < 2:
        return None
    older, newest = stored[0], stored[-1]
    at = events.index(newest)
    last = replace(
        newest, which=older.which, pair=older.pair, generation=older.generation, claim_no=newest.claim_no + 1
    )
    return [*events[: at + 1], last]


def sent_without_a_start(events: Events) -> Events | None:
    """A request of which no start is known."""
    at = _first(events, What.STARTED)
    if at is None or at + 1 == len(events) or events[at + 1].what is not What.SENDS:
        return None
    return [*events[:at], events[at + 1]]


def sent_after_the_lease(events: Events) -> Events | None:
    """The lease ends, and then the request leaves."""
    at = _first(events, What.SENDS)
    if at is None or not events[at].started:
        return None
    return [*events[:at], _of_nobody(events[at], What.LAPSED), events[at]]


def sent_after_another_has_started(events: Events) -> Events | None:
    """The lease has gone to another process, which has started, and then the first one sends."""
    at = _first(events, What.STARTED)
    if at is None or at + 1 == len(events) or events[at + 1].what is not What.SENDS:
        return None
    start, send = events[at : at + 2]
    lapsed = _of_nobody(start, What.LAPSED)
    claimed = replace(lapsed, what=What.CLAIMED, claim_no=start.claim_no + 1, claimed=1)
    number = start.claim_no + 2
    other = replace(start, who=1 - start.who, claim_no=number, attempt=number, doubt=1)
    return [*events[: at + 1], lapsed, claimed, other, replace(send, claim_no=number, doubt=1)]


def claimed_under_a_lease(events: Events) -> Events | None:
    """A claim takes what somebody has started."""
    at = _first(events, What.STARTED)
    if at is None:
        return None
    claim = _of_nobody(events[at], What.CLAIMED)
    return [*events[: at + 1], replace(claim, claim_no=claim.claim_no + 1, claimed=1)]


def started_under_the_old_claim(events: Events) -> Events | None:
    """A start leaves the claim number as it is, so whoever else knows it may start, too."""
    at = _first(events, What.STARTED)
    if at is None:
        return None
    number = events[at].claim_no - 1
    return [*events[:at], replace(events[at], claim_no=number, attempt=number)]


def marked_before_its_commit(events: Events) -> Events | None:
    """The journal says settled, and the database has it only then."""
    at = _first(events, What.MARKED)
    if at is None or events[at - 1].what not in (What.STORED, What.SURPLUS) or events[at - 1].which != events[at].which:
        return None
    early = replace(_of_nobody(events[at - 2], What.MARKED), who=events[at].who, which=events[at].which)
    return [*events[: at - 1], early, events[at - 1]]


def never_journaled(events: Events) -> Events | None:
    """A token set is stored that no journal has held, and none was broken."""
    at = _first(events, What.JOURNALED)
    if at is None or _first(events[at:], What.STORED) is None:
        return None
    return [*events[:at], *events[at + 1 :]]


def surplus_is_dropped(events: Events) -> Events | None:
    """What came late is marked as settled, and kept nowhere."""
    at = _first(events, What.SURPLUS)
    if at is None or at + 1 == len(events) or events[at + 1].what is not What.MARKED:
        return None
    return [*events[:at], events[at + 1]]


def doubt_is_forgotten(events: Events) -> Events | None:
    """An attempt that nobody has ended is followed by one that knows nothing of it."""
    at = next((at for at, each in enumerate(events) if each.what is What.STARTED and each.doubt), None)
    if at is None or events[at - 1].doubt:
        return None
    return [*events[:at], replace(events[at], doubt=0, undrained=0)]


def drained_unread(events: Events) -> Events | None:
    """The journal of a dead process is drained before what it holds is stored."""
    killed, drained = _first(events, What.KILLED), _first(events, What.DRAINED)
    if killed is None or drained is None or drained < killed:
        return None
    replayed = next((at for at in range(killed, drained) if _is_replay(events, killed, at)), None)
    if replayed is None:
        return None
    return [*events[:replayed], _of_nobody(events[replayed - 1], What.DRAINED), events[replayed]]


def dead_at_its_first_refusal(events: Events) -> Events | None:
    """Who is refused once needs consent at once."""
    at = next((at for at, each in enumerate(events) if each.what is What.ENDED and each.suspect), None)
    if at is None or events[at - 1].suspect:
        return None
    return [*events[:at], replace(events[at], status=NEEDS_CONSENT, suspect=0)]


def begun_after_its_end_was_asked_for(events: Events) -> Events | None:
    """A grant is started whose end was asked for."""
    at = _first(events, What.STARTED)
    if at is None or at == 0 or events[at].status:
        return None
    return [*events[:at], _of_nobody(events[at - 1], What.END_ASKED), *events[at:]]


KINDS: dict[str, Forge] = {
    forge.__name__: forge
    for forge in (
        stored_twice,
        an_older_one_overwrites,
        sent_without_a_start,
        sent_after_the_lease,
        sent_after_another_has_started,
        claimed_under_a_lease,
        started_under_the_old_claim,
        marked_before_its_commit,
        never_journaled,
        surplus_is_dropped,
        doubt_is_forgotten,
        drained_unread,
        dead_at_its_first_refusal,
        begun_after_its_end_was_asked_for,
    )
}


def forged(forge: Forge, traces: Iterator[Trace]) -> Iterator[Trace]:
    """Those of these traces that can be made wrong in this way, made wrong."""
    for trace in traces:
        if (events := forge(list(trace.events))) is not None:
            yield replace(trace, events=tuple(events))


def _first(events: Events, what: What) -> int | None:
    return next((at for at, event in enumerate(events) if event.what is what), None)


def _is_replay(events: Events, killed: int, at: int) -> bool:
    """Whether what the dead had journaled is stored here."""
    kept = {each.which for each in events[:killed] if each.what is What.JOURNALED and each.who == events[killed].who}
    done = {each.which for each in events[:killed] if each.what in (What.STORED, What.SURPLUS)}
    return events[at].what in (What.STORED, What.SURPLUS) and events[at].which in kept - done


def _of_nobody(event: Event, what: What) -> Event:
    """Another event, with the row as this one has left it."""
    return replace(
        event,
        what=what,
        who=ANYBODY,
        which=NOBODY,
        attempt=NOT_TOLD,
        asks_from=0,
        token=ANYBODY,
        undrained=0,
        serves=0,
    )
