"""What comes one by one is done together."""

import threading

import pytest

from tasks.runtime.gathering import Gathering


def gathered(things: list[str], *, most: int = 10) -> list[list[str]]:
    """What is done together of these, which all come while the one thread is busy with the first."""
    done: list[list[str]] = []
    began, go_on = threading.Event(), threading.Event()

    def work(group: object) -> None:
        assert isinstance(group, list)
        done.append(group)
        began.set()
        go_on.wait(20)

    gathering: Gathering[str] = Gathering("tests", work, alike=lambda each: each[0], threads=1, most=most)
    gathering.add("first")
    assert began.wait(20)
    for each in things:
        gathering.add(each)
    go_on.set()
    gathering.close()
    return done[1:]


def test_all_that_wait_and_are_alike_are_done_together() -> None:
    assert gathered(["a1", "b1", "a2", "a3", "b2"]) == [["a1", "a2", "a3"], ["b1", "b2"]]


def test_of_more_than_are_done_at_a_time_the_rest_has_its_turn_behind_the_others() -> None:
    assert gathered(["a1", "a2", "a3", "b1"], most=2) == [["a1", "a2"], ["b1"], ["a3"]]


def test_a_group_that_fails_takes_nobody_along() -> None:
    done: list[str] = []

    def work(group: object) -> None:
        assert isinstance(group, list)
        if "bad" in group:
            raise ZeroDivisionError
        done.extend(group)

    gathering: Gathering[str] = Gathering("tests", work, alike=lambda each: each, threads=1, most=10)
    for each in ("bad", "good", "bad", "well"):
        gathering.add(each)
    gathering.close()
    assert done == ["good", "well"]


def test_what_comes_after_the_end_is_refused() -> None:
    gathering: Gathering[str] = Gathering("tests", print, alike=lambda each: each, threads=1, most=10)
    gathering.close()
    with pytest.raises(RuntimeError):
        gathering.add("late")
