"""How often confirmations of a client are tried where nobody answers of use, and when that is news."""

from datetime import timedelta

import pytest

from tasks.runtime import clock
from tasks.runtime.confirmations import FIRST_REST, IN_VAIN, LONGEST_REST, TELL_AGAIN, Confirmations, News

HERE, ELSEWHERE = (1, "https://here/"), (1, "https://elsewhere/")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    now = [timedelta(hours=1)]
    monkeypatch.setattr(clock, "boot", lambda: now[0])
    return now


def failed(confirmations: Confirmations, times: int) -> list[News]:
    return [confirmations.end(HERE, told=False) for _ in range(times)]


def test_an_address_that_tells_nothing_three_times_running_rests_and_that_is_news(at: list[timedelta]) -> None:
    confirmations = Confirmations()
    assert failed(confirmations, IN_VAIN) == [News.NONE, News.NONE, News.FAILS]
    assert confirmations.rests(HERE)
    assert not confirmations.rests(ELSEWHERE)
    at[0] += FIRST_REST
    assert not confirmations.rests(HERE)


def test_each_further_try_in_vain_doubles_the_rest_up_to_an_hour(at: list[timedelta]) -> None:
    confirmations, rests = Confirmations(), []
    failed(confirmations, IN_VAIN - 1)
    for _ in range(9):
        failed(confirmations, 1)
        began = at[0]
        while confirmations.rests(HERE):
            at[0] += timedelta(seconds=30)
        rests.append(at[0] - began)
    assert rests[:3] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert rests[-2:] == [LONGEST_REST, LONGEST_REST]


def test_an_answer_ends_the_rest_and_is_news_once(at: list[timedelta]) -> None:
    confirmations = Confirmations()
    failed(confirmations, IN_VAIN)
    assert confirmations.end(HERE, told=True) is News.ANSWERS
    assert not confirmations.rests(HERE)
    assert confirmations.end(HERE, told=True) is News.NONE
    assert failed(confirmations, IN_VAIN)[-1] is News.FAILS


def test_that_it_answers_is_told_again_after_a_while_for_another_process_that_failed_may_be_gone(
    at: list[timedelta],
) -> None:
    confirmations = Confirmations()
    assert confirmations.end(HERE, told=True) is News.ANSWERS
    at[0] += TELL_AGAIN - timedelta(seconds=1)
    assert confirmations.end(HERE, told=True) is News.NONE
    at[0] += timedelta(seconds=1)
    assert [confirmations.end(HERE, told=True) for _ in range(2)] == [News.ANSWERS, News.NONE]


def test_a_process_that_has_just_begun_tells_of_its_first_answer_for_the_one_before_may_have_told_of_none() -> None:
    assert Confirmations().end(HERE, told=True) is News.ANSWERS
