"""Timing: when a grant is due, how long a token set lives, and how long a failing one waits."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

SHARE: Final = 2 / 3  # of the life; cert-manager and certbot renew there, too
JITTER: Final = 0.1  # of the life, either way, the same for a grant every time
LEAST_LIFE: Final = timedelta(seconds=60)
YEAR: Final = timedelta(days=365)
GAVE_UP_WAIT: Final = timedelta(hours=1)
LEAST_REST: Final = timedelta(seconds=5)
LAST_TRY: Final = timedelta(minutes=1)  # before a refresh token ends
RELEASE_FIRST: Final = timedelta(seconds=5)
RELEASE_SPREAD: Final = timedelta(seconds=10)


def life(expires_in: float | None, *, default: timedelta) -> timedelta:
    """How long an access token lives, from the `expires_in` (seconds) of its answer (RFC 6749 §5.1).

    Absent: the provider's default. Zero (a fraction of a second is none) or negative: 60 s. Over a year: a year.
    Anything else as it is.
    """
    if expires_in is None:
        return default
    if expires_in < 1:
        return LEAST_LIFE
    return timedelta(seconds=min(expires_in, YEAR.total_seconds()))


def due_at(started_at: datetime, lifetime: timedelta, grant_id: UUID) -> datetime:
    """When a fresh token set is renewed: 2/3 ± 1/10 of its life after the request for it began."""
    return started_at + lifetime * (SHARE + JITTER * stable_jitter(grant_id))


def due_on_demand(started_at: datetime, rest: timedelta, grant_id: UUID) -> datetime:
    """When a grant that nobody reads is renewed so that it does not die: `rest` ± 1/10 after the request began."""
    return started_at + rest * (1 + JITTER * stable_jitter(grant_id))


def before_it_idles_out(started_at: datetime, refresh_expires_at: datetime, grant_id: UUID) -> datetime:
    """When a grant is renewed at the latest, so that its refresh token does not idle out: at half of its life ± 1/10.

    The rest of one whose end stays, however often it is renewed, is halved each time: then a few seconds are the least.
    """
    rest = max((refresh_expires_at - started_at) / 2, LEAST_REST)
    return started_at + rest * (1 + JITTER * stable_jitter(grant_id))


def once_it_helps(started_at: datetime, lifetime: timedelta, same_above: timedelta, grant_id: UUID) -> datetime:
    """When a refresh brings a new access token: once the rest has fallen to `same_above`, up to 1/10 of that later."""
    later = same_above * (JITTER * (1 + stable_jitter(grant_id)) / 2)
    return started_at + lifetime - same_above + later


def wait_of_the_same_token(rest: timedelta) -> timedelta:
    """The least wait after a refresh that brought the same end again: a minute, or until that end where it is nearer.

    At two thirds of the rest each time a provider would be asked ever faster, for nothing.
    """
    return min(LEAST_LIFE, max(rest, LEAST_REST))


def before_the_end(wait: timedelta, at: datetime, refresh_expires_at: datetime | None) -> timedelta:
    """The wait of a grant that is in trouble, such that it is asked once more before its refresh token ends."""
    if refresh_expires_at is None:
        return wait
    last = refresh_expires_at - LAST_TRY - at
    return min(wait, last) if last > timedelta(0) else wait


def stable_jitter(grant_id: UUID) -> float:
    """A number in [-1, 1) that is always the same for a grant, so that its rhythm is even."""
    return (grant_id.int % 2**32) / 2**31 - 1


def back_off(failures: int, *, first: timedelta, cap: timedelta, chance: float) -> timedelta:
    """The wait after the n-th failure: `first * 2^(n-1)` up to `cap`, times 1/2 to 1 by `chance` in [0, 1).

    With 5 s and a cap of 5 min: 2.5-5 s, 5-10 s, 10-20 s, 20-40 s, 40-80 s, 80-160 s, then 150-300 s.
    """
    full = min(first * (1 << min(max(failures, 1) - 1, 20)), cap)
    return full * (0.5 + chance / 2)


def release_wait(chance: float) -> timedelta:
    """The wait of a job that a guard gave back: 5 to 15 s."""
    return RELEASE_FIRST + RELEASE_SPREAD * chance


def quarter_of(lifetime: timedelta | None, *, at_most: timedelta) -> timedelta:
    """`at_most`, or a quarter of a shorter life: the wait of a suspect."""
    return at_most if lifetime is None else min(at_most, lifetime / 4)
