"""`grants list`: sorted, limited, those that fail; and what a narrow terminal leaves out is said."""

from typing import Any

import pytest

from models.views.listing import SORTS as IN_SQL
from tests.integration.cli.evergrant import Evergrant
from worker.cli import output
from worker.cli.grants.list import SORTS


@pytest.fixture
def fleet(temple: Evergrant, sql: Any) -> Evergrant:
    """Four grants of `temple`: `b` fails and is in back-off, `c` needs consent, `d` is due."""
    temple.take_in("a", "b", "c", "d")
    sql(
        """update evergrant.grants set failures = 2, last_error_code = 'http_504', last_error_at = now(),
        due_at = now() + interval '4 minutes', access_expires_at = now() - interval '1 minute' where ref = 'b'"""
    )
    sql("update evergrant.grants set status = 'needs_consent', reason = 'password_changed' where ref = 'c'")
    sql("update evergrant.grants set due_at = now() - interval '1 minute' where ref = 'd'")
    return temple


def refs(fleet: Evergrant, *words: str) -> list[str]:
    return [each["ref"] for each in fleet("grants", "list", "--json", *words).lines]


def test_every_sort_that_is_offered_is_one_of_the_statement() -> None:
    assert set(SORTS) - {"ref"} == set(IN_SQL)


def test_a_list_is_sorted_and_limited_over_all_clients(fleet: Evergrant) -> None:
    fleet("clients", "add", "alpha", "--provider", "generic", "--client-id", "x")
    fleet.take_in("z", client="alpha", left=7100)
    assert refs(fleet) == ["z", "a", "b", "c", "d"]
    assert refs(fleet, "--sort", "due")[:2] == ["d", "b"]
    assert refs(fleet, "--sort", "expires")[0] == "b"
    assert refs(fleet, "--sort", "failures", "--limit", "1") == ["b"]
    assert refs(fleet, "--sort", "due", "--client", "alpha") == ["z"]
    assert refs(fleet, "--limit", "2") == ["z", "a"]
    assert fleet("grants", "list", "--limit", "0").code == 2


def test_those_that_fail_are_found_and_what_is_in_back_off_is_due(fleet: Evergrant) -> None:
    assert refs(fleet, "--failing") == ["b"]
    assert refs(fleet, "--due-within", "0s") == ["b", "d"]  # it lapsed, and waits for its back-off alone


def test_the_error_of_a_grant_that_needs_consent_is_why(fleet: Evergrant) -> None:
    shown = fleet("grants", "list").out.splitlines()
    assert "password_changed" in next(line for line in shown if line.startswith("c "))
    assert "http_504" in next(line for line in shown if line.startswith("b "))


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_shows_what_counts_and_says_what_it_leaves_out(
    fleet: Evergrant, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    done = fleet("grants", "list")
    heading = done.out.splitlines()[0].split()
    assert {"REF", "STATUS", "EXPIRES", "DUE", "ERROR", "GEN"} <= set(heading)
    assert "1m 0s ago" in done.out or "59s ago" in done.out
    assert ("No room for" in done.err) == (width == 80)
    if width == 80:
        assert "EXPIRES AT, DUE AT" in done.err
