"""The window of a client: it grows while requests leave in time, and halves once for those that do not."""

from datetime import timedelta

from tasks.policy.window import FRESH, LEAST, Window, grown, halved, is_late

SECOND = timedelta(seconds=1)
AT = timedelta(hours=5)


def test_late_is_more_than_two_seconds_or_than_a_tenth_of_a_short_lease() -> None:
    assert not is_late(2 * SECOND, timedelta(minutes=1))
    assert is_late(2.1 * SECOND, timedelta(minutes=1))
    assert not is_late(SECOND, 12 * SECOND)
    assert is_late(1.3 * SECOND, 12 * SECOND)


def test_a_window_doubles_while_as_many_as_it_holds_leave_in_time() -> None:
    window = FRESH
    for _ in range(FRESH.size):
        window = grown(window, most=1000)
    assert window.size == 2 * FRESH.size


def test_a_window_grows_to_the_share_of_a_client_and_no_further() -> None:
    window = Window(98)
    for _ in range(10):
        window = grown(window, most=100)
    assert window.size == 100


def test_of_all_that_had_begun_only_the_first_late_one_halves_it() -> None:
    window = Window(800)
    for n in range(40):
        window = halved(window, begun=AT + n * SECOND / 100, at=AT + (3 + n) * SECOND)
    assert window == Window(400, AT + 3 * SECOND)


def test_what_began_after_it_was_halved_and_is_late_halves_it_again() -> None:
    window = halved(Window(800), begun=AT, at=AT + 3 * SECOND)
    assert halved(window, begun=AT + 4 * SECOND, at=AT + 7 * SECOND).size == 200


def test_a_window_never_closes() -> None:
    window = Window(1000)
    for n in range(50):
        window = halved(window, begun=AT + n * 10 * SECOND, at=AT + (n * 10 + 3) * SECOND)
    assert window.size == LEAST
    assert halved(Window(3), begun=AT, at=AT + SECOND).size == 3
