"""The tenacity policies: what is tried again inside an attempt, how often, and how it ends."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from psycopg import errors
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from tenacity import RetryCallState

from tasks.oauth.answer import Answer, HeldBack, NotSent, Response, Silence
from tasks.oauth.messages import Request
from tasks.oauth.transport import Transport
from tasks.runtime import retry

REQUEST = Request("POST", "https://id.example/token")
DEADLINE = timedelta(seconds=30)


class Scripted:
    """A transport that gives these answers, one after the other; the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[Request, timedelta, Any]] = []

    async def send(self, request: Request, *, deadline: timedelta, before_first_byte: Any = None) -> Answer:
        self.sent.append((request, deadline, before_first_byte))
        return self.answers[min(len(self.sent), len(self.answers)) - 1]


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for; none of them is slept."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return asked


def guard() -> None:
    pass


def send(transport: Scripted) -> Answer:
    return asyncio.run(retry.send(cast("Transport", transport), REQUEST, deadline=DEADLINE, guard=guard))


FINAL: list[Answer] = [
    Response(200),
    Response(429),
    Response(503),
    Response(500),
    Silence("timeout"),
    Silence("reset"),
    HeldBack("valve_is_shut"),
    NotSent("bad_request"),
    NotSent("tls"),
    NotSent("tls_certificate"),
    NotSent("host_private"),
    NotSent("host_not_allowed"),
]


@pytest.mark.parametrize("answer", FINAL, ids=repr)
def test_what_may_have_been_sent_is_never_sent_again(answer: Answer, naps: list[float]) -> None:
    transport = Scripted(answer, Response(200))

    assert send(transport) is answer
    assert (len(transport.sent), naps) == (1, [])


@pytest.mark.parametrize("code", ["dns", "connect", "connect_refused", "connect_timeout"])
def test_what_provably_was_not_sent_is_tried_again(code: str, naps: list[float]) -> None:
    transport = Scripted(NotSent(code), Response(200))

    assert send(transport) == Response(200)
    assert len(transport.sent) == 2


def test_after_three_tries_the_last_answer_is_returned(naps: list[float]) -> None:
    transport = Scripted(NotSent("dns"), NotSent("connect"), NotSent("connect_refused"), Response(200))

    assert send(transport) == NotSent("connect_refused")
    assert len(transport.sent) == 3


def test_the_first_waits_are_as_the_docstring_says(naps: list[float]) -> None:
    for _ in range(50):
        send(Scripted(NotSent("dns")))
    first, second = naps[::2], naps[1::2]

    assert "up to 1 s, then up to 2 s" in (retry.send.__doc__ or "")
    assert (len(first), len(second)) == (50, 50)
    assert max(first) <= 1
    assert 1 < max(second) <= 2
    assert len(set(naps)) == 100


def test_every_try_asks_the_guard_and_has_the_whole_deadline(naps: list[float]) -> None:
    transport = Scripted(NotSent("dns"))
    send(transport)

    assert transport.sent == [(REQUEST, DEADLINE, guard)] * 3


