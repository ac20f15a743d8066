"""What the long soak calls a leak."""

from tests.acceptance.leaks import ROOM, Holdings

WARM = Holdings((("worker-1", "MB", 110.0), ("worker-1", "descriptors", 25.0), ("grants", "rows", 300.0)))


def test_what_moves_within_its_room_is_no_leak() -> None:
    later = Holdings((("worker-1", "MB", 110.0 + ROOM["MB"]), ("worker-1", "descriptors", 3.0)))
    assert later.leaks(WARM) == []


def test_what_grows_beyond_its_room_is_named_with_both_amounts() -> None:
    later = Holdings((("worker-1", "MB", 112.0), ("worker-1", "descriptors", 26.0 + ROOM["descriptors"])))
    assert later.leaks(WARM) == ["worker-1 holds 50 descriptors, and held 25"]


def test_a_part_that_was_down_when_it_was_warm_and_a_table_are_told_and_not_judged() -> None:
    later = Holdings((("worker-2", "MB", 500.0), ("grants", "rows", 9000.0)))
    assert later.leaks(WARM) == []
    assert [line.split() for line in later.beside(WARM).splitlines()[1:]] == [
        ["worker-2", "MB", "0.0", "500.0"],
        ["grants", "rows", "300.0", "9000.0"],
    ]
