"""`status` tells causes before what comes of them: a rate that is used up, deaf workers, a broker that hangs."""

from typing import Any

import pytest

from tests.integration.cli.evergrant import ALIVE, Evergrant
from tests.integration.cli.test_cli_status_causes import living, told

__all__ = ["living"]  # a fixture

HANGS = "the broker hangs: it takes connections and does not answer (q:6379)"
BEHIND = """update evergrant.grants set due_at = clock_timestamp() - interval '40 s',
    access_expires_at = clock_timestamp() - interval '1 s'"""


@pytest.fixture
def limited(living: Evergrant, sql: Any) -> Evergrant:
    """All three are due for longer, and the next slot comes in a minute."""
    assert living("clients", "set", "temple", "--rate", "6/minute").code == 0
    sql(BEHIND)
    sql("update evergrant.valves set next_slot_at = clock_timestamp() + interval '1 minute'")
    return living


def test_a_client_whose_rate_is_used_up_is_a_cause_with_its_remedy_and_comes_before_what_lapsed(
    limited: Evergrant,
) -> None:
    (what, step, human), (lapsed, _, _) = told(limited)
    assert what.startswith("temple: 3 due wait for its rate of 6/minute, the first for 4")
    assert "the last has its turn in 1m 2" in what
    assert step.startswith("evergrant plan --client temple; ")
    assert step.endswith("evergrant clients set temple --rate N/minute")
    assert human  # for tokens lapse meanwhile
    assert lapsed.startswith("3 access tokens lapsed")
    (client,) = limited("status", "--json").json["clients"]
    assert client["backlog"]["grants"] == 3


def test_one_that_nothing_lapses_of_needs_nobody(limited: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set access_expires_at = clock_timestamp() + interval '1 hour'")
    ((_, _, human),) = told(limited)
    assert not human


def test_slots_that_nobody_takes_are_not_the_rates_fault(limited: Evergrant, sql: Any) -> None:
    sql("update evergrant.valves set next_slot_at = clock_timestamp() - interval '10 minutes'")
    assert not any("rate" in what for what, _, _ in told(limited))


@pytest.mark.parametrize(("change", "says"), [("pause", "temple is paused"), ("kill", "no worker is alive")])
def test_what_stops_all_is_told_instead(limited: Evergrant, sql: Any, change: str, says: str) -> None:
    if change == "pause":
        limited("clients", "pause", "temple")
    else:
        sql("delete from evergrant.processes where kind = 'worker'")
    found = [what for what, _, _ in told(limited)]
    assert found[0].startswith(says)
    assert not any("wait for its rate" in what for what in found)


def test_workers_that_take_nothing_up_are_told_and_those_that_are_busy_are_not(living: Evergrant, sql: Any) -> None:
    sql(
        """update evergrant.grants set claim_no = 1, claimed_at = clock_timestamp() - interval '20 s',
        due_at = clock_timestamp() + interval '10 s' where ref in ('a', 'b')"""
    )
    sql("update evergrant.processes set consumed_at = clock_timestamp() - interval '1 minute' where kind = 'worker'")
    ((what, step, human),) = told(living)
    assert what.startswith("no worker takes anything up: 2 grants handed out and untouched")
    assert "the same EVERGRANT_BROKER_URL" in step
    assert human
    sql("update evergrant.processes set consumed_at = clock_timestamp() where kind = 'worker'")
    assert told(living) == []


def test_a_worker_that_says_why_it_takes_nothing_is_not_called_deaf(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set claimed_at = clock_timestamp() - interval '20 s', due_at = clock_timestamp()")
    sql("update evergrant.grants set due_at = clock_timestamp() + interval '10 s', claim_no = 1")
    sql(
        """update evergrant.processes set consumed_at = clock_timestamp() - interval '1 minute',
        fault = 'the journal cannot be written: full (/j, on the file system of /)' where kind = 'worker'"""
    )
    ((what, step, _),) = told(living)
    assert "the journal cannot be written: full (/j, on the file system of /)" in what
    assert step.startswith("make room on that file system")


def test_a_broker_that_hangs_comes_first_and_beat_is_not_blamed(limited: Evergrant, sql: Any) -> None:
    sql("update evergrant.processes set fault = :fault where kind = 'beat'", fault=HANGS)
    (what, _, human), *_ = told(limited)
    assert what == f"{HANGS}, so beat 0 on box hands nothing out"
    assert human


def test_confirmations_that_fail_are_told_and_after_ten_minutes_they_are_a_humans(living: Evergrant, sql: Any) -> None:
    sql(
        """insert into evergrant.events (type, client_id, reason)
        select 'client.unconfirmed', id, 'connect_refused' from evergrant.clients"""
    )
    ((what, step, human),) = told(living)
    assert what.startswith("temple: new access tokens cannot be confirmed, connect_refused since 20")
    assert step.endswith("evergrant clients set temple --confirm-url URL")
    assert not human
    sql("update evergrant.clients set updated_at = updated_at - interval '1 hour'")
    sql("update evergrant.events set occurred_at = occurred_at - interval '11 minutes' where type ~ 'unconfirmed'")
    assert [human for _, _, human in told(living)] == [True]
    sql("insert into evergrant.events (type, client_id) select 'client.confirmed', id from evergrant.clients")
    assert told(living) == []


def test_who_is_silent_and_replaced_comes_last_of_all(limited: Evergrant, sql: Any) -> None:
    sql(ALIVE, kind="worker", pid=7, environment=None, keys=["r1", "a1"])
    sql("update evergrant.processes set seen_at = clock_timestamp() - interval '10 minutes' where pid = 1")
    found = [what for what, _, _ in told(limited)]
    assert found[0].startswith("temple: 3 due wait for its rate")
    assert found[-1].startswith("worker 1 on box was not heard of")
