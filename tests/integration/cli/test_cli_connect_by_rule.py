"""Connecting and probing where rules of the provider's file read the answers: what whoever connects is told."""

import json
from typing import Any

import pytest

from simulator.control import SimulatorControl
from tests.integration.cli.evergrant import Done, Evergrant
from tests.integration.cli.test_cli_connect import visit


def rule(to: str, means: str, word: str) -> dict[str, Any]:
    return {"to": to, "where": {"error": word}, "means": means}


CODE = [
    rule("code", means, f"word_{means}") for means in ("dead", "consent", "ours", "scope", "throttled", "ill", "race")
]
PROBE = [rule("refresh", means, f"word_{means}") for means in ("dead", "ours", "scope", "race")]


@pytest.fixture
def client(connected: Evergrant, sql: Any) -> Evergrant:
    sql(
        "update evergrant.clients set updated_at = clock_timestamp(),"
        " overrides = overrides || jsonb_build_object('answers', cast(:answers as jsonb))",
        answers=json.dumps(CODE + PROBE),
    )
    return connected


def come_back(client: Evergrant, ref: str) -> str:
    return visit(client("grants", "authorize-url", ref).out.strip())


def exchange(client: Evergrant, ref: str, callback: str) -> Done:
    return client("grants", "exchange", ref, "--callback-url-file", "-", "--json", stdin=callback)


TOLD = {
    "dead": (1, "exchange_refused", "takes this code no longer (word_dead)", "come back within a minute"),
    "consent": (1, "exchange_refused", "wants something of the user", "ask the user to see to it there"),
    "ours": (1, "exchange_refused", "refused to exchange the code (word_ours)", "client's id, secret and redirect"),
    "scope": (1, "exchange_refused", "refuses the scopes that were asked for", "evergrant clients set"),
    "ill": (75, "exchange_unclear", "no token set came (word_ill)", "begin again"),
}


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("means", TOLD)
def test_whoever_connects_is_told_what_the_providers_word_means(
    client: Evergrant, provider: SimulatorControl, sql: Any, means: str, status: int
) -> None:
    callback = come_back(client, "a")
    body = json.dumps({"error": f"word_{means}"})
    provider.add_fault("status", where="token", when="before", status=status, body=body, count=1)
    done = exchange(client, "a", callback)
    code, error, message, step = TOLD[means]
    assert (done.code, done.error) == (code, error)
    assert message in done.err
    assert step in done.err
    assert exchange(client, "a", callback).error == "state_used"
    assert sql("select count(*) from evergrant.grants") == [(0,)]
    assert sql("select count(*) from evergrant.journals where drained_at is null") == [(0,)]


@pytest.mark.parametrize("means", ["throttled", "race"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_code_that_was_not_consumed_may_be_exchanged_once_more(
    client: Evergrant, provider: SimulatorControl, sql: Any, means: str, status: int
) -> None:
    callback = come_back(client, "a")
    body = json.dumps({"error": f"word_{means}"})
    provider.add_fault("status", where="token", when="before", status=status, body=body, count=1)
    done = exchange(client, "a", callback)
    assert (done.code, done.error) == (75, "exchange_not_sent")
    assert f"word_{means}" in done.err
    sql("update evergrant.valves set paused_until = null")
    assert exchange(client, "a", callback).code == 0


def test_codes_that_were_refused_for_themselves_shut_no_valve(
    client: Evergrant, provider: SimulatorControl, sql: Any
) -> None:
    for n in range(4):
        callback = come_back(client, f"user-{n}")
        provider.add_fault("status", where="token", when="before", status=403, body='{"error":"word_dead"}', count=1)
        exchange(client, f"user-{n}", callback)
    assert sql("select paused_until from evergrant.valves") == [(None,)]


def test_a_provider_that_repeats_the_code_it_refuses_puts_it_into_no_sentence(
    client: Evergrant, provider: SimulatorControl
) -> None:
    callback = come_back(client, "a").replace("code=", "code=opensesame&old=")
    body = '{"error":"opensesame","error_description":"opensesame"}'
    provider.add_fault("status", where="token", when="before", status=400, body=body, count=1)
    done = exchange(client, "a", callback)
    assert done.error == "exchange_refused"
    assert "opensesame" not in done.err + done.out


FOUND = {"dead": "dead", "ours": "misconfigured", "scope": "alive", "race": "unclear"}


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("means", FOUND)
def test_a_probe_is_read_by_the_providers_words_and_judges_nobody(
    client: Evergrant, provider: SimulatorControl, sql: Any, means: str, status: int
) -> None:
    assert exchange(client, "a", come_back(client, "a")).code == 0
    columns = "select generation, failures, suspect_at, doubt_since, last_error_code from evergrant.grants"
    before = sql(columns)
    body = json.dumps({"error": f"word_{means}"})
    provider.add_fault("status", where="token", when="before", status=status, body=body, count=1)
    assert client("grants", "probe", "a", "--json").json["finding"] == FOUND[means]
    assert sql(columns) == before
    assert sql("select count(*) from evergrant.grants where started_at is not null") == [(0,)]
