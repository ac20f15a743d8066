"""Guard: may we send? Named checks, asked after start and again on the open connection just before the first byte."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tasks.oauth.answer import HeldBack
from tasks.oauth.rotation import Rotation

HAND_OUT_LEAST: Final = timedelta(seconds=60)
WAIT_CAP: Final = timedelta(minutes=5)
SHORTLY: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of an attempt at the instant in which it would be sent.

    `age` counts from just before the start statement was sent, on a clock that runs while the machine sleeps.
    """

    rotation: str
    age: timedelta
    lease: timedelta
    deadline: timedelta
    journal_writable: bool
    client_paused: bool
    valve_shut: bool
    stopping: bool
    in_doubt_for: timedelta | None
    grace: timedelta | None
    journals_undrained: bool
    access_left: timedelta | None
    life: timedelta | None
    repeated: bool = False
    after_grace: str = Rotation.FAMILY


def lease_is_too_short(now: Situation) -> HeldBack | None:
    """The answer might come after somebody else may send."""
    return HeldBack("lease_is_too_short") if now.age + now.deadline > now.lease else None


def journal_cannot_be_written(now: Situation) -> HeldBack | None:
    """An answer could not be made safe."""
    return None if now.journal_writable else HeldBack("journal_cannot_be_written")


def client_is_paused(now: Situation) -> HeldBack | None:
    """An operator said no since the claim: that stops everything but revocations."""
    return HeldBack("client_is_paused") if now.client_paused else None


def valve_is_shut(now: Situation) -> HeldBack | None:
    """The provider or the breaker said no since the claim; a first repeat inside its grace goes on."""
    return HeldBack("valve_is_shut") if now.valve_shut and not _repeats_in_grace(now) else None


def process_is_stopping(now: Situation) -> HeldBack | None:
    """A worker that was told to stop begins nothing."""
    return HeldBack("process_is_stopping") if now.stopping else None


def profile_forbids(now: Situation) -> HeldBack | None:
    """A repeat could kill what is alive: at `family`, and at `grace` once the grace is over, as `after_grace` says.

    There a grant in doubt waits until every journal that may hold its answer is drained, and until its access
    token is too short to be handed out: a lapse can be mended, a killed family cannot. At `grace` also until the grace
    of every repeat is over. So what is sent then finds a token that was spent long ago, or is its first use: in that
    case its own grace begins, and it is repeated at once as the first was. For that alone it waits where a late repeat
    kills nothing.
    """
    if now.in_doubt_for is None or now.rotation not in (Rotation.FAMILY, Rotation.GRACE):
        return None
    if _in_grace(now):
        return None
    kills = Rotation.FAMILY in (now.rotation, now.after_grace)
    usable = (now.access_left or timedelta(0)) - _least(now)
    if kills and usable > timedelta(0):
        return HeldBack("access_token_still_serves", wait=min(usable, WAIT_CAP))
    began_after = now.in_doubt_for - now.age
    if now.rotation == Rotation.GRACE and now.grace is not None and began_after <= 2 * now.grace:
        return HeldBack("grace_is_not_over", wait=min(2 * now.grace - began_after + SHORTLY, WAIT_CAP))
    if kills and now.journals_undrained:
        return HeldBack("journal_is_not_drained", wait=WAIT_CAP if now.life is None else min(WAIT_CAP, now.life / 4))
    return None


def begins_doubt(started_at: datetime, doubt_since: datetime | None, grace: timedelta | None) -> bool:
    """Whether an attempt of unknown outcome begins a doubt, and so may be repeated at once (also in models/)."""
    return doubt_since is None or (grace is not None and started_at > doubt_since + 2 * grace)


def _in_grace(now: Situation) -> bool:
    if now.rotation != Rotation.GRACE or now.in_doubt_for is None or now.grace is None:
        return False
    return now.in_doubt_for + now.deadline <= now.grace


def _repeats_in_grace(now: Situation) -> bool:
    return _in_grace(now) and not now.repeated


def _least(now: Situation) -> timedelta:
    return HAND_OUT_LEAST if now.life is None else min(HAND_OUT_LEAST, now.life / 4)


CHECKS: Final[tuple[Callable[[Situation], HeldBack | None], ...]] = (
    process_is_stopping,
    journal_cannot_be_written,
    client_is_paused,
    valve_is_shut,
    profile_forbids,
    lease_is_too_short,
)


def guard(now: Situation) -> HeldBack | None:
    """The first check that holds the request back, or None: it may be sent."""
    return next((held for check in CHECKS if (held := check(now)) is not None), None)
