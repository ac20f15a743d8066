"""Exchanges of a process: who may begin, and what is left of one whose step fails in a way that nobody has foreseen."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
import structlog

from tasks.runtime import exchanges
from tasks.runtime.exchanges import Exchanges, Sent
from tests.polling import eventually

AT_ONCE, SOON = timedelta(0), timedelta(seconds=20)


class Scripted:
    """An exchange of which one step fails."""

    whose: Mapping[str, str] = {"visit": "6b1f", "ref": "customer-1"}
    alike = 1

    def __init__(self, fails: str = "", *, client_id: int = 1) -> None:
        self.client_id = client_id
        self.steps = self
        self._fails = fails
        self.begun = threading.Event()
        self.answered: Future[str] = Future()

    def begin(self, group: Sequence[Any]) -> list[Sent]:
        self._step("begin")
        self.begun.set()
        return [Sent(each, self.answered, AT_ONCE) for each in group]

    def keep(self, group: Sequence[Sent]) -> list[tuple[Any, Future[Any] | None]]:
        self._step("keep")
        self.answered.result()
        return [(each.exchange, None) for each in group]

    def end(self, _: Sequence[Any]) -> list[Any]:
        self._step("end")
        return []

    def _step(self, name: str) -> None:
        if self._fails == name:
            raise ZeroDivisionError


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def process(stopping: threading.Event) -> Iterator[Exchanges]:
    made = Exchanges(stopping, threads=1)
    yield made
    made.close(AT_ONCE)


@pytest.mark.parametrize("step", ["begin", "keep", "end"])
def test_a_step_that_fails_leaves_room_for_others_and_says_whose_it_was(process: Exchanges, step: str) -> None:
    exchange = Scripted(step)
    with structlog.testing.capture_logs() as logs:
        process.submit(lambda: process.carry_out([exchange]), **exchange.whose)
        exchange.answered.set_result("a token set")
        eventually(lambda: logs)

    assert [(each["event"], each["visit"], each["ref"]) for each in logs] == [
        ("afterwards.failed", "6b1f", "customer-1")
    ]
    assert process.wait_until_quiet(SOON)
    assert process._asked.total() == 0


def test_an_answer_that_is_none_leaves_room_for_others(process: Exchanges) -> None:
    exchange = Scripted()

    assert process.carry_out([exchange]) == []
    assert not process.wait_until_quiet(AT_ONCE)
    exchange.answered.set_exception(OSError("the loop is gone"))
    assert process.wait_until_quiet(SOON)
    assert process._asked.total() == 0


def test_one_whose_answer_is_cancelled_after_the_threads_have_ended_is_over(process: Exchanges) -> None:
    """As where the loop ends."""
    left = Scripted()
    assert process.carry_out([left]) == []
    process._answered_by = AT_ONCE
    process.close(AT_ONCE)

    left.answered.cancel()

    assert process.wait_until_quiet(AT_ONCE)


def test_whoever_finds_no_room_begins_when_there_is_some_and_nobody_does_once_the_process_stops(
    process: Exchanges, stopping: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "MOST_OF_A_CLIENT", 1)
    first, second, other, late = Scripted(), Scripted(), Scripted(client_id=2), Scripted(client_id=3)

    assert process.carry_out([first]) == []
    assert process.carry_out([second]) == [second]
    assert process.carry_out([other]) == []
    assert not second.begun.is_set()
    first.answered.set_result("a token set")
    assert second.begun.wait(20)
    stopping.set()
    assert process.carry_out([late]) == [late]
    for each in (second, other):
        each.answered.set_result("a token set")
    assert process.wait_until_quiet(SOON)
    assert not late.begun.is_set()
