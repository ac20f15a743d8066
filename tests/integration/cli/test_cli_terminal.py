"""What commands show on a real terminal: nothing breaks within a word, and a time says how far away it is."""

import re
import sys
from typing import Any

import pytest

import settings
from tests.integration.cli.evergrant import Evergrant, environment_of
from tests.terminal import on_terminal

FAIL = """
update evergrant.grants set failures = 3, last_error_code = 'invalid_client', last_error_http_status = 401,
    last_error_at = clock_timestamp(), failing_since = clock_timestamp() where ref = :ref
"""


@pytest.fixture
def failing(temple: Evergrant, sql: Any) -> Evergrant:
    temple.take_in("customer-42")
    sql(FAIL, ref="customer-42")
    assert temple("clients", "pause", "temple").code == 0
    return temple


def shown(found: settings.Settings, *words: str, columns: int = 80) -> list[str]:
    argv = [sys.executable, "-m", "worker.cli", *words]
    with on_terminal(argv, env=environment_of(found), columns=columns, rows=100) as terminal:
        terminal.end()
    return terminal.lines


def joined(lines: list[str]) -> str:
    """All of it with single blanks: what was folded between words reads on."""
    return " ".join(" ".join(lines).split())


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("columns", [80, 140])
def test_a_grant_is_shown_with_times_and_texts_below_their_names(adopted: settings.Settings, columns: int) -> None:
    lines = shown(adopted, "grants", "show", "customer-42", columns=columns)
    expires = next(line for line in lines if line.startswith("access expires at"))
    assert re.search(r"  20\d\d-\S+Z \(in 1h 5\dm\)$", expires)
    indent = expires.index("20")
    named = [line for line in lines if line and not line.startswith(" ")]
    assert all(line[indent - 1] == " " != line[indent] for line in named)
    assert all(line[:indent].isspace() and line[indent] != " " for line in lines if line and line not in named)
    assert "evergrant clients set-secret temple" in joined(lines)


@pytest.mark.usefixtures("failing")
def test_doctor_puts_what_to_do_on_a_line_of_its_own_where_one_is_too_short(
    adopted: settings.Settings, temple: Evergrant
) -> None:
    lines = shown(adopted, "doctor")
    assert "fleet        temple is paused: by an operator  → evergrant clients resume temple" in lines
    long = next(number for number, line in enumerate(lines) if "failing" in line)
    assert lines[long + 1].startswith("             → ")
    piped = temple("doctor").out.splitlines()
    assert all("  → " in line for line in piped)


@pytest.mark.usefixtures("failing")
def test_an_explanation_never_parts_a_command_at_its_hyphens(adopted: settings.Settings) -> None:
    for columns in range(60, 100, 3):
        lines = shown(adopted, "explain", "customer-42", columns=columns)
        assert [line for line in lines if line.endswith("-") and not line.endswith((" -", "file -"))] == []


@pytest.mark.usefixtures("failing")
def test_events_say_how_long_ago_they_were_and_what_has_no_room(adopted: settings.Settings) -> None:
    narrow, wide = (shown(adopted, "events", "--limit", "3", columns=columns) for columns in (80, 160))
    assert narrow[0].startswith("WHEN")
    assert all(re.match(r"\d.* ago  ", line) for line in narrow[1:4])
    assert any(line.startswith("No room for ") and "AT" in line for line in narrow)
    assert re.search(r"ago +\S.*20\d\d-\S+Z", wide[1])
