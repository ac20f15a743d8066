"""Introspection as a look and as a probe: what it tells is evidence, and never a verdict."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.control import SimulatorControl
from tasks.oauth.errors import ProbeNotAllowed
from tasks.policy.life import Finding
from tasks.probes.grant import probe
from tests.harness import Harness
from tests.integration.revoking import ORG, client_of, found, living, mint, revoke
from tests.raw_servers import Bench, Peer


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def introspecting(harness: Harness, simulator: SimulatorControl, url: str | None = None, **more: Any) -> int:
    """A client whose provider file allows no probe, and names no API."""
    there = url or f"{simulator.url}/oauth/introspect"
    return client_of(harness, simulator, **{"probe": False, "api_url": None, "introspect_url": there} | more)


def always(bench: Bench, status: int, **members: Any) -> str:
    """An address that answers every question alike."""
    body = json.dumps(members).encode()

    async def behave(peer: Peer) -> None:
        while await peer.request():
            await peer.say(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    return bench.serve(behave).url()


def test_an_end_that_the_server_itself_tells_is_verified(harness: Harness, simulator: SimulatorControl) -> None:
    client = introspecting(harness, simulator)
    harness.grant(client, pair=mint(simulator), labels=ORG)
    assert revoke(harness, client)["evidence"] == "verified"
    assert living(simulator) == []
    assert [(r["endpoint"], r["outcome"]) for r in simulator.requests()] == [
        ("introspect", "active"),
        ("revoke", "revoked"),
        ("introspect", "inactive"),
    ]


def test_a_server_that_calls_every_refresh_token_inactive_verifies_nothing(
    harness: Harness, simulator: SimulatorControl, bench: Bench
) -> None:
    client = introspecting(harness, simulator, always(bench, 200, active=False))
    harness.grant(client, pair=mint(simulator), labels=ORG)
    assert revoke(harness, client)["evidence"] == "accepted"
    assert living(simulator) == []


def test_a_revocation_after_which_the_token_lives_is_made_again(
    harness: Harness, simulator: SimulatorControl, bench: Bench
) -> None:
    client = introspecting(harness, simulator, always(bench, 200, active=True))
    harness.grant(client, pair=mint(simulator), labels=ORG)
    revoke(harness, client, looks=2)
    assert (found(harness)["status"], found(harness)["last_error_code"]) == ("queued", "still_alive")


@pytest.mark.parametrize(("status", "members"), [(200, {}), (401, {"error": "invalid_client"}), (404, {})])
def test_a_server_that_tells_nothing_leaves_the_end_accepted(
    harness: Harness, simulator: SimulatorControl, bench: Bench, status: int, members: dict[str, Any]
) -> None:
    client = introspecting(harness, simulator, always(bench, status, **members))
    harness.grant(client, pair=mint(simulator), labels=ORG)
    assert revoke(harness, client)["evidence"] == "accepted"


def test_a_probe_by_introspection_tells_life_and_death_and_changes_nothing(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = introspecting(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    assert probe(harness.runtime, grant, client_id=client) is Finding.ALIVE
    simulator.revoke_as_user("customer")
    assert probe(harness.runtime, grant, client_id=client) is Finding.DEAD
    row = harness.row(grant)
    assert (row["status"], row["suspect_at"], row["failures"], row["generation"]) == ("active", None, 0, 1)
    assert {r["endpoint"] for r in simulator.requests()} == {"introspect"}


def test_a_probe_under_a_wrong_secret_says_so_and_nothing_of_the_grant(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = introspecting(harness, simulator)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    simulator.set_secret("app", "another one")
    assert probe(harness.runtime, grant, client_id=client) is Finding.MISCONFIGURED


def test_where_a_probe_is_allowed_it_is_what_asks(harness: Harness, simulator: SimulatorControl) -> None:
    client = introspecting(harness, simulator, probe=True)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    assert probe(harness.runtime, grant, client_id=client) is Finding.ALIVE
    assert {r["endpoint"] for r in simulator.requests()} == {"token"}


def test_where_neither_is_possible_nothing_is_sent(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator, probe=False)
    grant = harness.grant(client, pair=mint(simulator), labels=ORG)
    with pytest.raises(ProbeNotAllowed):
        probe(harness.runtime, grant, client_id=client)
    assert simulator.requests() == []
