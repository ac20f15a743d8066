"""Grants that hold no refresh token, over real HTTP: client credentials, and access tokens that are exchanged."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from simulator.control import SimulatorControl
from tasks.oauth.answer import Response
from tasks.obtain import obtain
from tasks.policy.kinds import placeholder
from tests.harness import INVALID_CLIENT, INVALID_GRANT, Harness
from tests.integration.revoking import ORG, ask, client_of, mint, revoke
from tests.integration.test_two_secrets import give, secrets

META: dict[str, Any] = {
    "kind": "exchange",
    "rotation": "none",
    "probe": False,
    "revoke_token": "access",
    "refresh_method": "GET",
    "refresh_grant_type": "fb_exchange_token",
    "refresh_parameter": "fb_exchange_token",
}
APP: dict[str, Any] = {
    "kind": "client_credentials",
    "rotation": "none",
    "probe": False,
    "revoke_token": "access",
    "scope_separator": " ",
}
ENDED = Response(400, {}, b'{"error": {"message": "Session has expired.", "type": "OAuthException", "code": 190}}')


def alive(simulator: SimulatorControl, ref: str) -> list[str]:
    """The access tokens that open the API."""
    return [pair["access_token"] for grant in simulator.grants(ref) for pair in grant["pairs"] if pair["access_alive"]]


def access_token(harness: Harness, ref: str = "customer") -> str:
    row = harness.one("select id, sealed_access_token from evergrant.grants where ref = :ref", ref=ref)
    vault = harness.runtime.vault
    return vault.open(row["sealed_access_token"], table="grants", row_id=row["id"], purpose="access")


# ── client credentials ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_grant_without_a_user_is_made_at_once_and_renewed_like_any_other(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **APP)

    stored = obtain(harness.runtime, client, "customer", labels={"org": ["o1"]}, who="tests")
    first = access_token(harness)
    harness.until_due(stored.grant_id)
    ask(harness, client)

    row = harness.row(stored.grant_id)
    assert (stored.how, row["status"], row["generation"], row["labels"]) == ("connected", "active", 2, {"org": ["o1"]})
    assert access_token(harness) != first
    assert {first, access_token(harness)} == set(alive(simulator, "app:app"))
    assert harness.token(stored.grant_id) == placeholder(stored.grant_id)
    assert harness.formers(stored.grant_id) == {}
    assert list(harness.runtime.journal.unsettled()) == []


@pytest.mark.parametrize("answer", [INVALID_GRANT, INVALID_CLIENT])
def test_a_refusal_is_ours_for_ever_and_no_user_is_asked(harness: Harness, answer: Response) -> None:
    """Nobody consented, so nobody can do so again."""
    client = harness.client(**APP)
    harness.run("update evergrant.valves set credentials_proven_no = 1 where client_id = :id", id=client)
    grant = harness.grant(client, access_left=timedelta(seconds=-1))

    for _ in range(6):
        harness.run("update evergrant.valves set paused_until = null")
        harness.until_due(grant)
        harness.ask(client, answer)
        harness.later(hours=6)

    row = harness.row(grant)
    assert (row["status"], row["suspect_at"], row["refusals"]) == ("active", None, 6)
    assert "needs_consent" not in str(harness.events(grant_id=grant))


def test_a_refusal_to_connect_stores_nothing_and_says_whose_it_is(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **APP)
    simulator.create_client("app", "another")

    with pytest.raises(Exception, match=r"refuses this client's own credentials \(invalid_client\)"):
        obtain(harness.runtime, client, "customer", labels={}, who="tests")

    assert harness.all("select * from evergrant.grants") == []


def test_to_connect_once_more_is_a_new_grant_and_the_old_token_is_revoked(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **APP, revocation="token")
    first = obtain(harness.runtime, client, "customer", labels={}, who="tests")
    second = obtain(harness.runtime, client, "customer", labels={}, who="tests")

    assert (second.how, second.generation) == ("reconnected", 2)
    assert harness.row(first.grant_id)["status"] == "revoking"


def test_its_access_token_is_revoked_and_seen_to_be_dead(harness: Harness, simulator: SimulatorControl) -> None:
    client = client_of(harness, simulator, **APP)
    obtain(harness.runtime, client, "customer", labels={"org": ["org-1"]}, who="tests")

    assert revoke(harness, client)["evidence"] == "verified"
    assert alive(simulator, "app:app") == []
    assert [each["outcome"] for each in simulator.requests(endpoint="token")] == ["issued"]


def test_an_access_token_that_has_ended_is_not_renewed_to_be_revoked(
    harness: Harness, simulator: SimulatorControl, eventually: Callable[..., Any]
) -> None:
    simulator.configure(lifetime=1)
    client = client_of(harness, simulator, **APP)
    obtain(harness.runtime, client, "customer", labels={"org": ["org-1"]}, who="tests")
    eventually(lambda: alive(simulator, "app:app") == [])
    harness.later(seconds=5)

    assert revoke(harness, client)["evidence"] == "verified"
    assert simulator.requests(endpoint="revoke") == []
    assert len(simulator.requests(endpoint="token")) == 1


def test_where_nothing_can_be_revoked_its_grant_is_blocked_until_the_token_has_ended(
    harness: Harness, simulator: SimulatorControl
) -> None:
    client = client_of(harness, simulator, **APP, revoke_url=None)
    obtain(harness.runtime, client, "customer", labels={}, who="tests")

    assert revoke(harness, client, looks=3, apart=7200)["evidence"] == "unsupported"


def test_a_lost_row_is_made_again_from_the_journal_and_renewed(harness: Harness, simulator: SimulatorControl) -> None:
    """The commit of its making is missing: a later answer, asked for by the placeholder, brings it back."""
    client = client_of(harness, simulator, **APP)
    stored = obtain(harness.runtime, client, "customer", labels={}, who="tests")
    harness.until_due(stored.grant_id)
    attempt = harness.begin(client)
    harness.run("delete from evergrant.events where grant_id is not null")
    harness.run("delete from evergrant.grants")

    harness.settle((attempt, Response(200, {}, b'{"access_token": "at-2", "expires_in": 60}')))

    row = harness.row(stored.grant_id)
    assert (row["status"], row["generation"]) == ("active", 2)
    assert harness.token(stored.grant_id) == placeholder(stored.grant_id)


# ── exchange ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_access_token_is_exchanged_for_its_successor(harness: Harness, simulator: SimulatorControl) -> None:
    simulator.configure(habits={"exchanges_access_tokens": True})
    client = client_of(harness, simulator, **META)
    pair = mint(simulator)
    grant = harness.grant(client, pair={**pair, "refresh_token": pair["access_token"]}, labels=ORG)

    ask(harness, client)
    harness.until_due(grant)
    ask(harness, client)

    assert harness.row(grant)["generation"] == 3
    assert harness.token(grant) == access_token(harness)
    assert access_token(harness) in alive(simulator, "customer")
    assert [each["outcome"] for each in simulator.requests(ref="customer")] == ["refreshed", "refreshed"]
    # Each answer brings another token, and that is no habit to warn of.
    assert harness.one("select drift from evergrant.clients where id = :id", id=client)["drift"] is None


def test_it_is_due_by_its_life_even_where_it_is_kept_on_demand(harness: Harness, simulator: SimulatorControl) -> None:
    """Once it has ended nothing could be exchanged any more."""
    simulator.configure(habits={"exchanges_access_tokens": True})
    client = client_of(harness, simulator, **META)
    pair = mint(simulator)
    grant = harness.grant(client, pair={**pair, "refresh_token": pair["access_token"]}, keep="on-demand")

    ask(harness, client)

    row = harness.row(grant)
    assert row["due_at"] < row["access_expires_at"]


def test_once_it_has_ended_only_the_user_can_help(harness: Harness) -> None:
    client = harness.client(**META)
    harness.run("update evergrant.valves set credentials_proven_no = 1 where client_id = :id", id=client)
    grant = harness.grant(client, access_left=timedelta(seconds=-1))

    harness.ask(client, ENDED)
    assert harness.row(grant)["suspect_at"] is not None
    harness.until_due(grant)
    harness.ask(client, ENDED)

    assert (harness.row(grant)["status"], harness.letters(grant)) == ("needs_consent", ["revoked_or_expired"])


@pytest.mark.parametrize(
    "answer",
    [
        Response(403, {}, b"<html>Just a moment..."),
        Response(400, {}, b"<html><a href='/login?a=1&error=login_required&b=2'>"),
        Response(404, {}, b"<html>404"),
        Response(400, {}, b'{"error": "temporarily_unavailable"}'),
        Response(401, {}, b'{"message": "Unauthorized"}'),
        INVALID_CLIENT,
    ],
    ids=["firewall", "page", "404", "ill", "gateway", "credentials"],
)
def test_what_a_page_says_or_what_is_said_of_us_condemns_none_that_has_ended(
    harness: Harness, answer: Response
) -> None:
    client = harness.client(**META)
    harness.run("update evergrant.valves set credentials_proven_no = 1 where client_id = :id", id=client)
    grant = harness.grant(client, access_left=timedelta(seconds=-1))

    for _ in range(4):
        harness.run("update evergrant.valves set paused_until = null")
        harness.until_due(grant)
        harness.ask(client, answer)

    assert (harness.row(grant)["status"], harness.row(grant)["suspect_at"]) == ("active", None)


def test_a_life_that_is_the_files_may_be_a_guess_and_its_end_condemns_nobody(harness: Harness) -> None:
    client = harness.client(**META, default_life_seconds=7200)
    harness.run("update evergrant.valves set credentials_proven_no = 1 where client_id = :id", id=client)
    grant = harness.grant(client, life=timedelta(hours=2), access_left=timedelta(seconds=-1))

    harness.ask(client, ENDED)

    assert harness.row(grant)["suspect_at"] is None


def test_nor_does_a_new_secret_that_is_wrong_and_the_former_one_is_used_again(harness: Harness) -> None:
    client = harness.client(**META)
    harness.run("update evergrant.valves set credentials_proven_no = 1 where client_id = :id", id=client)
    grant = harness.grant(client, access_left=timedelta(seconds=-1))
    give(harness, client, "typed wrong")

    harness.ask(client, ENDED)

    assert harness.row(grant)["suspect_at"] is None
    assert secrets(harness, client) == ("s3cret", "typed wrong")


def test_as_long_as_it_lives_a_strange_refusal_condemns_nobody(harness: Harness) -> None:
    client = harness.client(**META)
    harness.run("update evergrant.valves set credentials_proven_no = 1 where client_id = :id", id=client)
    grant = harness.grant(client)

    harness.ask(client, ENDED)

    assert (harness.row(grant)["suspect_at"], harness.row(grant)["refusals"]) == (None, 1)


def test_its_access_token_is_what_is_revoked(harness: Harness, simulator: SimulatorControl) -> None:
    simulator.configure(habits={"exchanges_access_tokens": True})
    client = client_of(harness, simulator, **META)
    pair = mint(simulator)
    harness.grant(client, pair={**pair, "refresh_token": pair["access_token"]}, labels=ORG)

    assert revoke(harness, client)["evidence"] == "verified"
    assert alive(simulator, "customer") == []
