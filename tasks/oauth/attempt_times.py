"""Attempt times: how long one request to a provider may take, and how long its grant is left alone."""

from dataclasses import dataclass
from datetime import timedelta

from tasks.oauth.provider import Provider


@dataclass(frozen=True, slots=True)
class AttemptTimes:
    """How long one attempt may take, and how long it is left alone."""

    deadline: timedelta
    lease: timedelta


def attempt_times(
    provider: Provider, *, deadline: timedelta, lease: timedelta, slack: timedelta = timedelta(seconds=2)
) -> AttemptTimes:
    """Derive the HTTP deadline and the attempt lease from the provider and the process's defaults.

    A provider's own deadline keeps the defaults' proportion of lease to deadline. With a grace of s seconds the
    deadline is at most s/4 and the lease at most s/2, so that one repeat ends inside s. The lease
    is always longer than deadline and slack together; a short grace shortens the slack.
    """
    own = timedelta(seconds=provider.deadline_seconds) if provider.deadline_seconds else deadline
    left_alone = max(lease * (own / deadline), own + slack + timedelta(seconds=1))
    if provider.grace is None:
        return AttemptTimes(own, left_alone)
    return AttemptTimes(min(own, provider.grace / 4), min(left_alone, provider.grace / 2))
