"""Lines of a group are written together, whole, and whatever happens."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.runtime import log_batch
from tasks.runtime.log_batch import portions, together, write


def test_a_line_is_written_at_once() -> None:
    written: list[str] = []

    write("a\n", written.append)

    assert written == ["a\n"]


def test_those_of_a_group_are_written_at_its_end() -> None:
    written: list[str] = []

    with together():
        write("a\n", written.append)
        write("b\n", written.append)
        assert written == []
    write("c\n", written.append)

    assert written == ["a\nb\n", "c\n"]


def test_what_was_gathered_is_written_also_where_the_group_fails() -> None:
    written: list[str] = []

    def fail() -> None:
        with together():
            write("a\n", written.append)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert written == ["a\n"]


def test_another_thread_does_not_wait_for_the_group() -> None:
    written: list[str] = []

    with together():
        write("mine\n", written.append)
        other = threading.Thread(target=write, args=("theirs\n", written.append))
        other.start()
        other.join()
        assert written == ["theirs\n"]


def test_a_group_without_a_line_writes_nothing() -> None:
    with together():
        pass


@given(st.lists(st.text("x", max_size=20).map("{}\n".format)))
def test_no_portion_cuts_a_line_nor_is_longer_than_a_pipe_takes_in_one_piece(given_lines: list[str]) -> None:
    found = list(portions(given_lines, most=16))

    assert "".join(found) == "".join(given_lines)
    assert all(portion.endswith("\n") for portion in found if portion)
    assert all(len(portion) <= 16 or portion in given_lines for portion in found)


def test_a_pipe_takes_at_least_as_much_in_one_piece() -> None:
    assert log_batch.PIPE_BYTES == 4096