def test_tries_that_take_long_are_given_up_before_twenty_seconds(
    naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tries of 10 s each would outlive what the lease leaves."""
    monkeypatch.setattr(RetryCallState, "seconds_since_start", property(lambda state: 10.0 * state.attempt_number))
    transport = Scripted(NotSent("connect_timeout"))

    assert send(transport) == NotSent("connect_timeout")
    assert len(transport.sent) == 2


# ── the settling write ──────────────────────────────────────────────────────────────────────────────────────────


def raised(kind: type, origin: Exception) -> Exception:
    made: Exception = kind("select 1", {}, origin)
    return made


AWAY = {
    "gone": raised(OperationalError, errors.OperationalError("server closed the connection unexpectedly")),
    "shut down": raised(OperationalError, errors.AdminShutdown()),
    "starting": raised(OperationalError, errors.CannotConnectNow()),
    "disk full": raised(OperationalError, errors.DiskFull()),
    "too many": raised(OperationalError, errors.TooManyConnections()),
    "a deadlock": raised(OperationalError, errors.DeadlockDetected()),
    "a lock time-out": raised(OperationalError, errors.LockNotAvailable()),
    "a statement time-out": raised(OperationalError, errors.QueryCanceled()),
    "closed": raised(InterfaceError, errors.InterfaceError("connection already closed")),
    "no connection free": PoolTimeoutError(),
    "now a standby": raised(InternalError, errors.ReadOnlySqlTransaction()),
}
REFUSED = {
    "a NUL": raised(DataError, errors.DataError()),
    "out of range": raised(DataError, errors.NumericValueOutOfRange()),
    "a constraint": raised(IntegrityError, errors.CheckViolation()),
    "no such column": raised(ProgrammingError, errors.UndefinedColumn()),
    "too long for an index": raised(OperationalError, errors.ProgramLimitExceeded()),
    "an aborted transaction": raised(InternalError, errors.InFailedSqlTransaction()),
    "our own": KeyError("x"),
}


@pytest.mark.parametrize("error", AWAY.values(), ids=AWAY)
def test_a_database_that_is_away_is_waited_for(error: Exception) -> None:
    assert retry.database_is_away(error)


@pytest.mark.parametrize("error", REFUSED.values(), ids=REFUSED)
def test_a_write_that_the_database_refuses_is_not_repeated(error: Exception) -> None:
    assert not retry.database_is_away(error)


class Write:
    """A write that raises these errors one after the other, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors: Iterator[Exception] = iter(errors)
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        for error in self.errors:
            raise error
        return "written"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for, on an event that is never waited for."""
    asked: list[float] = []
    monkeypatch.setattr(threading.Event, "wait", lambda _, timeout=None: asked.append(timeout))
    return asked


def test_the_settling_write_is_repeated_until_the_database_takes_it(waits: list[float]) -> None:
    write = Write(*[AWAY["gone"]] * 500)

    assert retry.while_database_away(write, give_up=threading.Event()) == "written"
    assert (write.count, len(waits)) == (501, 500)


def test_its_waits_double_from_a_tenth_of_a_second_to_five(waits: list[float]) -> None:
    retry.while_database_away(Write(*[AWAY["gone"]] * 300), give_up=threading.Event())

    for n, most in enumerate([0.1, 0.2, 0.4, 0.8, 1.6, 3.2]):
        assert 0 <= waits[n] <= most
    assert 4 < max(waits) <= 5


def test_a_write_that_is_refused_is_raised_at_once(waits: list[float]) -> None:
    write = Write(REFUSED["a NUL"], AWAY["gone"])

    with pytest.raises(DataError):
        retry.while_database_away(write, give_up=threading.Event())
    assert (write.count, waits) == (1, [])


def test_a_lock_of_somebody_elses_is_raised_at_once_where_the_caller_can_do_without_that_row(
    waits: list[float],
) -> None:
    write = Write(AWAY["a lock time-out"])

    with pytest.raises(OperationalError):
        retry.while_database_away(write, give_up=threading.Event(), unless=retry.is_locked)
    assert (write.count, waits) == (1, [])


def test_whoever_gives_up_gets_the_last_failure() -> None:
    give_up = threading.Event()
    give_up.set()
    write = Write(*[AWAY["gone"]] * 5)

    with pytest.raises(OperationalError):
        retry.while_database_away(write, give_up=give_up)
    assert write.count == 1


def test_giving_up_ends_a_wait_at_once() -> None:
    give_up = threading.Event()

    def write() -> None:
        threading.Timer(0.01, give_up.set).start()
        raise AWAY["gone"]

    with pytest.raises(OperationalError):
        retry.while_database_away(write, give_up=give_up)


def test_patience_ends_with_the_last_failure_and_leaves_the_processs_event_alone() -> None:
    give_up, write = threading.Event(), Write(*[AWAY["gone"]] * 5)

    with pytest.raises(OperationalError):
        retry.while_database_away(write, give_up=give_up, patience=timedelta(0))
    assert (write.count, give_up.is_set()) == (1, False)
    assert retry.while_database_away(Write(AWAY["gone"]), give_up=give_up) == "written"
