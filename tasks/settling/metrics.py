"""Metrics of settling: what a worker settled, in its meters."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import assert_never
from uuid import UUID

from models.locked_grant import LockedGrant
from models.states.client import Keep
from tasks.oauth.answer import HeldBack, NotSent
from tasks.policy.outcome import GrantThrottled, NotNow, NotUnderstood, Outcome, Race, Refreshed, Refused, Unknown
from tasks.policy.timing import due_at
from tasks.runtime import meters
from tasks.runtime.attempt import Arrived
from tasks.runtime.meters import Labels


def count_refreshes(group: Sequence[Arrived], outcomes: Sequence[Outcome], held: Mapping[UUID, LockedGrant]) -> None:
    """Count a settled group: how each ended, and of those kept warm how late and how near to the end of their life.

    `held` are the rows before they were written.
    """
    ended: Counter[Labels] = Counter()
    left, late = [], []
    for arrived, outcome in zip(group, outcomes, strict=True):
        job, client = arrived.attempt.job, arrived.attempt.registered.known.name
        ended[client, _kind(outcome)] += 1
        row = held.get(job.grant_id)
        if not isinstance(outcome, Refreshed) or row is None or row.access_expires_at is None:
            continue
        if row.keep != Keep.WARM or row.generation != job.generation:
            continue
        left.append(((client,), row.access_expires_at - row.at))
        if row.life is not None:
            late.append(((client,), job.started_at - due_at(row.access_expires_at - row.life, row.life, job.grant_id)))
    meters.REFRESHES.add(ended)
    meters.LIFE_LEFT.add(left)
    # What was begun before it was due was requested.
    meters.LATENESS.add((labels, lateness) for labels, lateness in late if lateness >= timedelta(0))


def _kind(outcome: Outcome) -> str:  # noqa: C901, PLR0911  # one a kind
    """Kinds of outcome, not codes: a provider may answer with any code that it likes."""
    match outcome:
        case Refreshed():
            return "refreshed"
        case HeldBack():
            return "held_back"
        case NotSent():
            return "not_sent"
        case NotNow():
            return "not_now"
        case Refused():
            return "refused"
        case GrantThrottled():
            return "grant_throttled"
        case Race():
            return "race"
        case NotUnderstood() if outcome.says_nothing:
            return "unknown"
        case Unknown():
            return "unknown"
        case NotUnderstood():
            return "misconfigured"  # as it was called in 0.1
        case _:
            assert_never(outcome)
