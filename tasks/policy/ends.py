"""Ends: when an access token, its refresh token and its consent end, and when to ask again because of it.

What the answer says counts first, then what the provider file says, then what the row said before. An answer that makes
no sense (an end in the past, an instant where a length should be) is left out, and named in `strange`.
"""

import math
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from tasks.oauth.provider import Provider
from tasks.oauth.shapes import LifeFrom
from tasks.oauth.token_answer import TokenSet
from tasks.policy import timing

FOR_EVER: Final = timedelta(days=100 * 366)  # what ends later does not end
# A rest that is told anew is rounded to seconds, and counted from another instant: that much later is no other end.
ROUNDING: Final = timedelta(seconds=2)
SETTLED_ENOUGH: Final = timedelta(minutes=10)  # between two token sets, before they tell whether an end moves with them


class Before(NamedTuple):  # cheaper to make than a frozen dataclass, and made for each answer
    """What the row said until now; `refreshed_at`: start of the request that brought the token set held."""

    created_at: datetime
    refreshed_at: datetime | None
    access_expires_at: datetime | None
    refresh_expires_at: datetime | None
    consent_expires_at: datetime | None
    life: timedelta | None = None


class Ends(NamedTuple):  # cheaper to make than a frozen dataclass, and made for each answer
    """When what was just received ends, None: nobody says so; `strange`: what was told of it and made no sense."""

    life: timedelta
    refresh_expires_at: datetime | None
    consent_expires_at: datetime | None
    due_at: datetime
    strange: tuple[str, ...]


def ends(
    token_set: TokenSet,
    provider: Provider,
    *,
    grant_id: UUID,
    started_at: datetime,
    on_demand: bool,
    before: Before | None = None,
) -> Ends:
    """Reckon the ends of a token set whose request began at `started_at`; `before`: None of a new consent."""
    strange = [*token_set.ends.strange]
    default = _default_life(provider, before)
    life = access_life(token_set, provider, started_at, strange, default=default)
    refresh_end = _refresh_end(token_set, provider, started_at, before, strange)
    consent_end = _consent_end(token_set, provider, started_at, before)
    fixed = _fixed_end(refresh_end, started_at, before)
    if fixed is not None:
        consent_end = min(fixed, consent_end or fixed)
    known = None if before is None else before.access_expires_at
    due = next_due(
        provider, life, started_at, grant_id, on_demand=on_demand, refresh_end=refresh_end, access_ended_at=known
    )
    return Ends(life, refresh_end, consent_end, due, tuple(strange))


def _default_life(provider: Provider, before: Before | None) -> timedelta:
    """The life until somebody tells it: of one that introspection tells, the one before where that was shorter.

    So a grant whose introspection is away for once lapses no sooner than it did. Less than a minute is what was left of
    a token that was given twice, and no life.
    """
    default = timedelta(seconds=provider.default_life_seconds)
    if provider.life_from is not LifeFrom.INTROSPECTION or before is None or before.life is None:
        return default
    return min(default, max(before.life, timing.LEAST_LIFE))


def access_life(
    token_set: TokenSet,
    provider: Provider,
    started_at: datetime,
    strange: list[str] | None = None,
    *,
    default: timedelta | None = None,
) -> timedelta:
    """How long an access token lives from the start of its request; the default where nothing usable was told."""
    expires_in, expires_at = token_set.expires_in, token_set.ends.expires_at
    if expires_in is None and expires_at is not None:
        if expires_at > started_at:
            expires_in = (expires_at - started_at).total_seconds()
        elif strange is not None:
            strange.append("expires_at")
    return timing.life(expires_in, default=default or timedelta(seconds=provider.default_life_seconds))


def _refresh_end(
    token_set: TokenSet, provider: Provider, started_at: datetime, before: Before | None, strange: list[str]
) -> datetime | None:
    """The end of the refresh token that is held from now on: the one in the answer, or the one that stays."""
    told = token_set.ends
    if told.refresh_life is not None:
        return _after(started_at, told.refresh_life)
    if told.refresh_expires_at is not None:
        if told.refresh_expires_at > started_at:
            return _after(started_at, (told.refresh_expires_at - started_at).total_seconds())
        strange.append("refresh_expires_at")
    if provider.refresh_idle_days is not None:
        return _after(started_at, timedelta(days=provider.refresh_idle_days).total_seconds())
    return before.refresh_expires_at if before is not None and token_set.refresh_token is None else None


def _consent_end(
    token_set: TokenSet, provider: Provider, started_at: datetime, before: Before | None
) -> datetime | None:
    """From when on only the user can renew it; the end that is known stays where it is told anew within minutes."""
    known = None if before is None else before.consent_expires_at
    if token_set.ends.consent_life is not None:
        told = _after(started_at, token_set.ends.consent_life)
        return known if told and known and abs(told - known) < SETTLED_ENOUGH else told
    if provider.consent_days is not None:
        since = started_at if before is None else before.created_at
        return _after(since, timedelta(days=provider.consent_days).total_seconds())
    # One that was taken for an end that stays, and moved since, was none.
    return None if known and before and known == before.refresh_expires_at else known


def _fixed_end(refresh_end: datetime | None, started_at: datetime, before: Before | None) -> datetime | None:
    """The end of a refresh token that renewing does not put off: its user must consent again by then.

    It tells once some time has passed between the two token sets: an end that moves has moved by as much.
    """
    if before is None or refresh_end is None or before.refresh_expires_at is None:
        return None
    passed = started_at - (before.refreshed_at or before.created_at)
    moved = abs(refresh_end - before.refresh_expires_at)
    stays = moved < passed / 2 if passed >= SETTLED_ENOUGH else before.consent_expires_at == before.refresh_expires_at
    return refresh_end if stays else None


def next_due(
    provider: Provider,
    life: timedelta,
    started_at: datetime,
    grant_id: UUID,
    *,
    on_demand: bool,
    refresh_end: datetime | None = None,
    access_ended_at: datetime | None = None,
) -> datetime:
    """When a grant is due next, by how it is kept: warm, or on demand where nobody reads it meanwhile.

    `access_ended_at`: the end of the access token before, in which a repeated one is recognised.
    """
    due = (
        timing.due_on_demand(started_at, timedelta(days=provider.idle_refresh_days), grant_id)
        if on_demand
        else _due_warm(provider, life, started_at, grant_id, access_ended_at)
    )
    return due if refresh_end is None else min(due, timing.before_it_idles_out(started_at, refresh_end, grant_id))


def _due_warm(
    provider: Provider, life: timedelta, started_at: datetime, grant_id: UUID, access_ended_at: datetime | None
) -> datetime:
    above = timedelta(seconds=provider.same_token_above_seconds or 0)
    if timedelta(0) < above < life:
        return timing.once_it_helps(started_at, life, above, grant_id)
    due = timing.due_at(started_at, life, grant_id)
    if access_ended_at is not None and abs(started_at + life - access_ended_at) <= ROUNDING:
        return max(due, started_at + timing.wait_of_the_same_token(life))
    return due


def _after(began_at: datetime, seconds: float) -> datetime | None:
    return None if math.isinf(seconds) or seconds > FOR_EVER.total_seconds() else began_at + timedelta(seconds=seconds)
