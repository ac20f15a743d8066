"""What one client may have under way in a worker process: its messages wait for answers, though not for a client
whose answers do not come, and what cannot be asked now is never started."""

import threading
from datetime import timedelta

import pytest

from tasks import clock, refresh, workplace
from tasks.attempt import Arrived, Attempt
from tasks.policy.window import FRESH
from tasks.settle import keep, settle
from tests.harness import LOST, Heart
from tests.polling import eventually
from tests.raw_servers import Bench, hang


def two(heart: Heart) -> tuple[Attempt, Attempt]:
    """Two started attempts of one client, in a process that takes one of it at a time."""
    heart.place.settings = heart.settings.model_copy(update={"in_flight": 2})
    client = heart.client()
    heart.grant(client, "a")
    heart.grant(client, "b")
    first, second = heart.start(heart.claim(client).due)
    heart.place.settle_with(lambda *_: None, lambda *_: None)
    return first, second


def end(heart: Heart, *attempts: Attempt) -> None:
    """Their answers arrive; else the workplace would wait for them at its end."""
    for attempt in attempts:
        heart.place.arrive(Arrived(attempt, LOST, clock.wall()))


def room_for(heart: Heart, attempt: Attempt) -> bool:
    with heart.place.share_of(attempt.job.client_id, 1) as room:
        return room


def asking(heart: Heart, attempt: Attempt, seen: list[bool]) -> threading.Thread:
    thread = threading.Thread(target=lambda: seen.append(room_for(heart, attempt)), daemon=True)
    thread.start()
    return thread


def test_a_message_of_a_client_that_has_its_share_waits_for_an_answer(heart: Heart) -> None:
    first, second = two(heart)
    seen: list[bool] = []
    heart.place.begin(first)
    waiting = asking(heart, second, seen)
    assert waiting.is_alive()
    end(heart, first)
    waiting.join(20)
    assert seen == [True]


def test_a_client_whose_answers_do_not_come_soon_holds_no_thread(heart: Heart) -> None:
    first, second = two(heart)
    seen: list[bool] = []
    heart.place.begin(first)
    waiting = asking(heart, second, seen)
    eventually(lambda: not waiting.is_alive())
    assert seen == [False]
    end(heart, first)


def test_two_messages_that_come_at_once_do_not_take_the_same_room(heart: Heart) -> None:
    first, second = two(heart)
    with heart.place.share_of(first.job.client_id, 1) as room:
        assert room
        assert not room_for(heart, second)
    assert room_for(heart, second)


def test_a_message_larger_than_the_share_finds_room_once_nothing_else_is_asked(heart: Heart) -> None:
    first, _ = two(heart)
    with heart.place.share_of(first.job.client_id, 50) as room:
        assert room


def test_a_message_that_does_not_say_whose_it_is_is_not_held_up(heart: Heart) -> None:
    first, _ = two(heart)
    heart.place.begin(first)
    with heart.place.share_of(None, 1) as room:
        assert room
    end(heart, first)


def test_what_finds_no_room_is_given_back_without_a_start(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> None:
    heart.place.settings = heart.settings.model_copy(update={"in_flight": 2})
    monkeypatch.setattr(workplace, "here", lambda *_: heart.place)
    client = heart.client()
    first = heart.grant(client, "a")
    waiting = heart.grant(client, "b")
    jobs = {job[0]: job for job in heart.claim(client).due}
    (attempt,) = heart.start([jobs[first]])
    heart.place.begin(attempt)
    before = heart.row(waiting)
    refresh.refresh([[str(waiting), jobs[waiting][1]]], client_id=attempt.job.client_id)
    after = heart.row(waiting)
    assert after["claimed_at"] is None
    assert (after["started_at"], after["claim_no"]) == (None, before["claim_no"])
    assert after["due_at"] > before["claimed_at"] + timedelta(seconds=5)
    heart.place.settled([Arrived(attempt, LOST, clock.wall())])


def test_a_client_whose_answers_wait_for_their_commit_is_taken_up_more_slowly(heart: Heart) -> None:
    first, _ = two(heart)
    heart.place.settings = heart.settings.model_copy(update={"in_flight": 200})
    with heart.place.share_of(first.job.client_id, 60) as room:
        assert room
    late = Arrived(first, LOST, clock.wall() - timedelta(seconds=30))
    heart.place.begin(first)
    heart.place.settled([late])
    with heart.place.share_of(first.job.client_id, 33) as room:
        assert room
        assert not room_for(heart, first)


def window_after_asking(heart: Heart, url: str, name: str) -> int:
    client = heart.client(name, token_url=url, deadline_seconds=2)
    heart.grant(client, name)
    refresh.ask(heart.place, heart.begin(client))
    eventually(lambda: client in heart.place._windows)
    return heart.place._windows[client].size


def test_a_request_that_leaves_in_time_makes_the_window_larger_and_one_that_cannot_be_sent_smaller(
    heart: Heart,
) -> None:
    bench = Bench()
    heart.place.settle_with(keep, settle)
    assert window_after_asking(heart, bench.serve(hang).url(), "in-time") == FRESH.size + 1
    assert window_after_asking(heart, "http://127.0.0.1:9/token", "unsent") == FRESH.size // 2
    bench.close()
