"""Retry: tenacity's policies for the seconds inside an attempt. Minutes and days of waiting live in `due_at`."""

import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity.nap import sleep_using_event

from models import database
from tasks.oauth.answer import Answer, Guard, NotSent
from tasks.oauth.messages import Request
from tasks.oauth.transport import Transport
from tasks.runtime import clock

log = structlog.get_logger()
T = TypeVar("T")

TRIES = 3
TRIES_WITHIN = timedelta(seconds=20)
is_locked = database.is_locked
READ_ONLY = "25006"  # SQLSTATE: this server has become a standby; the pool will find the new primary
TOO_MUCH = "54"  # class "program limit exceeded": an OperationalError, too, but the row's own, for ever


def _worth_a_repeat(answer: Answer) -> bool:
    """Only what provably was not sent, and what a second try may change: not a guard's no, not a broken URL."""
    lasting = ("bad_request", "tls", "tls_certificate")
    return isinstance(answer, NotSent) and answer.code not in lasting and not answer.is_of_its_address


async def send(transport: Transport, request: Request, *, deadline: timedelta, guard: Guard) -> Answer:
    """Send a request at most three times within 20 s, again only while it provably was not sent.

    Waits: up to 1 s, then up to 2 s, drawn at random. The last answer is returned, whatever it is.
    """
    begun = clock.boot()
    answer = await transport.send(request, deadline=deadline, before_first_byte=guard)
    if not _worth_a_repeat(answer):
        return answer
    tried = [answer]

    async def next_answer() -> Answer:
        if tried:
            return tried.pop()
        return await transport.send(request, deadline=deadline, before_first_byte=guard)

    return await _repeated(next_answer, within=TRIES_WITHIN - (clock.boot() - begun))


async def _repeated(next_answer: Callable[[], Awaitable[Answer]], *, within: timedelta) -> Answer:
    """Ask again; only those that need it make a tenacity object, which costs as much CPU as half a request."""
    retrying = AsyncRetrying(
        retry=retry_if_result(_worth_a_repeat),
        stop=stop_after_attempt(TRIES) | stop_before_delay(within),
        wait=wait_random_exponential(multiplier=1, max=5),
        retry_error_callback=_last_answer,
    )
    answer: Answer = await retrying(next_answer)
    return answer


def _last_answer(state: RetryCallState) -> Answer:
    assert state.outcome is not None  # noqa: S101  # tenacity calls this only after a try
    answer: Answer = state.outcome.result()
    return answer


def while_database_away(
    write: Callable[[], T],
    *,
    give_up: threading.Event,
    patience: timedelta = timedelta.max,
    unless: Callable[[BaseException], bool] = lambda _: False,
) -> T:
    """Run a settling write again and again until the database takes it, or `give_up` is set, or patience is over.

    Waits: up to 0.1 s, doubling to 5 s, drawn at random, cut short by `give_up`. The last try comes when `patience`
    is over, or up to 5 s later. `give_up` is only looked at here: how long one story waits is no other story's affair.

    Raises:
        OperationalError, InterfaceError: the last failure, when nobody waits any longer. The journal has the answers.
        Exception: whatever `unless` names, at once.

    """
    retrying = Retrying(
        retry=retry_if_exception(lambda error: database_is_away(error) and not unless(error)),
        stop=stop_when_event_set(give_up) | stop_after_delay(patience),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        sleep=sleep_using_event(give_up),
        before_sleep=_tell,
        reraise=True,
    )
    return retrying(write)


def database_is_away(error: BaseException) -> bool:
    """Whether a repeat may help: the server is gone, full, busy or no primary, and not refusing what we wrote."""
    state: str = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return state == READ_ONLY or (isinstance(error, database.AWAY) and not state.startswith(TOO_MUCH))


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("settle.database_away", attempt=state.attempt_number, error=type(error).__name__)
