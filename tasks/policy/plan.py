"""Plan: does a fleet fit its client's rate, and what happens where it does not? Pure arithmetic, in steady state.

    refreshes a minute   warm grants / (2/3 of the life) + grants on demand / (their idle time)
    allowed a minute     95 % of the rate: what the valve lets through (decision 0005)
    stretch              what is sent / allowed, at least 1: claims go by `due_at`, so every grant waits alike

A fleet that does not fit is renewed late at first, and only where even the whole life is too short, stale.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tasks.policy.timing import JITTER, SHARE
from tasks.policy.valve import MINUTE, USABLE_SHARE

FOR_EVER: Final = timedelta(days=365 * 10_000)  # whatever is asked, the answer is a length of time


@dataclass(frozen=True, slots=True)
class Load:
    """What a client has to keep: `warm` grants of one `life`, and others `on_demand`, renewed at least every `idle`.

    `rate_per_minute`: None is no limit. `confirms`: a new access token is presented once, which takes a slot where
    nothing is due. `introspects`: each refresh is followed by an introspection, which takes a slot in any case.
    """

    warm: int
    life: timedelta
    rate_per_minute: float | None
    on_demand: int = 0
    idle: timedelta = timedelta(days=7)
    confirms: bool = False
    introspects: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a load; None: the rate sets no limit."""

    refreshes_per_minute: float
    on_demand_per_minute: float  # of these: that no refresh token idles out
    confirms_per_minute: float
    introspections_per_minute: float
    allowed_per_minute: float | None
    share: float | None  # of the rate; confirms and introspections included
    left_per_minute: float | None  # for API calls
    fits: bool
    renewed_every: timedelta  # a warm grant
    late_by: timedelta  # later than 2/3 of its life
    stale_share: float  # of the time in which a warm grant has no living access token
    outage_margin: timedelta  # an outage up to this is not noticed: no access token kept warm ends
    refresh_all: timedelta | None  # after an outage in which all came due


def plan(load: Load) -> Plan:
    """Work it out."""
    cycle = load.life * SHARE
    on_demand = load.on_demand * (MINUTE / load.idle)
    refreshes = load.warm * (MINUTE / cycle) + on_demand
    confirms = refreshes if load.confirms else 0.0
    introspections = refreshes if load.introspects else 0.0
    sent = refreshes + introspections
    rate = load.rate_per_minute
    allowed = None if rate is None else rate * USABLE_SHARE
    stretch = 1.0 if allowed is None else min(max(sent / allowed, 1.0), FOR_EVER / cycle)
    late_by = cycle * (stretch - 1)
    return Plan(
        refreshes_per_minute=refreshes,
        on_demand_per_minute=on_demand,
        confirms_per_minute=confirms,
        introspections_per_minute=introspections,
        allowed_per_minute=allowed,
        share=None if rate is None else (sent + confirms) / rate,
        left_per_minute=None if rate is None else max(rate - sent - confirms, 0.0),
        fits=allowed is None or sent <= allowed,
        renewed_every=cycle * stretch,
        late_by=late_by,
        stale_share=max(1 - 1 / (SHARE * stretch), 0.0),
        outage_margin=max(load.life * (1 - SHARE - JITTER) - late_by, timedelta(0)),
        refresh_all=None if allowed is None else MINUTE * (load.warm * (1 + load.introspects) / allowed),
    )
