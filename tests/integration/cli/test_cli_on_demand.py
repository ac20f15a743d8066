"""Who is kept on demand sleeps from the beginning, and whoever is to be kept warm again is woken."""

from typing import Any

import pytest

from tests.integration.cli.evergrant import Evergrant
from tests.integration.cli.test_cli_connect import exchange, invite  # noqa: F401  # fixtures

REST = "extract(epoch from due_at - clock_timestamp())::float8"


@pytest.fixture
def sleepy(temple: Evergrant) -> Evergrant:
    assert temple("clients", "set", "temple", "--keep", "on-demand").code == 0
    return temple


def test_what_is_imported_on_demand_is_not_renewed_before_it_must(sleepy: Evergrant, sql: Any) -> None:
    sleepy.take_in("a", "b")
    for row in sql(f"select {REST} as rest from evergrant.grants"):  # noqa: S608  # a constant
        assert 6 * 86_400 < row.rest < 8 * 86_400


def test_what_is_connected_on_demand_is_not_renewed_before_it_must(
    connected: Evergrant,
    invite: Any,  # noqa: F811
    exchange: Any,  # noqa: F811
    sql: Any,
) -> None:
    connected("clients", "set", "sim", "--keep", "on-demand")
    assert exchange("a", invite("a")).code == 0
    (row,) = sql(f"select {REST} as rest from evergrant.grants")  # noqa: S608
    assert row.rest > 6 * 86_400


def test_a_client_that_is_to_be_kept_warm_again_has_all_woken_that_sleep(sleepy: Evergrant, sql: Any) -> None:
    sleepy.take_in("a", "b", "c")
    sleepy("grants", "set", "c", "--keep", "on-demand")
    assert sleepy("clients", "set", "temple", "--rate", "60/minute").code == 0
    assert sql("select id from evergrant.refresh_requests") == []
    assert sleepy("clients", "set", "temple", "--keep", "warm").code == 0
    woken = """select g.ref from evergrant.refresh_requests w join evergrant.grants g on g.id = w.grant_id
        and g.generation = w.generation order by g.ref"""
    assert sql(woken) == [("a",), ("b",)]
    for _ in range(2):
        assert sleepy("grants", "set", "c", "--keep", "warm").code == 0
    assert sql(woken) == [("a",), ("b",), ("c",)]


def test_one_grant_may_be_kept_otherwise_than_its_client(sleepy: Evergrant) -> None:
    sleepy.take_in("a")
    sleepy("grants", "set", "a", "--keep", "warm")
    assert sleepy("grants", "show", "a", "--json").json["keep"] == "warm"
