"""Revocations and refreshes take turns with a client's rate: no living grant waits because others are being revoked."""

from uuid import UUID

from simulator.control import SimulatorControl
from tests.harness import Harness
from tests.integration.revoking import ORG, carry_out, chain, client_of, end, living, mint, stray

RATE = 10  # a minute: so slow that no machine makes a slot of its own slowness
SLOT_SECONDS = 6.6  # of that, 95 per cent are used
A_PAIR = 2  # requests: it is revoked, and looked at


def limited(harness: Harness, simulator: SimulatorControl) -> int:
    return client_of(harness, simulator, rotation="none", revocation="token", probe=True, rate=RATE, burst=20)


def asked_to_end(harness: Harness, simulator: SimulatorControl, client: int, ref: str, *, pairs: int) -> UUID:
    """A grant with surplus, whose revocation is asked for."""
    grant = harness.grant(client, ref, pair=mint(simulator, f"{ref}-0"), labels=ORG)
    for n in range(1, pairs):
        stray(harness, grant, mint(simulator, f"{ref}-{n}"))
    harness.run("select evergrant.request_revocation(:ref)", ref=ref)
    return grant


def alive(simulator: SimulatorControl, ref: str, *, pairs: int) -> list[bool]:
    return [bool(living(simulator, f"{ref}-{n}")) for n in range(pairs)]


def sent(simulator: SimulatorControl) -> int:
    return len(simulator.requests())


def statuses(harness: Harness) -> list[str]:
    return [row["status"] for row in harness.all("select status from evergrant.revocations order by id")]


def test_refreshes_have_three_quarters_of_the_rate_while_many_pairs_are_killed(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = limited(harness, simulator)
    for n in range(8):
        asked_to_end(harness, simulator, client, f"ending-{n}", pairs=4)
    harness.grants(client, 90)
    refreshes, slots, before = 0, 0, sent(simulator)
    while refreshes + sent(simulator) - before < 80:
        claimed = harness.claim(client)
        refreshes += len(claimed.due)
        carry_out(harness, claimed.revocations)
        harness.later(seconds=SLOT_SECONDS)
        slots += 1
    assert abs(sent(simulator) - before - 20) <= A_PAIR
    assert slots <= 85  # all of the rate is used


def test_a_pair_a_claim_is_killed_where_the_rate_is_used_up_and_a_living_pair_goes_before_former_ones(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = limited(harness, simulator)
    asked_to_end(harness, simulator, client, "first", pairs=3)
    end(harness, client)
    assert alive(simulator, "first", pairs=3) == [False, True, True]
    asked_to_end(harness, simulator, client, "second", pairs=2)
    seen = []
    for _ in range(4):
        harness.later(seconds=A_PAIR * SLOT_SECONDS)
        end(harness, client)
        seen.append((alive(simulator, "first", pairs=3).count(True), alive(simulator, "second", pairs=2).count(True)))
    assert seen == [(2, 1), (1, 1), (0, 1), (0, 0)]
    assert statuses(harness) == ["done", "done"]
    assert sent(simulator) == 5 * A_PAIR  # none is asked about twice


def test_without_a_rate_all_pairs_are_killed_in_one_go(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator, rotation="none", revocation="token", probe=True)
    asked_to_end(harness, simulator, client, "customer", pairs=3)
    end(harness, client)
    assert statuses(harness) == ["done"]


def test_where_each_pair_is_looked_at_first_no_more_are_looked_at_again_than_were_killed(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, rotation="none", revocation="token", rate=RATE)
    asked_to_end(harness, simulator, client, "customer", pairs=8)
    claims = 0
    while statuses(harness) == ["queued"]:
        end(harness, client)
        harness.later(seconds=180)
        claims += 1
    assert alive(simulator, "customer", pairs=8) == [False] * 8
    assert claims > 2
    assert harness.one("select evidence from evergrant.revocations")["evidence"] == "verified"
    assert sent(simulator) <= 8 * 3 + 8


def test_at_on_use_the_own_pair_is_dead_before_its_predecessors_wait_for_the_rate(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    chain(harness, simulator, client, 5)
    harness.run("update evergrant.clients set rate_per_minute = :rate", rate=RATE)
    harness.run("select evergrant.request_revocation('customer')")
    before, claims = sent(simulator), 0
    while statuses(harness) == ["queued"]:
        end(harness, client)
        assert harness.one("select current_dead_at is not null as dead from evergrant.revocations")["dead"]
        harness.later(seconds=60)
        claims += 1
    assert harness.one("select evidence from evergrant.revocations")["evidence"] == "verified"
    assert living(simulator) == []
    assert claims >= 4
    assert sent(simulator) - before <= 5 * 3
