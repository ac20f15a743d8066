"""The valve of a client: how much may leave now, and what shuts and opens it.

Rate: GCRA, `next_slot_at` is the theoretical time of the next request. Breaker: three bad requests in a row on
different grants, or over 5 % (at least three) in a minute; a grant that is bad again and again counts once, for it
tells of itself. A 429 shuts it at once, unless the limit is the grant's own, as far as can be known: the same grant was
told so before, and the valve is open since somebody succeeded; or somebody was asked later and has succeeded already,
and nobody else was told so within the minute. Three such in a row shut it. Or three different grants that were refused
alike, in words that nobody understands, while nobody succeeded: one request that was begun after the first of these and
succeeds is a witness that it is not us; or six in whatever words, for behind several nodes each may have its own.
Canary: the one request that may open it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from math import floor
from typing import Final, NamedTuple
from uuid import UUID

# A client that was idle may send this much of its rate at once; it also bridges the time between two ticks.
TOLERANCE: Final = timedelta(seconds=1)
# A provider counts windows of its own, on arrival: tolerance, first slot and transit must fit under its limit.
USABLE_SHARE: Final = 0.95
# However small or large a rate is: a division by it neither overflows nor becomes a division by nothing.
SHORTEST_INTERVAL: Final = timedelta(microseconds=1)
LONGEST_INTERVAL: Final = timedelta(days=30)
STRIKES: Final = 3
MIXED_STRIKES: Final = 6  # where the words differ: some may be their grants' own
WITNESSES: Final = 5  # of the grants that succeeded last: each may be a canary
MINUTE: Final = timedelta(minutes=1)
BAD_SHARE: Final = 0.05
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 300.0
# A fleet that just fits its rate is renewed after 2/3 of a life; with three quarters of the rate after 8/9: in time.
SHARES: Final = 4
OTHERS: Final = SHARES - 1  # slots that follow each request of a revocation before the next has its turn
MOST_OWED: Final = 20 * OTHERS  # what revocations take while nobody else is due need not all be made up for


@dataclass(frozen=True, slots=True)
class Valve:
    """A row of `valves` with its client's rate (requests a minute, None: no limit) and burst."""

    rate_per_minute: float | None
    burst: int
    next_slot_at: datetime
    slot_no: int  # below zero: so many slots are the others' before a revocation has its turn
    paused_by_operator: bool = False
    paused_until: datetime | None = None
    pause_reason: str | None = None
    pause_seconds: float = 0.0
    changed_at: datetime | None = None
    canary_grant_id: UUID | None = None
    strike_grant_ids: list[UUID] = field(default_factory=list)  # those of the bad ends in a row, each once
    minute_at: datetime | None = None
    minute_asked: int = 0
    minute_bad: int = 0
    minute_grant_ids: list[UUID] = field(default_factory=list)  # the first few of the bad ones, each counted once
    refused_since: datetime | None = None  # set: nobody has succeeded since a refusal that nobody understands
    refused_code: str | None = None
    refused_grant_ids: list[UUID] = field(default_factory=list)  # who was refused alike since, each once
    mixed_since: datetime | None = None  # as refused_since, and whatever the words were since
    mixed_grant_ids: list[UUID] = field(default_factory=list)
    witness_at: datetime | None = None  # start of the last refresh that succeeded
    witness_grant_ids: list[UUID] = field(default_factory=list)  # the last that were refreshed, the newest first
    canary_has_lapsed: bool = False  # the last canary was never sent: its claim lapsed, and starts nothing
    pace_per_minute: float | None = None  # set: it goes slower than its rate allows (tasks/policy/pace.py)


class Sign(Enum):
    """What a request's end tells of the provider."""

    GOOD = "good"  # it succeeded
    NEUTRAL = "neutral"  # the provider decided, about that grant alone
    REFUSED = "refused"  # the provider decided, about that grant or about all of us
    BAD = "bad"  # not sent, or unknown
    NOT_NOW = "not_now"  # the provider itself asks to wait


class Result(NamedTuple):  # cheaper to make than a frozen dataclass, and made for each answer
    """The end of one request to the client's provider.

    `refreshed`: it brought a token set. `refused_since`: the same was refused alike before, the first time then; or it
    was asked to wait before, the last time then.
    `was_well`: it was refused, in words that nobody understands, and its request before had succeeded.
    `recovered_from`: the word in which it was refused before it succeeded now. `of_refresh`: it asked for a token set;
    other requests may be refused in other words, be the cause the same. `may_be_its_own`: it was asked to wait, and
    nobody says whose limit that is.
    """

    grant_id: UUID
    started_at: datetime
    sign: Sign
    code: str
    retry_after: timedelta | None = None
    refreshed: bool = False
    refused_since: datetime | None = None
    was_well: bool = False
    recovered_from: str | None = None
    of_refresh: bool = True
    may_be_its_own: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """How many requests may leave now; `canary`: just one, to see whether the provider is well again."""

    count: int
    canary: bool = False


