"""Drift: what answers prove against a client's rotation profile. docs/decisions/0020 says what proves what, and why.

A token set shows (`seen_in`) what it alone proves or only hints at; hints are gathered until several grants agree
(`gather`). What is proven tightens the profile, or is only told; nothing loosens it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from tasks.oauth.rotation import Rotation
from tasks.policy.timing import YEAR

IN_A_ROW: Final = 3  # grants that must show the same, where one alone proves nothing
MOST_WATCHED: Final = 10  # grants of one kind: further ones take the place of the first
OTHERS_LEAST: Final = 10  # other grants that must have been refreshed meanwhile
OTHERS_SHARE: Final = 0.01  # of those, at most so many may have died of something else
SHORTER: Final = 0.5  # of the life before: a provider that rounds, or tells what is left, is no drift


class Drift(StrEnum):
    """What contradicts the profile."""

    EARLY_DEATH = "early_death"  # a spent refresh token was refused while it should have lived; what came of it lived
    ROTATES = "rotates"  # where refresh tokens stay, an answer brought another one
    FAMILY_KILLED = "family_killed"  # each time that a spent token was refused, what came of it died, too
    NO_NEW_REFRESH_TOKEN = "no_new_refresh_token"  # noqa: S105  # where refresh tokens rotate, an answer brought none
    SHORTER_LIFE = "shorter_life"  # access tokens of several grants in a row lived half as long as before, or shorter


TOLD: Final = {
    Drift.EARLY_DEATH: "an old refresh token died before its time",
    Drift.ROTATES: "an answer brought another refresh token, though they were said to stay",
    Drift.FAMILY_KILLED: "sending an old refresh token again has killed its successors",
    Drift.NO_NEW_REFRESH_TOKEN: "an answer brought no new refresh token, though they were said to rotate",
    Drift.SHORTER_LIFE: "access tokens live shorter than before",
}

# What each forces. A token that died early while its successor lived shows that reuse does not kill; of one that was
# said to stay and does not, nothing is known, and what is unknown is `family`.
FORCES: Final = {
    Drift.EARLY_DEATH: Rotation.IMMEDIATE,
    Drift.ROTATES: Rotation.FAMILY,
    Drift.FAMILY_KILLED: Rotation.FAMILY,
}
STRICTNESS: Final = {
    Rotation.NONE: 0,
    Rotation.ON_USE: 1,
    Rotation.UNTIL_NEXT_REFRESH: 1,
    Rotation.GRACE: 2,
    Rotation.IMMEDIATE: 3,
    Rotation.FAMILY: 4,
}
LIVES_ON: Final = (Rotation.NONE, Rotation.ON_USE, Rotation.UNTIL_NEXT_REFRESH, Rotation.GRACE)


class Seen(StrEnum):
    """What one answer shows."""

    EARLY_DEATH = "early_death"
    ROTATES = "rotates"
    NO_NEW_REFRESH_TOKEN = "no_new_refresh_token"  # noqa: S105
    WINNER_LIVED = "winner_lived"  # a spent token was refused, and what came of it works
    WINNER_DIED = "winner_died"  # a spent token was refused, and what came of it is dead: of that, or of its user
    SHORTER_LIFE = "shorter_life"
    LIFE_AS_BEFORE = "life_as_before"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one answer shows, of which grant; lives in seconds."""

    seen: Seen
    grant_id: UUID
    before: float | None = None
    after: float | None = None


class Habit(NamedTuple):  # cheaper to make than a frozen dataclass, and made for each answer
    """What a client's profile says of a refresh token that was replaced, and of lives."""

    rotation: Rotation
    grace: timedelta | None = None
    until_next: timedelta | None = None
    reissues: bool = False  # at `none` each answer brings another one
    repeats_tokens: bool = False  # an answer may be the one before (Strava)

    def lives_until(self, first_use: datetime) -> datetime | None:
        """Until when a refresh token lives at least, once it was used at `first_use` or later; None: for ever.

        At `on_use` and `until_next_refresh`: as long as nobody has what came of it.
        """
        match self.rotation:
            case Rotation.GRACE:
                return first_use + (self.grace or timedelta(0))
            case Rotation.UNTIL_NEXT_REFRESH if self.until_next is not None:
                return first_use + self.until_next
            case _:
                return None


class Answered(NamedTuple):  # cheaper to make than a frozen dataclass, and made for each answer
    """A token set that is stored now, and its row as it was before."""

    grant_id: UUID
    started_at: datetime  # of the attempt that was answered
    is_own: bool  # it was asked with the refresh token that the row holds, and came for the first time
    rotated: bool  # it brought another refresh token
    suspect_at: datetime | None  # the row's refresh token was refused then
    doubt_since: datetime | None
    spent_refused_at: datetime | None
    life_before: timedelta | None  # as an answer said it
    life: timedelta | None
    is_watched: bool  # lives have shrunk before it


def spent_refused_at(now: Answered, habit: Habit) -> datetime | None:
    """When the token was refused that this set came of, if that was before its time; kept with what is stored.

    It came late: by then a repeat had been refused. Nobody has had this set, so nothing has ended the token's life.
    """
    if now.suspect_at is None or not (now.is_own and now.rotated) or now.started_at >= now.suspect_at:
        return None
    until = habit.lives_until(min(now.started_at, now.doubt_since or now.started_at))
    return now.suspect_at if until is None or now.suspect_at < until else None


