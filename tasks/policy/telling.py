"""Telling: what a receiver's answer means for a delivery and for its webhook, and how long one waits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from tasks.oauth.answer import SUCCESS, Answer, NotSent, Response, Silence
from tasks.policy.limits import retry_after

# After the first try, the second, and so on; the last one for all that follow.
WAITS: Final = (
    *(timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=5), timedelta(seconds=15)),
    *(timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2)),
)
ASKS_FOR_TIME: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one try.

    `strikes`: whether it tells of the webhook: nothing answered, or something never tried before was refused. An event
    that is refused time and again tells of itself alone. `hold`: how long nothing at all is to be sent.
    """

    delivered: bool
    code: str
    http_status: int | None
    strikes: bool
    hold: timedelta | None = None
    is_gone: bool = False


def told(answer: Answer, *, tries: int, wall_clock: datetime) -> Told:
    """What a try means, the `tries`-th of its delivery; delivered is what was answered with 2xx."""
    match answer:
        case Response(status=status) if status in SUCCESS:
            return Told(delivered=True, code="delivered", http_status=status, strikes=False)
        case Response(status=status, headers=headers):
            return Told(
                delivered=False,
                code=f"http_{status}",
                http_status=status,
                strikes=tries == 1,
                hold=_hold(status, headers, wall_clock),
                is_gone=status == HTTPStatus.GONE,
            )
        case Silence(code=code, status=status):
            return Told(delivered=False, code=code, http_status=status, strikes=True)
        case NotSent(code=code):
            return Told(delivered=False, code=code, http_status=None, strikes=True)
        case _:
            return Told(delivered=False, code=answer.code, http_status=None, strikes=False)


def wait(tries: int, *, chance: float) -> timedelta:
    """How long after the `tries`-th try the next one comes: a tenth more or less, by `chance` from 0 to 1."""
    return WAITS[min(tries, len(WAITS)) - 1] * (0.9 + 0.2 * chance)


def _hold(status: int, headers: Mapping[str, str], wall_clock: datetime) -> timedelta | None:
    return retry_after(headers, wall_clock) if status in ASKS_FOR_TIME else None
