"""What one client may have under way in a worker process: its messages wait for answers, though not for a client
whose answers do not come, and what cannot be asked now is never started."""

import threading
from datetime import timedelta

import pytest

from tasks import refresh
from tasks.policy.window import FRESH
from tasks.runtime import clock, runtime
from tasks.runtime.attempt import Arrived, Attempt
from tasks.settling.settle import journal_answers, settle
from tests.harness import LOST, Harness
from tests.polling import eventually
from tests.raw_servers import Bench, hang


def two(harness: Harness) -> tuple[Attempt, Attempt]:
    """Two started attempts of one client, in a process that takes one of it at a time."""
    harness.runtime.admission.in_flight = 2
    client = harness.client()
    harness.grant(client, "a")
    harness.grant(client, "b")
    first, second = harness.start(harness.claim(client).due)
    harness.runtime.handle_answers(journal=lambda *_: None, settle=lambda *_: None)
    return first, second


def end(harness: Harness, *attempts: Attempt) -> None:
    """Their answers arrive; else the process would wait for them at its end."""
    for attempt in attempts:
        harness.runtime.answers.arrive(Arrived(attempt, LOST, clock.wall()))


def room_for(harness: Harness, attempt: Attempt) -> bool:
    with harness.runtime.admission.share_of(attempt.job.client_id, 1) as room:
        return room


def asking(harness: Harness, attempt: Attempt, seen: list[bool]) -> threading.Thread:
    thread = threading.Thread(target=lambda: seen.append(room_for(harness, attempt)), daemon=True)
    thread.start()
    return thread


def test_a_message_of_a_client_that_has_its_share_waits_for_an_answer(harness: Harness) -> None:
    first, second = two(harness)
    seen: list[bool] = []
    harness.runtime.admission.begin(first)
    waiting = asking(harness, second, seen)
    assert waiting.is_alive()
    end(harness, first)
    waiting.join(20)
    assert seen == [True]


def test_a_client_whose_answers_do_not_come_soon_holds_no_thread(harness: Harness) -> None:
    first, second = two(harness)
    seen: list[bool] = []
    harness.runtime.admission.begin(first)
    waiting = asking(harness, second, seen)
    eventually(lambda: not waiting.is_alive())
    assert seen == [False]
    end(harness, first)


def test_two_messages_that_come_at_once_do_not_take_the_same_room(harness: Harness) -> None:
    first, second = two(harness)
    with harness.runtime.admission.share_of(first.job.client_id, 1) as room:
        assert room
        assert not room_for(harness, second)
    assert room_for(harness, second)


def test_a_message_larger_than_the_share_finds_room_once_nothing_else_is_asked(harness: Harness) -> None:
    first, _ = two(harness)
    with harness.runtime.admission.share_of(first.job.client_id, 50) as room:
        assert room


def test_a_message_that_does_not_say_whose_it_is_is_not_held_up(harness: Harness) -> None:
    first, _ = two(harness)
    harness.runtime.admission.begin(first)
    with harness.runtime.admission.share_of(None, 1) as room:
        assert room
    end(harness, first)


def test_what_finds_no_room_is_given_back_without_a_start(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.runtime.admission.in_flight = 2
    monkeypatch.setattr(runtime, "current", lambda: harness.runtime)
    client = harness.client()
    first = harness.grant(client, "a")
    waiting = harness.grant(client, "b")
    jobs = {job[0]: job for job in harness.claim(client).due}
    (attempt,) = harness.start([jobs[first]])
    harness.runtime.admission.begin(attempt)
    before = harness.row(waiting)
    refresh.refresh([[str(waiting), jobs[waiting][1]]], client_id=attempt.job.client_id)
    after = harness.row(waiting)
    assert after["claimed_at"] is None
    assert (after["started_at"], after["claim_no"]) == (None, before["claim_no"])
    assert after["due_at"] > before["claimed_at"] + timedelta(seconds=5)
    harness.runtime.admission.settled([Arrived(attempt, LOST, clock.wall())])


def test_a_client_whose_answers_wait_for_their_commit_is_taken_up_more_slowly(harness: Harness) -> None:
    first, _ = two(harness)
    harness.runtime.admission.in_flight = 200
    with harness.runtime.admission.share_of(first.job.client_id, 60) as room:
        assert room
    late = Arrived(first, LOST, clock.wall() - timedelta(seconds=30))
    harness.runtime.admission.begin(first)
    harness.runtime.admission.settled([late])
    with harness.runtime.admission.share_of(first.job.client_id, 33) as room:
        assert room
        assert not room_for(harness, first)


def window_after_asking(harness: Harness, url: str, name: str) -> int:
    client = harness.client(name, token_url=url, deadline_seconds=2)
    harness.grant(client, name)
    refresh.ask(harness.runtime, harness.begin(client))
    eventually(lambda: client in harness.runtime.admission._windows)
    return harness.runtime.admission._windows[client].size


def test_a_request_that_leaves_in_time_makes_the_window_larger_and_one_that_cannot_be_sent_smaller(
    harness: Harness,
) -> None:
    bench = Bench()
    harness.runtime.handle_answers(journal=journal_answers, settle=settle)
    assert window_after_asking(harness, bench.serve(hang).url(), "in-time") == FRESH.size + 1
    assert window_after_asking(harness, "http://127.0.0.1:9/token", "unsent") == FRESH.size // 2
    bench.close()