def seen_in(now: Answered, habit: Habit) -> list[Sighting]:
    """What a token set shows."""
    found: list[Seen] = []
    if now.spent_refused_at is not None and now.is_own and now.started_at > now.spent_refused_at:
        found.append(Seen.EARLY_DEATH if habit.rotation in LIVES_ON else Seen.WINNER_LIVED)
    if habit.rotation is Rotation.NONE and now.rotated and not habit.reissues:
        found.append(Seen.ROTATES)
    if habit.rotation is not Rotation.NONE and not now.rotated and not habit.repeats_tokens:
        found.append(Seen.NO_NEW_REFRESH_TOKEN)
    lives = [] if habit.repeats_tokens else _lives(now)
    return [*(Sighting(seen, now.grant_id) for seen in found), *lives]


def _lives(now: Answered) -> list[Sighting]:
    if now.life is None or now.life_before is None or max(now.life, now.life_before) >= YEAR:
        return []
    if now.life <= now.life_before * SHORTER:
        before, after = now.life_before.total_seconds(), now.life.total_seconds()
        return [Sighting(Seen.SHORTER_LIFE, now.grant_id, before, after)]
    return [Sighting(Seen.LIFE_AS_BEFORE, now.grant_id)] if now.is_watched else []


@dataclass(frozen=True, slots=True)
class Watch:
    """What several grants must show alike before it is told."""

    shorter: tuple[UUID, ...] = ()  # the last grants, all of which had shorter lives
    killed: tuple[UUID, ...] = ()  # whose spent token was refused, and what came of it died; none has lived since

    @classmethod
    def of(cls, row: Mapping[str, Any] | None) -> Self:
        """Read it from its column."""
        return cls(**{name: tuple(map(UUID, ids)) for name, ids in (row or {}).items()})

    def row(self) -> dict[str, list[str]] | None:
        """As its column holds it; None where there is nothing to watch."""
        kept = {"shorter": self.shorter, "killed": self.killed}
        return {name: [str(each) for each in ids] for name, ids in kept.items() if ids} or None


@dataclass(frozen=True, slots=True)
class Finding:
    """A contradiction that is proven."""

    what: Drift
    grant_id: UUID
    before: str | float
    after: str | float | None  # what it is now; None: nothing was tightened


@dataclass(frozen=True, slots=True)
class Others:
    """How the other grants of a client fared in the last day; `refreshed` counted no further than is needed."""

    died: int
    refreshed: int

    @property
    def are_well(self) -> bool:
        """Whether what befell those whose spent tokens were repeated befell nobody else."""
        return self.refreshed >= OTHERS_LEAST and self.died <= OTHERS_SHARE * self.refreshed


def gather(watch: Watch, sightings: Sequence[Sighting], rotation: Rotation) -> tuple[Watch, list[Finding]]:
    """Add what was seen to what is watched; returns that, and what is proven by now."""
    found: list[Finding] = []
    for each in sightings:
        match each.seen:
            case Seen.EARLY_DEATH | Seen.ROTATES | Seen.NO_NEW_REFRESH_TOKEN:
                found.append(finding(Drift(each.seen), each.grant_id, rotation))
            case Seen.WINNER_LIVED:
                watch = replace(watch, killed=())
            case Seen.WINNER_DIED:
                watch = replace(watch, killed=_with(watch.killed, each.grant_id))
            case Seen.LIFE_AS_BEFORE:
                watch = replace(watch, shorter=())
            case Seen.SHORTER_LIFE:
                watch = replace(watch, shorter=_with(watch.shorter, each.grant_id))
                if len(watch.shorter) >= IN_A_ROW:
                    found.append(Finding(Drift.SHORTER_LIFE, each.grant_id, each.before or 0.0, each.after))
                    watch = replace(watch, shorter=())
        if each.seen is Seen.EARLY_DEATH:  # its winner lived
            watch = replace(watch, killed=())
    return watch, found


def family_killed(watch: Watch, rotation: Rotation, others: Others) -> list[Finding]:
    """Whether so many winners died of a repeat, and of nothing else."""
    if len(watch.killed) < IN_A_ROW or not others.are_well:
        return []
    return [finding(Drift.FAMILY_KILLED, watch.killed[-1], rotation)]


def finding(what: Drift, grant_id: UUID, rotation: Rotation) -> Finding:
    """What a contradiction makes of the profile."""
    to = FORCES.get(what)
    tightens = to is not None and STRICTNESS[to] > STRICTNESS[rotation]
    return Finding(what, grant_id, rotation.value, to.value if to is not None and tightens else None)


def strictest(findings: Sequence[Finding]) -> Rotation | None:
    """The profile that they force, if any does."""
    forced = [FORCES[each.what] for each in findings if each.what in FORCES and each.after is not None]
    return max(forced, key=STRICTNESS.__getitem__, default=None)


def is_news(known: Mapping[str, Any] | None, found: Finding) -> bool:
    """Whether it was not told already."""
    return bool((known or {}).get(found.what, {}).get("to", ...) != found.after)


def _with(ids: tuple[UUID, ...], grant_id: UUID) -> tuple[UUID, ...]:
    return ids if grant_id in ids else (*ids, grant_id)[-MOST_WATCHED:]
