"""A customer comes back: the grant keeps what it is, and another account does not take its place."""

import base64
import json
from typing import Any

import pytest

from simulator.control import SimulatorControl
from tasks.oauth.accounts import Account
from tasks.settling import replay
from tests.harness import Harness
from tests.integration.public.browser import PUBLIC_URL
from tests.integration.public.conftest import Scene
from tests.integration.public.test_connecting import back, ended, told, words

LIVING = """select ref, status, generation, labels from evergrant.grants
    where status not in ('revoking', 'revoked')"""


def answers_with(provider: SimulatorControl, **members: Any) -> None:
    """Let the provider's token answers have more members."""
    provider.clear_faults()
    provider.add_fault("patch", where="token", patch=members)


def account_at(harness: Harness, place: str) -> None:
    harness.run(
        """update evergrant.clients set updated_at = clock_timestamp(),
            overrides = overrides || jsonb_build_object('account_at', cast(:place as text))""",
        place=place,
    )


@pytest.fixture
def connected(scene: Scene) -> None:
    """A grant of the account `team-1`, as the provider's file finds it."""
    account_at(scene.harness, "team.id")
    answers_with(scene.provider, team={"id": "team-1"})
    assert "is connected" in words(ended(scene.browser, scene.link(labels={"org": "8f2"}), scene.worker))


@pytest.mark.parametrize("status", ["active", "needs_consent", "paused"])
def test_a_grant_that_is_connected_again_keeps_its_ref_its_labels_and_its_count(
    scene: Scene, connected: None, status: str
) -> None:
    scene.harness.run(
        """update evergrant.grants
        set status = :status, reason = case when :status = 'needs_consent' then 'response_lost' end""",
        status=status,
    )

    assert "is connected" in words(ended(scene.browser, scene.link(), scene.worker))

    assert scene.rows(LIVING) == [("customer-42", "active", 2, {"org": ["8f2"]})]
    assert scene.rows("select reason, status from evergrant.revocations") == [("replaced", "queued")]
    assert scene.rows("select type from evergrant.events where type like 'grant.%connected' order by id") == [
        ("grant.connected",),
        ("grant.reconnected",),
    ]


def test_another_account_is_refused_and_what_it_allowed_is_revoked(scene: Scene, connected: None) -> None:
    answers_with(scene.provider, team={"id": "team-2"})

    page = ended(scene.browser, scene.link(), scene.worker)
    sent = ended(scene.browser, scene.link(return_to="https://acme.example/settings"), scene.worker)

    assert "That was another account" in words(page)
    assert told(sent)["reason"] == "another_account"
    assert scene.rows(LIVING) == [("customer-42", "active", 1, {"org": ["8f2"]})]
    assert scene.rows("select reason, status from evergrant.revocations") == [("replaced", "queued")] * 2
    assert (
        scene.rows("select ref, status from evergrant.grants where status = 'revoking'")
        == [("customer-42", "revoking")] * 2
    )


def test_another_account_may_be_allowed(scene: Scene, connected: None) -> None:
    answers_with(scene.provider, team={"id": "team-2"})

    assert "is connected" in words(ended(scene.browser, scene.link(other_account_allowed=True), scene.worker))

    assert [generation for _, _, generation, _ in scene.rows(LIVING)] == [2]
    # From now on it is this one that counts.
    answers_with(scene.provider, team={"id": "team-1"})
    assert "That was another account" in words(ended(scene.browser, scene.link(), scene.worker))


@pytest.mark.parametrize("members", [{}, {"team": None}, {"team": {"id": ""}}, {"team": {"id": ["team-2"]}}])
def test_where_nobody_tells_whose_it_is_nothing_is_refused(
    scene: Scene, connected: None, members: dict[str, Any]
) -> None:
    answers_with(scene.provider, **members)

    assert "is connected" in words(ended(scene.browser, scene.link(), scene.worker))


def test_whose_it_is_stands_sealed_and_nowhere_else(scene: Scene, connected: None) -> None:
    ((grant, sealed),) = scene.rows("select id, sealed_account from evergrant.grant_accounts")

    assert b"team-1" not in bytes(sealed)
    opened = scene.harness.runtime.vault.open(sealed, table="grant_accounts", row_id=grant, purpose="account")
    assert Account.read(opened) == Account("team.id", "team-1")


def test_a_file_that_tells_it_in_another_place_makes_nobody_another(scene: Scene, connected: None) -> None:
    account_at(scene.harness, "owner")
    for owner, said in (("ada", "is connected"), ("ada", "is connected"), ("bob", "That was another account")):
        answers_with(scene.provider, owner=owner)
        assert said in words(ended(scene.browser, scene.link(), scene.worker))


