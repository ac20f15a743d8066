"""What one client may have under way in a worker process: its threads wait for answers, though not for a client
whose answers do not come."""

import threading
from datetime import timedelta

from tasks import clock
from tasks.attempt import Arrived, Attempt
from tests.heart import LOST, Heart
from tests.polling import eventually

LONG = timedelta(minutes=1)


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


def begun(heart: Heart, attempt: Attempt, until: timedelta) -> threading.Thread:
    thread = threading.Thread(target=heart.place.begin, args=[attempt], kwargs={"until": until}, daemon=True)
    thread.start()
    return thread


def test_a_client_that_has_its_share_is_waited_for_and_nothing_is_given_back(heart: Heart) -> None:
    first, second = two(heart)
    heart.place.begin(first, until=clock.boot() + LONG)
    waiting = begun(heart, second, clock.boot() + LONG)
    assert waiting.is_alive()
    end(heart, first)
    waiting.join(20)
    assert not waiting.is_alive()
    assert not heart.place.takes_too_much(first.job.client_id)
    end(heart, second)


def test_a_client_whose_answers_do_not_come_soon_holds_no_thread_and_its_job_is_given_back(heart: Heart) -> None:
    first, second = two(heart)
    heart.place.begin(first, until=clock.boot() + LONG)
    waiting = begun(heart, second, clock.boot() + LONG)
    # Long before its minute is over: nothing has come back for a second.
    eventually(lambda: not waiting.is_alive())
    assert heart.place.takes_too_much(first.job.client_id)
    end(heart, first, second)


def test_a_message_waits_no_longer_than_its_own_patience(heart: Heart) -> None:
    first, second = two(heart)
    heart.place.begin(first, until=clock.boot() + LONG)
    heart.place.begin(second, until=clock.boot())
    assert heart.place.takes_too_much(first.job.client_id)
    end(heart, first, second)
