"""Invariant 17: however many grants of a client die, in whatever words, no living one is stale for longer than a tenth.

A grant lives where its consent does, at the provider; it is stale from the end of its access token on, and judged once
that is a tenth of the token's life ago, at looks of the judge's own and when a token set is stored at last. What may
excuse it is named below, is counted, and holds for as long as it lasts and for ten minutes more: the longest back-off
of a valve and that of a grant, one after the other. Other grants' deaths are no excuse.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import inf
from uuid import UUID

from simulator.ledger import Grant as LedgerGrant
from tests.simulation.tables import Row, Tables
from tests.simulation.world import EPOCH, World

SHARE = 0.1  # of its life for which a living grant may be stale
RECOVERY, HOUR = 600.0, 3600.0  # s
SILLY = 60.0  # s: what `expires_in` of nothing or less is taken for; no provider here means it
OFTEN_ENOUGH = 3  # refusals, after which a grant is asked hourly
EARLIEST_DUE = 0.55  # of its life: what happened before cannot have delayed it


@dataclass
class Excuse:
    """Why a client's grants, or one grant, could not be renewed between two instants, in seconds."""

    why: str
    begin: float
    end: float


class Living:
    """Watches how stale the living are."""

    def __init__(
        self,
        world: World,
        tables: Tables,
        consents: Mapping[UUID, LedgerGrant],
        troubles: list[tuple[float, float, str]],
        fail: Callable[[str, str, str], None],
        *,
        word: str | None,
    ) -> None:
        self._world = world
        self._tables = tables
        self._consents = consents
        self._troubles = troubles  # those that `Judge.trouble` was told
        self._fail = fail
        self.word = word
        self._shut: dict[int, list[Excuse]] = {}  # by client: valves shut for another reason than a death
        self._slow: dict[int, list[Excuse]] = {}  # by client: throttled in a word that is known to pass
        self._unfit: list[Excuse] = []
        self.struck: Mapping[UUID, float] = {}  # grants: when a fault last met a request of theirs
        self.excused: Counter[str] = Counter()
        self.worst = 0.0  # the longest that one was stale without an excuse, in lives

    # What excuses

    def rewound(self) -> None:
        """Commits are gone: nothing is asked until every journal was read."""
        self._unfit.append(Excuse("commits were missing", self._world.seconds, inf))

    def fit(self) -> None:
        """The incident is closed."""
        for excuse in self._unfit:
            excuse.end = min(excuse.end, self._world.seconds)

    def valve_changed(self, before: Row, after: Row) -> None:
        """A valve was written."""
        shut = self._shut.setdefault(after["client_id"], [])
        for excuse in shut:
            excuse.end = min(excuse.end, self._world.seconds)
        reason = after["pause_reason"]
        if after["paused_until"] is not None and reason != self.word:
            begin = shut[-1].begin if shut and before["pause_reason"] == reason else self._world.seconds
            shut[:] = [*shut[-20:], Excuse(f"the valve was shut for {reason}", begin, inf)]

    def witness_changed(self, after: Row) -> None:
        """A client's pace was written: one that is slowed for a word that passes may be as slow as it must."""
        slow = self._slow.setdefault(after["client_id"], [])
        is_slow = after["slowed_by"] > 0 and after["slowed_code"] == after["passing_code"]
        if is_slow and (not slow or slow[-1].end < inf):
            slow[:] = [*slow[-20:], Excuse("the client was throttled in a dialect", self._world.seconds, inf)]
        elif not is_slow and slow:
            slow[-1].end = min(slow[-1].end, self._world.seconds)

    def _excuses(self, row: Row) -> Iterator[Excuse]:
        now, refreshed_at = self._world.seconds, _seconds(row["refreshed_at"])
        yield from (Excuse(kind, begin, end) for begin, end, kind in self._troubles)
        yield from self._shut.get(row["client_id"], ())
        yield from self._slow.get(row["client_id"], ())
        yield from self._unfit
        if row["doubt_since"] is not None or row["suspect_at"] is not None:
            yield Excuse("it was in doubt or suspect itself", now, now)
        if row["life"].total_seconds() <= SILLY:
            yield Excuse("a fault gave it a life of a minute", now, now)
        if (at := self.struck.get(row["id"])) is not None and at >= refreshed_at:
            yield Excuse("a fault met its own request", at, max(at, self._due(row)))  # be it that it shortened its life
            if row["refusals"] >= OFTEN_ENOUGH:
                yield Excuse("faults have refused it alone three times: it waits for an hour", at, at + HOUR)
        if (at := self._refused_in_two_troubles(row)) is not None:
            yield Excuse("it was refused three times in two troubles, alone: it waits for an hour", at, at + HOUR)

    def _refused_in_two_troubles(self, row: Row) -> float | None:
        """When it was last refused, if the first time lay in one trouble and the last in a later one.

        Between them others were refreshed, so that nobody can tell it from a grant that died.
        """
        if row["refusals"] < OFTEN_ENOUGH or row["refused_since"] is None:
            return None
        first, last = _seconds(row["refused_since"]), _seconds(row["last_error_at"])
        ended = [end for begin, end, _kind in self._troubles if begin <= first <= end]
        again = any(begin > max(ended) and begin <= last <= end for begin, end, _ in self._troubles) if ended else False
        return last if again else None

    # What is judged

    def look(self) -> None:
        """Look at every grant."""
        for row in self._tables.grants.values():
            self.judge(row)

    def judge(self, row: Row) -> None:
        """Look at a grant as it is, or was until now."""
        if row["status"] != "active" or row["access_expires_at"] is None or row["refreshed_at"] is None:
            return
        now, life = self._world.seconds, row["life"].total_seconds()
        stale_since = _seconds(row["access_expires_at"])
        if now <= stale_since or not self._consents[row["id"]].alive(now):
            return
        since, why = stale_since, ""
        for excuse in self._excuses(row):
            over = min(excuse.end + RECOVERY, now)
            if over > since and excuse.begin <= now and excuse.end >= self._due(row):
                since, why = over, excuse.why
        self.worst = max(self.worst, (now - since) / life)
        if now - since <= SHARE * life:
            self.excused[why] += why != "" and now - stale_since > SHARE * life
            return
        told = f"it lives, and has been stale for {now - stale_since:.0f} s of a life of {life:.0f} s"
        self._fail("17", told + (f", {now - since:.0f} s of them since {why}" if why else ""), row["ref"])

    def _due(self, row: Row) -> float:
        return _seconds(row["access_expires_at"]) - (1 - EARLIEST_DUE) * row["life"].total_seconds()  # type: ignore[no-any-return]


def _seconds(at: datetime) -> float:
    return (at - EPOCH).total_seconds()
