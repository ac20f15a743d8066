"""Revocations where rules of the provider's file read its answers: at the endpoint, at a probe, at the API."""

import json
from typing import Any

import pytest

from simulator.control import SimulatorControl
from tests.harness import Harness
from tests.integration.revoking import client_of, end, found, mint, revoke

SLACK = {"to": "api", "status": 200, "where": {"ok": "false", "error": "token_revoked"}, "means": "dead"}
UNKNOWN = {"to": "revoke", "where": {"error": "unknown_token"}, "means": "dead"}
OURS = {"to": "revoke", "status": 200, "where": {"error": "bad_client"}, "means": "ours"}
WAIT = {"to": "revoke", "status": 200, "where": {"error": "slow"}, "means": "throttled", "scope_of_limit": "grant"}
GONE = {"where": {"error": "gone"}, "means": "dead"}


def granted(harness: Harness, simulator: SimulatorControl, *answers: dict[str, Any], **more: Any) -> int:
    client = client_of(harness, simulator, rotation="none", answers=list(answers), **more)
    harness.grant(client, pair=mint(simulator), labels={"org": ["o1"]})
    return client


@pytest.mark.parametrize("status", [200, 400])
def test_a_token_that_the_provider_no_longer_knows_needs_no_revocation(
    harness: Harness, simulator: SimulatorControl, status: int
) -> None:
    client = granted(harness, simulator, UNKNOWN, probe=False, api_url=None)
    simulator.add_fault("status", where="revoke", when="before", status=status, body='{"error":"unknown_token"}')
    assert (revoke(harness, client)["status"], found(harness)["evidence"]) == ("done", "accepted")


def test_a_success_that_a_rule_reads_as_ours_has_revoked_nothing(harness: Harness, simulator: SimulatorControl) -> None:
    client = granted(harness, simulator, OURS, probe=False, api_url=None)
    simulator.add_fault("status", where="revoke", when="before", status=200, body='{"error":"bad_client"}')
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert (found(harness)["status"], found(harness)["last_error_code"]) == ("queued", "bad_client")


@pytest.mark.parametrize(
    ("body", "code"),
    [('{"ok":false,"error":"invalid_auth"}', "invalid_auth"), ("<!DOCTYPE html><title>Sign in</title>", "unreadable")],
)
def test_a_success_with_an_error_or_a_page_has_revoked_nothing_and_is_tried_again_without_a_rule(
    harness: Harness, simulator: SimulatorControl, body: str, code: str
) -> None:
    client = granted(harness, simulator, probe=False, api_url=None)
    simulator.add_fault("status", where="revoke", when="before", status=200, body=body, count=1)
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert (found(harness)["status"], found(harness)["last_error_code"]) == ("queued", code)
    assert harness.one("select sealed_refresh_token is null as shredded from evergrant.grants")["shredded"] is False
    harness.later(minutes=5)
    end(harness, client)
    assert (found(harness)["status"], found(harness)["evidence"]) == ("done", "accepted")


def test_a_letter_of_a_revocation_tells_the_rule(harness: Harness, simulator: SimulatorControl) -> None:
    client = granted(harness, simulator, OURS, probe=False, api_url=None)
    simulator.add_fault("status", where="revoke", when="before", status=200, body='{"error":"bad_client"}')
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    harness.later(hours=25)
    harness.run("update evergrant.valves set paused_until = null")
    for _ in range(2):  # its access token has ended meanwhile, and is renewed first
        end(harness, client)
    letter = harness.one("select cause, rule from evergrant.dead_letters")
    assert (letter["cause"], letter["rule"]) == ("bad_client", "1: ours")


def test_a_throttled_revocation_is_made_again_and_shuts_no_valve(harness: Harness, simulator: SimulatorControl) -> None:
    client = granted(harness, simulator, WAIT, probe=False, api_url=None)
    simulator.add_fault("status", where="revoke", when="before", status=200, body='{"error":"slow"}', count=1)
    assert revoke(harness, client)["status"] == "done"
    assert harness.valve(client)["paused_until"] is None


@pytest.mark.parametrize(("answers", "generation"), [([SLACK], 2), ([], 1)])
def test_an_access_token_that_the_api_calls_dead_inside_a_success_is_renewed_first(
    harness: Harness, simulator: SimulatorControl, answers: list[dict[str, Any]], generation: int
) -> None:
    """Some providers revoke nothing where the access token of the pair is dead; without the rule it tells nothing."""
    client = granted(harness, simulator, *answers, probe=False)
    body = json.dumps({"ok": False, "error": "token_revoked"})
    simulator.add_fault("status", where="api", when="before", status=200, body=body, count=1)
    assert revoke(harness, client)["status"] == "done"
    assert harness.one("select generation from evergrant.grants")["generation"] == generation


@pytest.mark.parametrize("status", [200, 403])
def test_a_probe_sees_a_death_in_the_providers_own_words(
    harness: Harness, simulator: SimulatorControl, status: int
) -> None:
    client = granted(harness, simulator, GONE, probe=True)
    simulator.add_fault("status", where="token", when="before", status=status, body='{"error":"gone"}')
    assert (revoke(harness, client)["status"], found(harness)["evidence"]) == ("done", "verified")


@pytest.mark.parametrize("echo", ["s3cret", "refresh_token", "access_token"])
def test_no_word_of_a_revocation_repeats_what_it_was_sent(
    harness: Harness, simulator: SimulatorControl, echo: str
) -> None:
    """The word is looked at twice, and its secrets are opened for each look."""
    client = client_of(harness, simulator, rotation="none", probe=False, api_url=None)
    pair = mint(simulator) | {"refresh_token": "onlyLettersRefreshing", "access_token": "onlyLettersOpening"}
    harness.grant(client, pair=pair, labels={"org": ["o1"]})
    word = pair.get(echo, echo)
    simulator.add_fault("status", where="revoke", when="before", status=400, body=json.dumps({"error": word}))
    harness.run("select evergrant.request_revocation('customer')")
    end(harness, client)
    assert found(harness)["last_error_code"] == "unrecognised"
