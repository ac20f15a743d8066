"""Two secrets at once: one that was typed in wrong stops nobody, and a good one is proven by its first success."""

from typing import Any
from uuid import UUID

import pytest

from models import operator_actions
from models.database import transaction
from simulator.control import SimulatorControl
from tasks import refresh
from tasks.oauth.answer import Answer, Response
from tasks.runtime.trial import with_trial
from tests.harness import INVALID_CLIENT, INVALID_GRANT, LOST, Harness, token_set
from tests.integration.revoking import ORG, client_of, living, mint, revoke

ELSEWHERE = Response(400, {}, b'{"error": "invalid_client"}')
FORBIDDEN = Response(403, {}, b"<html>no")
INSIDE = Response(200, {}, b'{"error": "incorrect_client_credentials"}')


@pytest.fixture
def client(harness: Harness) -> int:
    """A client whose secret `s3cret` is proven."""
    client = harness.client(rotation="family")
    harness.grant(client, "first")
    harness.ask(client, token_set("first-2"))
    return client


def give(harness: Harness, client: int, secret: str, *, at_once: bool = False) -> None:
    with transaction() as connection:
        sealed = harness.runtime.vault.seal(secret, table="clients", row_id=client, purpose="secret")
        operator_actions.set_client_secret(connection, client, sealed, who="tests", at_once=at_once)


def secrets(harness: Harness, client: int) -> tuple[str, str | None]:
    """The secret that is used, and the one that is kept beside it."""
    row = harness.one("select * from evergrant.clients where id = :id", id=client)

    def opened(sealed: bytes | None) -> Any:
        return sealed and harness.runtime.vault.open(sealed, table="clients", row_id=client, purpose="secret")

    return opened(row["sealed_client_secret"]), opened(row["sealed_former_secret"])


def ask(harness: Harness, client: int, secret_is_good: dict[str, bool], bad: Answer = INVALID_CLIENT) -> list[str]:
    """One look of beat and what comes of it at a provider that knows these secrets; returns those that were sent."""
    claimed = harness.claim(client)
    attempts = with_trial(harness.runtime.registrations, harness.start(claimed.due))
    sent = [attempt.registered.registration.client_secret for attempt in attempts]
    answers = [token_set(f"{a.job.ref}-{a.job.claim_no}") for a in attempts]
    harness.settle(*[(a, t if secret_is_good[s] else bad) for a, s, t in zip(attempts, sent, answers, strict=True)])
    return sent


def untouched(harness: Harness, grants: list[UUID]) -> bool:
    rows = [harness.row(grant) for grant in grants]
    return all(row["failures"] == row["refusals"] == 0 and row["suspect_at"] is None for row in rows)


def since(harness: Harness, client: int, seconds: float) -> None:
    harness.run(
        """update evergrant.clients set secret_refused_at = secret_refused_at - make_interval(secs => :seconds),
            former_secret_at = former_secret_at - make_interval(secs => :seconds) where id = :id""",
        id=client,
        seconds=seconds,
    )


@pytest.mark.parametrize(
    "refusal", [INVALID_CLIENT, ELSEWHERE, FORBIDDEN, INVALID_GRANT], ids=["401", "400", "page", "grant"]
)
def test_a_wrong_new_secret_falls_back_at_once_and_blames_nobody(
    harness: Harness, client: int, refusal: Response
) -> None:
    grants = harness.grants(client, 5)
    give(harness, client, "typed wrong")
    assert ask(harness, client, {"typed wrong": False}, refusal) == ["typed wrong"] * 5
    assert secrets(harness, client) == ("s3cret", "typed wrong")
    assert untouched(harness, grants)
    assert harness.valve(client)["paused_until"] is None
    assert harness.events(client_id=client)[-1] == "client.secret_refused"

    harness.later(seconds=0.01)
    assert ask(harness, client, {"s3cret": True}) == ["s3cret"] * 5
    assert {harness.row(grant)["generation"] for grant in grants} == {2}
    assert secrets(harness, client) == ("s3cret", "typed wrong")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html>no such page"),
        (425, b""),
        (403, b'{"error": "rate_limit_exceeded"}'),
        (403, b'{"error": "slow_down"}'),
        (401, b'{"error": "temporarily_unavailable"}'),
    ],
)
def test_what_tells_of_no_secret_leaves_the_new_one_in_use(
    harness: Harness, client: int, status: int, body: bytes
) -> None:
    harness.grant(client)
    give(harness, client, "new")
    ask(harness, client, {"new": False}, Response(status, {}, body))
    assert secrets(harness, client) == ("new", "s3cret")


