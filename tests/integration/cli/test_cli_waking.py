"""Whoever mends a client is asked for at once by what waited for just that, and told how many they are."""

from typing import Any

import pytest

from tests.integration.cli.evergrant import Evergrant


@pytest.fixture
def failing(temple: Evergrant, sql: Any) -> Evergrant:
    """`a` and `b` failed and are asked again in an hour; `c` is well, `d` suspect, `e` in doubt, `f` under way."""
    temple.take_in("a", "b", "c", "d", "e", "f")
    sql(
        """update evergrant.grants set failures = 2, last_error_code = 'invalid_client',
        last_error_at = now(), failing_since = now(), due_at = now() + interval '1 hour' where ref <> 'c'"""
    )
    sql("update evergrant.grants set suspect_at = now() where ref = 'd'")
    sql("update evergrant.grants set doubt_since = now() where ref = 'e'")
    sql("update evergrant.grants set started_at = now() where ref = 'f'")
    return temple


def due(sql: Any) -> list[str]:
    return [ref for (ref,) in sql("select ref from evergrant.grants where due_at <= clock_timestamp() order by ref")]


def test_a_new_secret_has_those_asked_at_once_who_failed_and_no_other(failing: Evergrant, sql: Any) -> None:
    done = failing("clients", "set-secret", "temple", "--client-secret-file", "-", stdin="new")
    assert "2 grants that failed are asked at once." in done.out
    assert due(sql) == ["a", "b"]


def test_a_changed_address_does_so_too_and_counts_them_for_programs(failing: Evergrant, sql: Any) -> None:
    done = failing("clients", "set", "temple", "--token-url", "https://api.example/token", "--json")
    assert done.json["woken"] == 2
    assert due(sql) == ["a", "b"]


def test_where_nobody_failed_nothing_is_said_of_it(temple: Evergrant) -> None:
    temple.take_in("a")
    done = temple("clients", "set-secret", "temple", "--client-secret-file", "-", stdin="new")
    assert "asked at once" not in done.out


def test_a_provider_that_lets_a_grant_be_renewed_seldom_is_not_asked_sooner(failing: Evergrant, sql: Any) -> None:
    sql("update evergrant.clients set grant_interval = interval '10 minutes'")
    sql("update evergrant.grants set asked_at = clock_timestamp() where ref = 'a'")
    assert (
        failing("clients", "set-secret", "temple", "--client-secret-file", "-", "--json", stdin="n").json["woken"] == 1
    )
    assert due(sql) == ["b"]


def test_a_resumed_client_says_how_many_are_due(failing: Evergrant, sql: Any) -> None:
    failing("clients", "pause", "temple")
    sql("update evergrant.grants set due_at = now() - interval '1 minute' where ref in ('a', 'c')")
    assert failing("clients", "resume", "temple").out == "temple goes on. 2 grants are due.\n"
