"""A provider changes under living grants: the first answer that proves it tightens the profile, and a human is told."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from simulator.control import SimulatorControl
from tasks import refresh
from tasks.oauth.answer import Answer
from tasks.oauth.messages import Request
from tasks.runtime import retry
from tasks.runtime.attempt import Attempt
from tests.harness import INVALID_GRANT, LIFE, Harness, token_set
from tests.integration.revoking import ORG, ask, client_of, mint

DEADLINE = timedelta(seconds=5)


def answer_to(harness: Harness, attempt: Attempt) -> Answer:
    """What the provider says to an attempt; it is not settled yet."""
    request = refresh.request_of(harness.runtime, attempt)
    assert isinstance(request, Request)
    sending = retry.send(harness.runtime.transport, request, deadline=DEADLINE, guard=lambda: None)
    return harness.runtime.transport.submit(sending).result()


def late_after_a_repeat(harness: Harness, client: int, grant: UUID) -> None:
    """An answer is on its way for longer than its lease, and the same token is sent again before it is settled."""
    harness.until_due(grant)
    first = harness.begin(client)
    answer = answer_to(harness, first)
    harness.later(minutes=10)
    ask(harness, client)
    harness.settle((first, answer))


def client(harness: Harness) -> dict[str, Any]:
    return dict(harness.one("select * from evergrant.clients"))


def told(harness: Harness) -> list[tuple[Any, ...]]:
    events = harness.all("select * from evergrant.events where type = 'client.rotation_drift' order by id")
    return [(each["reason"], each["data"]["from"], each["data"]["to"]) for each in events]


@pytest.mark.parametrize("rotation", ["on_use", "until_next_refresh"])
def test_a_token_that_died_early_is_told_once_its_successor_is_seen_to_live(
    harness: Harness, simulator: SimulatorControl, rotation: str
) -> None:
    simulator.configure(profile=rotation)
    known = client_of(harness, simulator, rotation=rotation)
    grant = harness.grant(known, pair=mint(simulator), labels=ORG)
    simulator.configure(profile="immediate")
    late_after_a_repeat(harness, known, grant)
    assert (harness.row(grant)["generation"], told(harness)) == (2, [])  # its user may have withdrawn in between
    before = client(harness)
    harness.until_due(grant)
    ask(harness, known)
    assert told(harness) == [("early_death", rotation, "immediate")]
    after = client(harness)
    assert (after["rotation"], after["overrides"]["rotation"]) == ("immediate", "immediate")
    assert after["updated_at"] > before["updated_at"]
    assert after["drift"]["early_death"]["grant_id"] == str(grant)
    assert harness.row(grant)["status"] == "active"


def test_what_is_started_next_knows_the_stricter_profile(harness: Harness, simulator: SimulatorControl) -> None:
    known = client_of(harness, simulator, rotation="on_use")
    harness.run("update evergrant.clients set overrides = overrides - 'burst', updated_at = clock_timestamp()")
    grant = harness.grant(known, pair=mint(simulator), labels=ORG)
    simulator.configure(profile="immediate")
    late_after_a_repeat(harness, known, grant)
    harness.until_due(grant)
    ask(harness, known)
    harness.until_due(grant)
    assert harness.begin(known).registered.provider.rotation == "immediate"
    assert client(harness)["burst"] == 20


def test_a_user_who_withdraws_between_the_two_is_no_drift(harness: Harness, simulator: SimulatorControl) -> None:
    known = client_of(harness, simulator, rotation="on_use")
    grant = harness.grant(known, pair=mint(simulator), labels=ORG)
    harness.until_due(grant)
    first = harness.begin(known)
    answer = answer_to(harness, first)
    simulator.revoke_as_user("customer")
    harness.later(minutes=10)
    ask(harness, known)
    assert harness.row(grant)["suspect_at"] is not None
    harness.settle((first, answer))
    harness.until_due(grant)
    ask(harness, known)
    assert (told(harness), client(harness)["drift"]) == ([], None)


def test_a_provider_that_keeps_its_word_is_never_told(harness: Harness, simulator: SimulatorControl) -> None:
    known = client_of(harness, simulator, rotation="on_use")
    grant = harness.grant(known, pair=mint(simulator), labels=ORG)
    for _ in range(3):
        late_after_a_repeat(harness, known, grant)
    assert (told(harness), client(harness)["drift"]) == ([], None)


def test_where_refresh_tokens_were_said_to_stay_a_new_one_is_told_and_nothing_is_known_of_it(
    harness: Harness, simulator: SimulatorControl
) -> None:
    simulator.configure(profile="immediate")
    known = client_of(harness, simulator, rotation="none")
    grant = harness.grant(known, pair=mint(simulator), labels=ORG)
    harness.until_due(grant)
    ask(harness, known)
    assert told(harness) == [("rotates", "none", "family")]
    assert client(harness)["rotation"] == "family"


def test_a_provider_that_reissues_refresh_tokens_and_lets_them_live_keeps_its_word(harness: Harness) -> None:
    known = harness.client(rotation="none", reissues_refresh_token=True)
    grant = harness.grant(known, token="1")
    harness.ask(known, token_set("2"))
    assert (told(harness), harness.token(grant)) == ([], "rt-2")
    assert harness.formers(grant) == {"rt-1": "predecessor"}  # it lives: a revocation must reach it


def test_no_new_refresh_token_where_they_rotate_is_told_once_and_changes_nothing(
    harness: Harness, simulator: SimulatorControl
) -> None:
    simulator.configure(profile="none")
    known = client_of(harness, simulator, rotation="family")
    grant = harness.grant(known, pair=mint(simulator), labels=ORG)
    for _ in range(3):
        harness.until_due(grant)
        ask(harness, known)
    assert told(harness) == [("no_new_refresh_token", "family", None)]
    assert client(harness)["rotation"] == "family"


def test_a_shorter_life_is_told_when_three_grants_in_a_row_had_it_and_changes_nothing(
    harness: Harness, simulator: SimulatorControl
) -> None:
    known = client_of(harness, simulator, rotation="on_use")
    grants = [harness.grant(known, ref, pair=mint(simulator, ref), labels=ORG) for ref in ("a", "b", "c")]
    simulator.configure(lifetime=900, lifetime_of_all=True)
    for grant in grants:
        assert told(harness) == []
        harness.run("update evergrant.grants set due_at = clock_timestamp() - interval '1 s' where id = :id", id=grant)
        harness.settle(*[(each, answer_to(harness, each)) for each in _begun(harness, known, grant)])
    assert told(harness) == [("shorter_life", LIFE.total_seconds(), 900)]
    assert client(harness)["rotation"] == "on_use"


def _begun(harness: Harness, known: int, grant: UUID) -> list[Attempt]:
    return [each for each in harness.start(harness.claim(known).due) if each.job.grant_id == grant]


def test_a_life_as_before_between_shorter_ones_is_one_grant_s_matter(harness: Harness) -> None:
    known = harness.client(rotation="on_use")
    grants = harness.grants(known, 4)
    by_id = {each.job.grant_id: each for each in harness.start(harness.claim(known).due)}
    for n, (grant, life) in enumerate(zip(grants, (900, 900, 7200, 900), strict=True)):
        harness.settle((by_id[grant], token_set(f"new-{n}", expires_in=life)))
    assert told(harness) == []


def test_a_family_that_was_killed_is_told_when_three_winners_died_of_a_repeat_and_nobody_else_did(
    harness: Harness, simulator: SimulatorControl
) -> None:
    simulator.configure(profile="family")
    known = client_of(harness, simulator, rotation="immediate")
    others = harness.grants(known, 12)
    harness.settle(*[(each, token_set(str(n))) for n, each in enumerate(harness.start(harness.claim(known).due))])
    for n, ref in enumerate(("a", "b", "c")):
        assert told(harness) == []
        grant = harness.grant(known, ref, pair=mint(simulator, ref), labels=ORG)
        late_after_a_repeat(harness, known, grant)
        _dies(harness, known, grant)
        assert (n, harness.row(grant)["status"]) == (n, "needs_consent")
    assert len(others) == 12
    assert told(harness) == [("family_killed", "immediate", "family")]
    assert client(harness)["rotation"] == "family"


def _dies(harness: Harness, known: int, grant: UUID) -> None:
    """It is refused until the verdict; its access token ends meanwhile, which is witness enough."""
    for _ in range(3):
        harness.run(
            "update evergrant.grants set due_at = clock_timestamp() - interval '1 s',"
            " access_expires_at = clock_timestamp() - interval '1 h' where id = :id",
            id=grant,
        )
        for attempt in _begun(harness, known, grant):
            harness.settle((attempt, INVALID_GRANT))


def test_where_a_winner_lived_no_family_was_killed(harness: Harness, simulator: SimulatorControl) -> None:
    simulator.configure(profile="immediate")
    known = client_of(harness, simulator, rotation="immediate")
    grant = harness.grant(known, pair=mint(simulator), labels=ORG)
    harness.run("""update evergrant.clients set drift_watch = '{"killed": ["00000000-0000-0000-0000-000000000001"]}'""")
    late_after_a_repeat(harness, known, grant)
    harness.until_due(grant)
    ask(harness, known)
    assert (client(harness)["drift_watch"], told(harness)) == (None, [])


def test_what_event_temple_may_announce_is_noticed_with_its_own_file(
    harness: Harness, simulator: SimulatorControl
) -> None:
    """Its file says `on_use`, which is a guess; others have announced the change to `immediate`."""
    known = client_of(harness, simulator)
    harness.run(
        "update evergrant.clients set provider = 'event-temple',"
        " overrides = overrides - 'rotation' - 'confirm_url', updated_at = clock_timestamp()"
    )
    grant = harness.grant(known, pair=mint(simulator), labels=ORG)
    simulator.configure(profile="immediate")
    late_after_a_repeat(harness, known, grant)
    harness.until_due(grant)
    ask(harness, known)
    assert told(harness) == [("early_death", "on_use", "immediate")]
    harness.until_due(grant)
    assert harness.begin(known).registered.provider.rotation == "immediate"