def test_a_refusal_inside_a_success_falls_back_as_well(harness: Harness, client: int) -> None:
    harness.grants(client, 5)
    give(harness, client, "typed wrong")
    ask(harness, client, {"typed wrong": False}, INSIDE)
    assert secrets(harness, client) == ("s3cret", "typed wrong")
    assert harness.valve(client)["paused_until"] is None


def test_a_good_new_secret_is_proven_by_its_first_success_and_the_former_one_is_shredded(
    harness: Harness, client: int
) -> None:
    harness.grants(client, 3)
    give(harness, client, "new")
    assert secrets(harness, client) == ("new", "s3cret")
    assert ask(harness, client, {"new": True}) == ["new"] * 3
    assert secrets(harness, client) == ("new", None)
    assert harness.events(client_id=client)[-1] == "client.secret_proven"
    assert harness.valve(client)["credentials_proven_no"] == 2


def test_what_was_under_way_with_the_former_secret_and_is_refused_is_asked_again_with_the_new_one(
    harness: Harness, client: int
) -> None:
    grant = harness.grant(client)
    before = harness.begin(client)
    give(harness, client, "new")
    harness.settle((before, INVALID_CLIENT))
    assert untouched(harness, [grant])
    assert secrets(harness, client) == ("new", "s3cret")
    harness.later(seconds=0.01)
    assert ask(harness, client, {"new": True}) == ["new"]


def test_a_refused_secret_is_tried_again_by_one_request_now_and_then_until_it_is_proven(
    harness: Harness, client: int
) -> None:
    grants = harness.grants(client, 6)
    give(harness, client, "early")
    ask(harness, client, {"early": False})
    harness.later(seconds=0.01)
    assert set(ask(harness, client, {"s3cret": True})) == {"s3cret"}

    since(harness, client, 200)
    for grant in grants:
        harness.set(grant, due_at=harness.row(grant)["refreshed_at"])
    assert sorted(ask(harness, client, {"s3cret": True, "early": False})) == ["early", *["s3cret"] * 5]
    assert untouched(harness, grants)
    assert secrets(harness, client) == ("s3cret", "early")

    harness.later(seconds=0.01)
    assert ask(harness, client, {"s3cret": True}) == ["s3cret"]  # who had tried it, and not the secret so soon
    since(harness, client, 400)
    for grant in grants:
        harness.set(grant, due_at=harness.row(grant)["refreshed_at"])
    assert sorted(ask(harness, client, {"s3cret": True, "early": True})) == ["early", *["s3cret"] * 5]
    assert secrets(harness, client) == ("early", None)
    row = harness.one("select * from evergrant.clients where id = :id", id=client)
    assert harness.valve(client)["credentials_proven_no"] == row["credentials_no"]
    assert harness.events(client_id=client)[-1] == "client.secret_proven"