def interval(valve: Valve) -> timedelta:
    """The time between two requests at the rate that we allow ourselves, or at the slower pace of now."""
    rates = [valve.pace_per_minute] if valve.pace_per_minute is not None else []
    if valve.rate_per_minute is not None:
        rates.append(valve.rate_per_minute * USABLE_SHARE)
    if not rates:
        return timedelta(0)
    least = MINUTE / LONGEST_INTERVAL
    return max(MINUTE / max(min(rates), least), SHORTEST_INTERVAL)


def budget(valve: Valve, *, at: datetime, under_way: int, most: int) -> Budget:
    """What may be claimed at `at`, with `under_way` jobs claimed or started and not lapsed."""
    if valve.paused_until is not None:
        # A canary takes a slot like any other: at a slow rate it waits for it.
        is_over = at >= valve.paused_until or valve.canary_has_lapsed
        may_go = is_over and _earned(valve, at, most=1) > 0
        return Budget(1, canary=True) if may_go else Budget(0)
    room = min(max(valve.burst - under_way, 0), most)
    return Budget(_earned(valve, at, most=room))


def _earned(valve: Valve, at: datetime, *, most: int) -> int:
    """The slots that the rate has for us at `at`."""
    if valve.rate_per_minute is None and valve.pace_per_minute is None:
        return most
    earned = floor((at - max(valve.next_slot_at, at) + TOLERANCE) / interval(valve)) + 1
    return max(min(most, earned), 0)


def take(valve: Valve, *, at: datetime, count: int, revocations: int = 0) -> Valve:
    """The valve after `count` requests were allowed to leave at `at`, so many of them of revocations."""
    start, slot_no = max(valve.next_slot_at, at), valve.slot_no + count
    if revocations:
        slot_no = max(_place(valve.slot_no) + count - SHARES * revocations, -MOST_OWED)
    return replace(valve, next_slot_at=start + interval(valve) * count, slot_no=slot_no)


def _place(slot_no: int) -> int:
    """Where a slot lies in its four; below zero so many are owed to others (also in models/client.py)."""
    return min(slot_no, slot_no % SHARES)


def take_canary(valve: Valve, *, at: datetime, grant_id: UUID, is_witness: bool = False) -> Valve:
    """The valve after its canary left: the next one may leave after the back-off, 5 s doubling to 5 min.

    Of those that succeeded last (`is_witness`), where everybody seems to be refused, each is asked once before it
    doubles: they may have died all at once, and those who live would wait for that. Nor does it double for one that
    was never sent: a broker that forgets is no word of the provider's.
    """
    is_next = is_witness and _is_next_witness(valve, grant_id)
    pause = valve.pause_seconds if is_next or valve.canary_has_lapsed else valve.pause_seconds * 2
    seconds = min(max(pause, FIRST_PAUSE), LONGEST_PAUSE)
    return replace(
        take(valve, at=at, count=1),
        paused_until=at + timedelta(seconds=seconds),
        pause_seconds=seconds,
        canary_grant_id=grant_id,
        canary_has_lapsed=False,
    )


def _is_next_witness(valve: Valve, grant_id: UUID) -> bool:
    """Whether it stands behind the last canary in the list of those that succeeded last: so that is used up once."""
    ids, last = valve.witness_grant_ids, valve.canary_grant_id
    return last not in ids or ids.index(last) < ids.index(grant_id)


@dataclass(frozen=True, slots=True)
class Shares:
    """How many slots are offered first to whom; what one side cannot use the others get."""

    revocations: int
    failing: int
    requests: int


def shares(slot_no: int, count: int) -> Shares:
    """Of every four slots one is offered first to revocations, one to failing grants, two to refresh requests.

    To revocations none as long as they owe others some, for a revocation takes several requests.
    """
    places = [_place(slot_no) + offset for offset in range(count)]
    revocations = sum(place >= 0 and place % SHARES == 0 for place in places)
    failing = sum(place % SHARES == 1 for place in places)
    return Shares(revocations, failing, count - revocations - failing)