def id_token(**claims: Any) -> str:
    parts = ({"alg": "none"}, claims, "x")
    return ".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts)


@pytest.mark.parametrize(
    ("place", "first", "other"),
    [
        ("id_token.sub", {"id_token": id_token(sub="u1")}, {"id_token": id_token(sub="u2")}),
        ("merchant", {"merchant": 12345678901234567890}, {"merchant": 12345678901234567891}),
    ],
)
def test_an_account_is_read_where_its_provider_file_says(
    scene: Scene, place: str, first: dict[str, Any], other: dict[str, Any]
) -> None:
    account_at(scene.harness, place)
    for members, said in ((first, "is connected"), (first, "is connected"), (other, "That was another account")):
        answers_with(scene.provider, **members)
        assert said in words(ended(scene.browser, scene.link(), scene.worker))


def test_an_account_may_stand_in_the_redirect(scene: Scene) -> None:
    account_at(scene.harness, "redirect.realmId")
    for realm, said in (("1", "is connected"), ("1", "is connected"), ("2", "That was another account")):
        sent = scene.browser.open(f"{back(scene.browser, scene.link())}&realmId={realm}", follow=False)
        scene.worker.once()
        assert said in words(scene.browser.open(PUBLIC_URL + sent.headers["location"]))


def test_an_introspection_tells_whose_it_is_where_no_file_does(scene: Scene) -> None:
    scene.harness.run(
        """update evergrant.clients set updated_at = clock_timestamp(),
            overrides = overrides || jsonb_build_object('introspect_url', cast(:url as text))""",
        url=f"{scene.provider.url}/oauth/introspect",
    )
    for user, said in (("u1", "is connected"), ("u1", "is connected"), ("u2", "That was another account")):
        scene.provider.decide_automatically("allow", user=user)
        assert said in words(ended(scene.browser, scene.link(), scene.worker))
    assert len(scene.provider.requests(endpoint="introspect")) == 3


def test_a_look_at_the_account_that_cannot_be_had_keeps_nobody_from_connecting(scene: Scene) -> None:
    scene.harness.run(
        """update evergrant.clients set updated_at = clock_timestamp(),
            overrides = overrides || jsonb_build_object('introspect_url', 'http://127.0.0.1:9/introspect')"""
    )
    assert "is connected" in words(ended(scene.browser, scene.link(), scene.worker))
    assert [row[1] for row in scene.rows(LIVING)] == ["active"]


def test_a_look_at_the_account_that_cannot_even_be_begun_keeps_nobody_from_connecting(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.harness.run(
        """update evergrant.clients set updated_at = clock_timestamp(),
            overrides = overrides || jsonb_build_object('introspect_url', 'http://127.0.0.1:9/introspect')"""
    )
    monkeypatch.setattr("tasks.oauth.messages.introspect", lambda *_, **__: 1 // 0)
    assert "is connected" in words(ended(scene.browser, scene.link(), scene.worker))
    assert [row[1] for row in scene.rows(LIVING)] == ["active"]


def test_an_answer_that_only_the_journal_has_is_held_against_the_account_as_well(scene: Scene, connected: None) -> None:
    """Its scene.worker died before it was stored: whoever replays it asks the same."""
    answers_with(scene.provider, team={"id": "team-2"})
    scene.browser.open(back(scene.browser, scene.link()), follow=False)
    scene.worker.dies_before_it_stores()

    replay.drain_others(scene.harness.runtime)

    assert scene.rows(LIVING) == [("customer-42", "active", 1, {"org": ["8f2"]})]
    assert scene.rows("select ref, status from evergrant.grants where status = 'revoking'") == [
        ("customer-42", "revoking")
    ]


def test_a_provider_that_gives_the_very_pair_back_has_connected_its_customer(scene: Scene) -> None:
    """Doorkeeper may (`reuse_access_token`): the row stays as it was, and the customer is told so all the same."""
    ended(scene.browser, scene.link(), scene.worker)
    ((grant, sealed),) = scene.rows("select id, sealed_refresh_token from evergrant.grants")
    pair = scene.harness.runtime.vault.open(sealed, table="grants", row_id=grant, purpose="refresh")
    answers_with(scene.provider, refresh_token=pair)

    assert "is connected" in words(ended(scene.browser, scene.link(), scene.worker))

    assert scene.rows("select id, generation from evergrant.grants") == [(grant, 1)]
    assert scene.rows("select outcome from evergrant.visits") == [("connected",)] * 2