def test_a_lost_answer_to_a_trial_is_a_doubt_like_any_other(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    give(harness, client, "early")
    ask(harness, client, {"early": False})
    since(harness, client, 200)
    harness.later(seconds=0.01)
    assert ask(harness, client, {"early": False}, LOST) == ["early"]
    assert harness.row(grant)["doubt_since"] is not None
    assert secrets(harness, client) == ("s3cret", "early")


def test_of_two_wrong_secrets_in_a_row_the_last_good_one_is_kept(harness: Harness, client: int) -> None:
    give(harness, client, "wrong")
    give(harness, client, "wrong again")
    assert secrets(harness, client) == ("wrong again", "s3cret")
    harness.grant(client)
    ask(harness, client, {"wrong again": False})
    give(harness, client, "right")
    assert secrets(harness, client) == ("right", "s3cret")


def test_a_secret_that_replaces_at_once_leaves_nothing_to_fall_back_to(harness: Harness, client: int) -> None:
    give(harness, client, "new", at_once=True)
    assert secrets(harness, client) == ("new", None)
    grant = harness.grant(client)
    ask(harness, client, {"new": False})
    assert secrets(harness, client) == ("new", None)
    assert harness.row(grant)["refusals"] == 1


def test_one_worker_of_many_falls_back_and_the_others_see_it(harness: Harness, client: int) -> None:
    harness.grants(client, 2)
    give(harness, client, "wrong")
    first, second = harness.start(harness.claim(client).due)
    harness.settle((first, INVALID_CLIENT))
    harness.settle((second, INVALID_CLIENT))
    assert secrets(harness, client) == ("s3cret", "wrong")
    assert harness.events(client_id=client).count("client.secret_refused") == 1
    assert untouched(harness, [first.job.grant_id, second.job.grant_id])


def test_a_shut_valve_lets_its_canary_go_at_once_with_the_former_secret(harness: Harness, client: int) -> None:
    harness.grant(client)
    give(harness, client, "wrong")
    harness.run("update evergrant.valves set paused_until = clock_timestamp(), pause_reason = 'x', pause_seconds = 60")
    assert ask(harness, client, {"wrong": False}) == ["wrong"]
    harness.later(seconds=0.01)
    assert ask(harness, client, {"s3cret": True}) == ["s3cret"]
    assert harness.valve(client)["paused_until"] is None


def test_another_client_id_keeps_no_secret_of_the_former_one(harness: Harness, client: int) -> None:
    give(harness, client, "new")
    row = harness.one("select * from evergrant.clients where id = :id", id=client)
    columns = ("provider", "overrides", "redirect_uri", "scopes", "return_to", "keep", "rotation", "rate_per_minute")
    more = ("burst", "attempt_lease", "grace")
    registration = operator_actions.Registration(**{name: row[name] for name in (*columns, *more)}, client_id="another")
    with transaction() as connection:
        operator_actions.set_client(connection, client, registration, who="tests")
    assert secrets(harness, client) == ("new", None)


def test_the_loop_of_a_worker_makes_the_trial(harness: Harness, client: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(refresh, "ask", lambda _, attempt: asked.append(attempt.registered.registration.client_secret))
    harness.grant(client)
    give(harness, client, "early")
    ask(harness, client, {"early": False})
    since(harness, client, 200)
    harness.later(seconds=0.01)
    refresh.carry_out(harness.runtime, harness.claim(client).due, client)
    assert asked == ["early"]


def test_a_revocation_that_is_refused_for_a_wrong_new_secret_is_made_again_with_the_former_one(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator)
    harness.grant(client, pair=mint(simulator), labels=ORG)
    give(harness, client, "typed wrong")
    assert revoke(harness, client, looks=3, apart=0)["evidence"] == "verified"
    assert secrets(harness, client) == ("s3cret", "typed wrong")
    assert living(simulator) == []


# ── a right secret that was refused at first, while the provider has ended the former one ───────────────────────


def go_on(harness: Harness, client: int, good: dict[str, bool], *, times: int, seconds: float) -> list[str]:
    """So many looks of beat, each so much later; returns the secrets that were sent."""
    sent: list[str] = []
    for _ in range(times):
        harness.later(seconds=seconds)
        since(harness, client, seconds)
        sent += ask(harness, client, good)
    return sent


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_right_secret_is_found_again_where_the_former_one_was_ended_and_every_grant_fails(
    harness: Harness, client: int, count: int
) -> None:
    """The first answer under the new one was a page in between; the former one is dead from that instant on."""
    grants = harness.grants(client, count)
    give(harness, client, "new")
    ask(harness, client, {"new": False}, FORBIDDEN)
    assert secrets(harness, client) == ("s3cret", "new")

    sent = go_on(harness, client, {"new": True, "s3cret": False}, times=20, seconds=30)

    assert secrets(harness, client) == ("new", None)
    assert sent.index("new") <= sent.count("s3cret") < 20 + count
    go_on(harness, client, {"new": True}, times=3, seconds=301)
    assert {harness.row(grant)["failures"] for grant in grants} == {0}
    assert harness.valve(client)["paused_until"] is None


def test_so_it_is_where_the_former_one_worked_for_a_while_and_ended_then(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    give(harness, client, "new")
    ask(harness, client, {"new": False}, FORBIDDEN)
    harness.later(seconds=0.01)
    assert ask(harness, client, {"s3cret": True}) == ["s3cret"]
    harness.until_due(grant)
    assert set(ask(harness, client, {"s3cret": False})) == {"s3cret"}
    assert harness.row(grant)["failures"] == 1

    go_on(harness, client, {"new": True, "s3cret": False}, times=5, seconds=301)

    assert secrets(harness, client) == ("new", None)


def test_where_both_are_wrong_one_request_tries_the_newer_one_now_and_then_and_nobody_is_blamed(
    harness: Harness, client: int
) -> None:
    grants = harness.grants(client, 4)
    give(harness, client, "typed wrong")
    ask(harness, client, {"typed wrong": False})

    sent = go_on(harness, client, {"typed wrong": False, "s3cret": False}, times=72, seconds=300)

    assert 5 <= sent.count("typed wrong") <= 15  # within six hours: three minutes, then ever more seldom
    assert all(harness.row(grant)["suspect_at"] is None for grant in grants)
    assert {harness.row(grant)["status"] for grant in grants} == {"active"}
    assert secrets(harness, client) == ("s3cret", "typed wrong")


def test_a_grant_that_fails_alone_makes_no_trial_while_others_are_well(harness: Harness, client: int) -> None:
    harness.grants(client, 2)
    give(harness, client, "early")
    ask(harness, client, {"early": False})
    harness.later(seconds=0.01)
    ask(harness, client, {"s3cret": True})
    since(harness, client, 600)
    sick = harness.one("select min(id::text)::uuid as id from evergrant.grants where ref <> 'first'")["id"]
    at = harness.row(sick)["created_at"]
    harness.set(sick, due_at=at, failures=3, failing_since=at)
    assert ask(harness, client, {"s3cret": True}) == ["s3cret"]


def test_a_grant_that_is_well_makes_the_trial_before_one_that_fails(harness: Harness, client: int) -> None:
    harness.grants(client, 2)
    give(harness, client, "early")
    ask(harness, client, {"early": False})
    harness.run(
        "update evergrant.grants set failures = 1, failing_since = clock_timestamp() where id = "
        "(select min(id::text)::uuid from evergrant.grants where ref <> 'first')"
    )
    since(harness, client, 200)
    harness.later(seconds=0.01)
    attempts = with_trial(harness.runtime.registrations, harness.start(harness.claim(client).due))
    tried = [each.job for each in attempts if each.registered.registration.client_secret == "early"]
    assert [(len(attempts), job.failing_since) for job in tried] == [(2, None)]


def test_what_is_refused_under_the_former_secret_beside_a_trial_that_succeeds_is_blamed_on_nobody(
    harness: Harness, client: int
) -> None:
    grants = harness.grants(client, 4)
    give(harness, client, "new")
    ask(harness, client, {"new": False}, FORBIDDEN)
    since(harness, client, 200)
    harness.later(seconds=0.01)

    assert sorted(ask(harness, client, {"new": True, "s3cret": False})) == ["new", *["s3cret"] * 3]

    assert untouched(harness, grants)
    harness.later(seconds=0.01)
    assert ask(harness, client, {"new": True}) == ["new"] * 3


def test_a_grant_in_doubt_makes_no_trial_whoever_else_fails(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    give(harness, client, "early")
    ask(harness, client, {"early": False})
    harness.set(grant, doubt_since=harness.row(grant)["created_at"])
    assert set(go_on(harness, client, {"s3cret": False}, times=5, seconds=700)) == {"s3cret"}


def test_who_is_held_back_uses_up_no_trial(harness: Harness, client: int) -> None:
    harness.grant(client)
    give(harness, client, "early")
    ask(harness, client, {"early": False})
    since(harness, client, 200)
    harness.later(seconds=0.01)
    claimed = harness.claim(client)
    harness.run("update evergrant.valves set paused_until = clock_timestamp() + interval '1 h', pause_reason = 'x'")
    (attempt,) = with_trial(harness.runtime.registrations, harness.start(claimed.due))
    assert attempt.registered.registration.client_secret == "s3cret"
    refused_at = harness.one("select secret_refused_at < now() - interval '150 s' as long from evergrant.clients")
    assert refused_at["long"]