def feed(valve: Valve, results: Sequence[Result], *, at: datetime) -> Valve:
    """The valve after some requests ended; those begun before its last change do not count."""
    valve = _witnessed(valve, [result for result in results if result.refreshed], at)
    well = 0  # successes in a row that only count: most do, and a new valve for each of them costs more than they tell
    for result in results:
        if valve.changed_at is not None and result.started_at < valve.changed_at:
            continue
        if result.sign is Sign.GOOD and _is_well(valve, at):
            well += 1
            continue
        valve = _feed_one(_asked(valve, well), result, at)
        well = 0
    return _asked(valve, well)


def _witnessed(valve: Valve, refreshed: Sequence[Result], at: datetime) -> Valve:
    """The valve after some refreshes succeeded: whoever was refused before they began was refused alone."""
    if not refreshed:
        return valve
    newest_first = [result.grant_id for result in reversed(refreshed)]
    begun = max(result.started_at for result in refreshed)
    valve = replace(
        valve,
        witness_at=begun if valve.witness_at is None else max(begun, valve.witness_at),
        witness_grant_ids=list(dict.fromkeys([*newest_first, *valve.witness_grant_ids]))[:WITNESSES],
    )
    if valve.refused_since is None or begun <= valve.refused_since:
        # Whoever was refused in other words before the last one was may have been refused alone all the same.
        proves = valve.mixed_since is not None and begun > valve.mixed_since
        return replace(valve, mixed_since=valve.refused_since, mixed_grant_ids=[]) if proves else valve
    return reopen(valve, at=at) if is_shut_for_refusals(valve) else _believed(valve)


def _believed(valve: Valve) -> Valve:
    return replace(
        valve, refused_since=None, refused_code=None, refused_grant_ids=[], mixed_since=None, mixed_grant_ids=[]
    )


def _is_well(valve: Valve, at: datetime) -> bool:
    """Whether one more success is a number and nothing else."""
    began = valve.minute_at
    return valve.paused_until is None and not valve.strike_grant_ids and began is not None and at - began < MINUTE


def _asked(valve: Valve, more: int) -> Valve:
    return replace(valve, minute_asked=valve.minute_asked + more) if more else valve


def _feed_one(valve: Valve, result: Result, at: datetime) -> Valve:
    valve = _count(valve, result, at)
    match result.sign:
        case Sign.NOT_NOW if valve.paused_until is not None:
            return _stay_shut(valve, result, at)
        case Sign.NOT_NOW if not _is_its_own_limit(valve, result) or len(valve.strike_grant_ids) >= STRIKES:
            return shut(valve, at=at, reason=result.code, wait=result.retry_after)
        case Sign.GOOD if valve.paused_until is not None:
            return reopen(valve, at=at)
        case Sign.BAD if valve.paused_until is None and _tripped(valve):
            return shut(valve, at=at, reason=result.code, wait=None)
        case Sign.REFUSED if not _is_alone(valve, result):
            valve = _refused(valve, result, at)
            ours = len(valve.refused_grant_ids) >= STRIKES or len(valve.mixed_grant_ids) >= MIXED_STRIKES
            return shut(valve, at=at, reason=result.code, wait=None) if ours and valve.paused_until is None else valve
        case _:
            return valve


def _count(valve: Valve, result: Result, at: datetime) -> Valve:
    bad = result.sign in (Sign.BAD, Sign.NOT_NOW)
    if valve.minute_at is None or at - valve.minute_at >= MINUTE:
        valve = replace(valve, minute_at=at, minute_asked=0, minute_bad=0, minute_grant_ids=[])
    valve = replace(valve, minute_asked=valve.minute_asked + 1)
    if not bad:
        return replace(valve, strike_grant_ids=[])
    valve = replace(valve, strike_grant_ids=_with(valve.strike_grant_ids, result.grant_id))
    # Its 429 before shut the valve, or told of itself: open again it is since somebody succeeded.
    tells_of_itself = result.sign is Sign.NOT_NOW and result.refused_since is not None
    if tells_of_itself or result.grant_id in valve.minute_grant_ids:
        return valve
    seen = _with(valve.minute_grant_ids, result.grant_id)
    return replace(valve, minute_bad=valve.minute_bad + 1, minute_grant_ids=seen)


def _is_its_own_limit(valve: Valve, result: Result) -> bool:
    """Whether who is asked to wait was asked so before; or others, asked later, are served, and nobody else waits.

    A limit of the client that lets some through meanwhile, as a bucket does, is told to a second grant soon enough.
    """
    if result.refused_since is not None:
        return True
    served_later = valve.witness_at is not None and valve.witness_at > result.started_at
    return result.may_be_its_own and served_later and valve.minute_grant_ids == [result.grant_id]


