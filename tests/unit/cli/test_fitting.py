"""A live page fits the height of a terminal: what is given up, and what it says of that."""

from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from worker.cli.fitting import Fitted, Part


def drawn(parts: list[Part], height: int, width: int = 40) -> list[str]:
    console = Console(width=width, height=height, file=StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(Fitted(parts))
    return [line.rstrip() for line in captured.get().splitlines()]


def items(name: str, count: int) -> list[Text]:
    return [Text(f"{name} {number}") for number in range(1, count + 1)]


def test_where_there_is_room_everything_is_shown_with_blank_lines_between() -> None:
    parts = [Part([Text("title")]), Part(), Part([Text("list")], items("row", 2))]
    assert drawn(parts, 10) == ["title", "", "list", "row 1", "row 2"]


def test_blank_lines_go_before_anything_that_says_something() -> None:
    parts = [Part([Text("title")]), Part([Text("list")], items("row", 2), least=3)]
    assert drawn(parts, 4) == ["title", "list", "row 1", "row 2"]


def test_the_first_rows_stay_and_the_others_are_counted() -> None:
    parts = [Part([Text("list")], items("row", 9), more="… {count} more")]
    assert drawn(parts, 4) == ["list", "row 1", "row 2", "… 7 more"]


def test_of_what_happens_the_newest_stay() -> None:
    parts = [Part([Text("events")], items("event", 9), newest=True)]
    assert drawn(parts, 4) == ["events", "event 7", "event 8", "event 9"]


def test_an_item_is_shown_whole_or_not_and_leaves_its_room_to_those_below() -> None:
    long = Text("a word " * 12)  # three lines
    parts = [
        Part(items=[Text("short"), long], least=3, more="… {count} more"),
        Part(items=items("row", 9), newest=True),
    ]
    assert drawn(parts, 5) == ["short", "… 1 more", "row 7", "row 8", "row 9"]


def test_a_low_terminal_gets_the_brief_form_where_there_is_one() -> None:
    parts = [Part(items=items("fact", 4), least=4, brief=[Text("in brief")]), Part(items=items("row", 3), least=3)]
    assert drawn(parts, 8)[:2] == ["fact 1", "fact 2"]
    assert drawn(parts, 5) == ["in brief", "", "row 1", "row 2", "row 3"]


@pytest.mark.parametrize("height", range(1, 30))
def test_it_is_never_higher_than_the_terminal(height: int) -> None:
    parts = [
        Part([Text("title")], least=1),
        Part(items=[Text("a word " * 12), Text("short")], least=5, more="… {count} more"),
        Part([Text("list")], items("row", 20), least=3, more="… {count} more", brief=[Text("rows")]),
        Part([Text("events")], items("event", 20), newest=True),
    ]
    lines = drawn(parts, height)
    assert len(lines) <= height
    assert lines[0] == "title"
