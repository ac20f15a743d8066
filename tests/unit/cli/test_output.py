"""Output: JSON for programs, plain aligned text in a pipe, a table that fits a terminal."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from worker.cli import output
from worker.cli.output import Column
from worker.cli.units import length

AT = datetime(2026, 11, 24, 8, 20, 53, 999_999, timezone(timedelta(hours=1)))
COLUMNS = [Column("ref"), Column("due_at", "due", spare=1), Column("count", spare=2, number=True)]


def test_a_time_is_iso_8601_in_utc_to_the_second() -> None:
    assert output.iso(AT) == "2026-11-24T07:20:53Z"


def test_a_list_is_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    records: list[dict[str, Any]] = [
        {"ref": "a", "due_at": AT, "id": UUID(int=1), "labels": {"org": ["x"]}},
        {"ref": "b", "due_at": None},
    ]
    assert output.rows(records, COLUMNS, as_json=True, nothing="-") == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {
        "ref": "a",
        "due_at": "2026-11-24T07:20:53Z",
        "id": "00000000-0000-0000-0000-000000000001",
        "labels": {"org": ["x"]},
    }
    assert lines[1] == {"ref": "b", "due_at": None}


def test_in_a_pipe_columns_are_aligned_and_numbers_stand_at_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    records: list[dict[str, Any]] = [
        {"ref": "a", "due_at": AT, "count": 7},
        {"ref": "long-ref", "due_at": None, "count": 1200},
    ]
    output.rows(records, COLUMNS, as_json=False, nothing="-")
    assert capsys.readouterr().out.splitlines() == [
        "REF       DUE                   COUNT",
        "a         2026-11-24T07:20:53Z      7",
        "long-ref  -                      1200",
    ]


def test_an_empty_list_says_so_on_standard_error_alone(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows([], COLUMNS, as_json=False, nothing="Nothing is due.")
    assert capsys.readouterr() == ("", "Nothing is due.\n")


def test_an_empty_list_in_json_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows([], COLUMNS, as_json=True, nothing="Nothing is due.")
    assert capsys.readouterr() == ("", "")


def test_a_list_is_printed_while_it_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    def endless() -> Iterator[dict[str, str]]:
        number = 0
        while True:
            number += 1
            if number == output.PAGE * 2 + 1:
                raise KeyboardInterrupt
            yield {"ref": str(number)}

    with pytest.raises(KeyboardInterrupt):
        output.rows(endless(), COLUMNS, as_json=False, nothing="-")
    assert len(capsys.readouterr().out.splitlines()) == output.PAGE * 2 + 1


def _drawn(width: int) -> list[str]:
    console = Console(file=StringIO(), width=width)
    with console.capture() as captured:
        console.print(output.table([{"ref": "customer-42", "due_at": AT, "count": 7}], COLUMNS, width=width))
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize(
    ("width", "heading"), [(80, "REF          DUE                   COUNT"), (36, "REF          DUE"), (15, "REF")]
)
def test_a_narrow_terminal_leaves_out_what_is_spared_most_gladly(width: int, heading: str) -> None:
    lines = _drawn(width)
    assert lines[0] == heading
    assert len(lines) == 2


def test_control_characters_from_outside_never_reach_a_terminal() -> None:
    assert output.cell("a\x1b[31mb\nc") == "a�[31mb�c"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ({}, "-"),
        ([], "-"),
        (True, "yes"),
        ({"org": ["a", "b"], "tier": ["x"]}, "org=a,b tier=x"),
        (0, "0"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
    ],
)
def test_a_value_is_one_cell(value: object, text: str) -> None:
    assert output.cell(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, None), (0.42, "0.4s"), (59, "59s"), (61, "1m 1s"), (3600, "1h 0m"), (6730, "1h 52m"), (90_000, "1d 1h")],
)
def test_a_length_of_time_is_told_in_its_two_largest_units(seconds: float | None, text: str | None) -> None:
    assert length(seconds) == text