def _is_alone(valve: Valve, result: Result) -> bool:
    """Whether somebody was refreshed since the same was first refused: so it tells of itself."""
    witness, since = valve.witness_at, result.refused_since
    return witness is not None and since is not None and witness > since


def _refused(valve: Valve, result: Result, at: datetime) -> Valve:
    """Count one who was refused alike. What was begun before the first of them was told proves no more than that one.

    So whoever was sent beside it has his say before all are stopped: of ten requests that leave together three may be
    refused, each for its own grant, and seven succeed. And where a success has just opened the valve nobody is counted
    for a minute: else one who lives would be asked again and again, while a thousand dead are worked through.
    """
    if valve.paused_until is None and valve.changed_at is not None and result.started_at < valve.changed_at + MINUTE:
        return valve
    if is_shut_for_refusals(valve):  # whatever the canaries say, as long as nobody succeeds
        return valve
    valve = _refused_in_any_words(valve, result, at)
    if valve.refused_since is not None and valve.refused_code != result.code and not result.of_refresh:
        return valve  # a wrong secret is told in one word to refreshes, in another to revocations between them
    if valve.refused_since is None or valve.refused_code != result.code:
        return replace(valve, refused_since=at, refused_code=result.code, refused_grant_ids=[result.grant_id])
    if result.started_at <= valve.refused_since:
        return valve
    return replace(valve, refused_grant_ids=_with(valve.refused_grant_ids, result.grant_id))


def _refused_in_any_words(valve: Valve, result: Result, at: datetime) -> Valve:
    """The same, whatever the words: a wrong secret may be told in as many as there are nodes."""
    if valve.mixed_since is None:
        return replace(valve, mixed_since=at, mixed_grant_ids=[result.grant_id])
    if result.started_at <= valve.mixed_since:
        return valve
    return replace(valve, mixed_grant_ids=_with(valve.mixed_grant_ids, result.grant_id, most=MIXED_STRIKES))


def _with(ids: list[UUID], grant_id: UUID, *, most: int = STRIKES) -> list[UUID]:
    """One grant more, where it is another one and not enough are known already: a row holds few."""
    return ids if grant_id in ids or len(ids) >= most else [*ids, grant_id]


def _tripped(valve: Valve) -> bool:
    in_a_row = len(valve.strike_grant_ids) >= STRIKES
    in_a_minute = valve.minute_bad >= STRIKES and valve.minute_bad > BAD_SHARE * valve.minute_asked
    return in_a_row or in_a_minute


def is_shut_for_refusals(valve: Valve) -> bool:
    """Whether it was shut because everybody seemed to be refused, and the provider has asked for no rest since."""
    return (
        valve.paused_until is not None and valve.refused_since is not None and valve.pause_reason == valve.refused_code
    )


def trued(valve: Valve) -> Valve:
    """The valve without what a worker of the release before left standing when it opened it.

    We forget who was refused whenever a valve opens, and for a minute after that nobody is counted.
    """
    opened_since = valve.paused_until is None and valve.refused_since is not None and valve.changed_at is not None
    stale = opened_since and valve.refused_since <= valve.changed_at  # type: ignore[operator]
    return _believed(valve) if stale else valve


def shut(valve: Valve, *, at: datetime, reason: str, wait: timedelta | None) -> Valve:
    """Shut the valve for `wait`, or for the first back-off where the provider named none."""
    return replace(
        valve,
        paused_until=at + (timedelta(seconds=FIRST_PAUSE) if wait is None else wait),
        pause_reason=reason,
        pause_seconds=FIRST_PAUSE if wait is None else 0.0,
        changed_at=at,
        strike_grant_ids=[],
    )


def _stay_shut(valve: Valve, result: Result, at: datetime) -> Valve:
    """Wait longer, where the provider says so to a canary; never shorter than the canary's back-off."""
    assert valve.paused_until is not None  # noqa: S101  # asked only while it is shut
    wait = timedelta(seconds=FIRST_PAUSE) if result.retry_after is None else result.retry_after
    return replace(valve, paused_until=max(valve.paused_until, at + wait), pause_reason=result.code)


def reopen(valve: Valve, *, at: datetime) -> Valve:
    """Open the valve: the backlog leaves at the allowed rate."""
    return replace(
        _believed(valve),
        paused_until=None,
        pause_reason=None,
        pause_seconds=0.0,
        changed_at=at,
        canary_grant_id=None,
        strike_grant_ids=[],
        minute_at=None,
    )
