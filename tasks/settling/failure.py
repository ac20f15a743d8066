"""Failure: an attempt that brought no token set: how long its grant is left alone now, and when it is given up."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from models.attempt import Started
from models.locked_grant import LockedGrant
from models.states.dead_letter import Cause
from models.states.grant import GrantStatus
from settings import Settings
from tasks.oauth.answer import NotSent
from tasks.oauth.rules import Means
from tasks.policy import guard, refusal, timing
from tasks.policy.outcome import GrantThrottled, NotNow, NotUnderstood, Outcome, Race, Refused, Unknown
from tasks.policy.refusal import Refusals
from tasks.runtime.attempt import Arrived

Failure = NotSent | NotNow | Refused | NotUnderstood | GrantThrottled | Race | Unknown


class Patience:
    """How long grants are left alone that were asked in vain; `refused`: what is known of those that are refused."""

    def __init__(self, settings: Settings, refused: Mapping[UUID, Refusals]) -> None:
        self.settings = settings
        self.refused = refused

    def wait(self, job: Started, row: LockedGrant, end: Failure) -> timedelta:  # noqa: PLR0911  # one a kind
        """How long the grant is left alone."""
        match end:
            case Refused():
                return self._of_suspect(job, row)
            case NotNow(unknown=False):
                return self._of_limited(row, end)
            case GrantThrottled(retry_after=timedelta() as told):
                return max(told, timing.release_wait(random.random()))
            case GrantThrottled() | Race():
                return self._back_off(row, times=row.attempts)
            case Unknown() | NotNow() if self._is_repeated_at_once(job, row):
                return timedelta(0)
            case NotUnderstood():
                return self._of_refused(job, row, end)
            case NotNow() | NotSent() | Unknown():
                return self._back_off(row)
            case _:
                assert_never(end)

    def _of_limited(self, row: LockedGrant, end: NotNow) -> timedelta:
        """As long as it was told; once more, ever longer, and spread: several such must not come in a row."""
        told = max(end.retry_after or timedelta(0), timing.release_wait(random.random()))
        if limited_since(row, end) is None:
            return told
        return max(told + told / 4 * random.random(), self._back_off(row, times=row.attempts))

    def _of_refused(self, job: Started, row: LockedGrant, end: NotUnderstood) -> timedelta:
        known = self.refused[row.grant_id]
        if job.former_token_id is not None and row.suspect_at is None:
            return self._after_former(row, was_tried=is_in_its_word(row, end))
        if refusal.tries_former_tokens(known, at=row.at) and row.untried_former_tokens:
            return timing.release_wait(random.random())
        if end.unknown and not known.before and self._is_repeated_at_once(job, row):
            return timedelta(0)
        if not refusal.is_its_own(known):
            return self._back_off(row)
        given_up = timing.GAVE_UP_WAIT if row.failing_for >= self.settings.horizon else timedelta(0)
        return max(refusal.wait(known, row.life, at=row.at, at_most=self.settings.suspect_wait), given_up)

    def _after_former(self, row: LockedGrant, *, was_tried: bool) -> timedelta:
        """One that is refused alone: the next former token soon, each has one attempt; else hourly as before."""
        more = row.untried_former_tokens > was_tried
        return timing.release_wait(random.random()) if was_tried and more else refusal.SELDOM

    def _is_repeated_at_once(self, job: Started, row: LockedGrant) -> bool:
        """At `grace` the old token lives for seconds only: the first repeat goes at once."""
        return bool(row.grace) and guard.begins_doubt(job.started_at, row.doubt_since, row.grace)

    def _back_off(self, row: LockedGrant, *, times: int | None = None) -> timedelta:
        """`times`: how often it was in vain before; None: how often it failed, which not every end of one counts as."""
        if row.failing_for >= self.settings.horizon:
            return timing.GAVE_UP_WAIT
        return timing.back_off(
            (row.failures if times is None else times) + 1,
            first=timedelta(seconds=self.settings.backoff_first_seconds),
            cap=timedelta(seconds=self.settings.backoff_cap_seconds),
            chance=random.random(),
        )

    def _of_suspect(self, job: Started, row: LockedGrant) -> timedelta:
        if job.former_token_id is not None and row.suspect_at is None:
            return self._after_former(row, was_tried=True)
        if row.suspect_at and row.untried_former_tokens > (job.former_token_id is not None):
            return timing.release_wait(random.random())
        return timing.quarter_of(row.life, at_most=self.settings.suspect_wait)

    def given_up(self, row: LockedGrant, end: Failure) -> str | None:
        """The cause of a dead letter for a grant that has failed for as long as the horizon."""
        horizon, known = self.settings.horizon, self.refused.get(row.grant_id)
        failing = row.at - row.failing_since if row.failing_since else timedelta(0)
        match end:
            case NotUnderstood() if known is not None and refusal.is_hopeless(known, at=row.at, horizon=horizon):
                return Cause.OUR_CONFIGURATION if end.means is Means.OURS else Cause.REFUSED
            case _ if row.failing_for >= horizon:
                return Cause.GAVE_UP
            case NotUnderstood() if known is not None and not refusal.is_its_own(known) and failing >= horizon:
                return Cause.OUR_CONFIGURATION
            case NotUnderstood() | Refused() | NotNow() | NotSent() | GrantThrottled() | Race() | Unknown():
                return None
            case _:
                assert_never(end)


def limited_since(row: LockedGrant, end: Outcome) -> datetime | None:
    """When a grant was last asked to wait that is asked so once more."""
    return row.last_error_at if may_be_its_own(end) and row.last_error_code == end.code else None


def may_be_its_own(end: Outcome) -> bool:
    """Whether who is asked to wait may be so alone: it is so definitely, and no rule says whose limit it is."""
    return isinstance(end, NotNow) and not end.unknown and end.rule is None


def is_in_its_word(row: LockedGrant, end: Failure) -> bool:
    """Whether a former token of one that is refused alone was refused as its own is: in another word it may be ours."""
    alike = isinstance(end, NotUnderstood) and not end.unknown and end.code == row.refused_code
    return alike and row.suspect_at is None and row.status == GrantStatus.ACTIVE


def not_too_soon(arrived: Arrived, at: datetime, wait: timedelta) -> datetime:
    """When it is asked again: not before its provider lets it; a repeat at once saves a grant, and is let through."""
    again = at + wait
    return max(again, arrived.asked.started_at + arrived.asked.provider.grant_interval) if wait else again
