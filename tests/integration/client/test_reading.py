"""`evergrant-client` over SQL: it reads, asks, waits, and says what to do where there is no token."""

from datetime import UTC, datetime, timedelta

import pytest

from evergrant_client import (
    AmbiguousGrant,
    CannotOpen,
    Evergrant,
    EvergrantError,
    GrantRevoked,
    LabelNotChosen,
    NeedsConsent,
    NotAllowed,
    NotConfigured,
    NotFreshYet,
    UnknownGrant,
    Unreachable,
)
from models.sealing.vault import KeyRing
from tests.application_logins import logins
from tests.harness import Harness, token_set
from tests.integration.client.conftest import Refresher
from tests.polling import eventually

LATER = timedelta(hours=1)


def test_a_fresh_token_is_read_and_opened(harness: Harness, client: int, evergrant: Evergrant) -> None:
    harness.grant(client)
    token = evergrant.access_token("customer")
    assert (token.value, token.generation) == ("at-customer-1", 1)
    assert timedelta(minutes=39) < token.expires_at - datetime.now(UTC) <= timedelta(minutes=40)
    assert "at-customer-1" not in repr(token) + repr(evergrant)
    assert harness.all("select id from evergrant.refresh_requests") == []


def test_a_login_with_a_role_of_its_own_reads_and_asks_for_its_clients_alone(
    harness: Harness, client: int, keys: str
) -> None:
    harness.grant(client)
    harness.grant(harness.client("other"), "theirs")
    with logins(harness) as made:
        own = Evergrant(dsn=made.address(made.login(made.role("demo"))), access_keys=keys)
        for _ in range(2):
            assert own.access_token("customer").value == "at-customer-1"
            own.report_rejected("customer", own.access_token("customer"))
        with pytest.raises(UnknownGrant):
            own.access_token("theirs")
        assert own.request_revocation("customer") == 1
        own.close()
        nothing = Evergrant(dsn=made.address(made.login()), access_keys=keys)
        with pytest.raises(NotAllowed, match="role of its own"):
            nothing.access_token("customer")
        nothing.close()


@pytest.mark.parametrize("left", [timedelta(seconds=40), timedelta(0), None], ids=["too short", "ended", "absent"])
def test_a_token_that_is_too_old_is_refreshed_and_waited_for(
    harness: Harness, client: int, evergrant: Evergrant, refresher: Refresher, left: timedelta | None
) -> None:
    harness.grant(client, due_in=LATER, access_left=left)
    token = evergrant.access_token("customer", min_ttl=60)
    assert (token.value, token.generation) == ("at-refreshed-1", 2)
    assert refresher.refreshed == 1


def test_only_a_401_is_reported_as_one(harness: Harness, client: int, evergrant: Evergrant) -> None:
    """A reported 401 counts against the grant when nobody else can be a witness: an old token is no evidence."""
    reported = "select rejected from evergrant.refresh_requests"
    harness.grant(client, due_in=LATER)
    with pytest.raises(NotFreshYet):
        evergrant.access_token("customer", min_ttl=2400, timeout=0)
    assert [row["rejected"] for row in harness.all(reported)] == [False]
    harness.run("delete from evergrant.refresh_requests")
    evergrant.report_rejected("customer", evergrant.access_token("customer"))
    assert [row["rejected"] for row in harness.all(reported)] == [True]


def test_no_more_is_asked_for_than_a_third_of_the_life(harness: Harness, client: int, evergrant: Evergrant) -> None:
    harness.grant(client, due_in=LATER, life=timedelta(seconds=60), access_left=timedelta(seconds=25))
    assert evergrant.access_token("customer", min_ttl=60, timeout=0).generation == 1


def test_a_refresh_that_does_not_come_in_time_is_told(harness: Harness, client: int, evergrant: Evergrant) -> None:
    harness.grant(client, due_in=LATER, access_left=timedelta(seconds=5))
    with pytest.raises(NotFreshYet, match=r"'customer' came within 1 s: try again in 5 s") as caught:
        evergrant.access_token("customer", timeout=0.3)
    assert caught.value.retry_after == 5
    assert len(harness.all("select id from evergrant.refresh_requests")) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("needs_consent", NeedsConsent("customer", "response_lost")),
        ("revoking", GrantRevoked("customer", "revoking")),
        ("revoked", GrantRevoked("customer", "revoked")),
    ],
)
def test_a_grant_that_hands_out_nothing_says_why(
    harness: Harness, client: int, evergrant: Evergrant, status: str, error: EvergrantError
) -> None:
    harness.grant(client, status=status, reason="response_lost")
    with pytest.raises(type(error)) as caught:
        evergrant.access_token("customer")
    assert (str(caught.value), caught.value.args) == (str(error), error.args)


def test_a_paused_grant_is_read_until_its_token_is_too_old(harness: Harness, client: int, evergrant: Evergrant) -> None:
    harness.grant(client, status="paused")
    assert evergrant.access_token("customer").generation == 1
    with pytest.raises(NotFreshYet, match="paused by an operator") as caught:
        evergrant.access_token("customer", min_ttl=2400)
    assert caught.value.retry_after == 60


def test_a_revocation_that_is_asked_for_ends_the_reading_at_once(
    harness: Harness, client: int, evergrant: Evergrant
) -> None:
    harness.grant(client)
    evergrant.access_token("customer")
    assert evergrant.request_revocation("customer", reason="left") == 1
    with pytest.raises(GrantRevoked):
        evergrant.access_token("customer")
    assert harness.one("select reason from evergrant.revocations")["reason"] == "left"


def test_an_unknown_ref_is_named(client: int, evergrant: Evergrant) -> None:
    for call in (evergrant.access_token, evergrant.request_refresh, evergrant.request_revocation):
        with pytest.raises(UnknownGrant, match="'nobody' of client 'demo'"):
            call("nobody", client="demo")
    assert evergrant.request_revocation("nobody", missing_ok=True) is None


def test_an_ambiguous_ref_names_the_clients_and_one_of_them_resolves_it(
    harness: Harness, client: int, evergrant: Evergrant
) -> None:
    harness.grant(client)
    harness.grant(harness.client("other"), token="other")
    with pytest.raises(AmbiguousGrant, match=r"\(demo, other\): pass client="):
        evergrant.access_token("customer")
    for call in (evergrant.request_refresh, evergrant.request_revocation):
        with pytest.raises(AmbiguousGrant, match="pass client="):
            call("customer")
    assert evergrant.access_token("customer", client="other").value == "at-other"


def test_a_ref_that_was_connected_anew_means_the_new_grant(harness: Harness, client: int, evergrant: Evergrant) -> None:
    harness.set(harness.grant(client), status="revoked")
    harness.grant(client, token="new", generation=7)
    assert evergrant.access_token("customer").value == "at-new"


def test_one_organization_is_set_by_itself_and_several_are_listed(
    harness: Harness, client: int, evergrant: Evergrant
) -> None:
    harness.grant(client, "single", labels={"org": ["8f2"]})
    harness.grant(client, "chain", labels={"org": ["8f2", "9a1"]})
    harness.grant(client, "none")
    assert evergrant.access_token("single").request_headers()["X-API-ORG"] == "8f2"
    assert evergrant.access_token("chain").value == "at-chain-1"
    with pytest.raises(LabelNotChosen, match="org= one of: 8f2, 9a1"):
        evergrant.access_token("chain").request_headers()
    assert evergrant.access_token("chain", org="9a1").request_headers()["X-API-ORG"] == "9a1"
    with pytest.raises(LabelNotChosen):
        evergrant.access_token("chain", org="other").request_headers()
    assert evergrant.access_token("none").request_headers() == {"Authorization": "Bearer at-none-1"}
    assert evergrant.access_token("none", org="x").request_headers()["X-API-ORG"] == "x"


def test_a_wrong_key_ring_is_named(harness: Harness, client: int, dsn: str) -> None:
    harness.grant(client)
    for name, says in (("elsewhere", "key 'a1' is not in access_keys"), ("a1", "another key under the same id")):
        reader = Evergrant(dsn=dsn, access_keys=KeyRing.generate_line(name))
        with pytest.raises(CannotOpen, match=says):
            reader.access_token("customer")
        reader.close()


def test_a_ring_in_a_file_is_read_again_when_the_keys_were_rotated(
    harness: Harness, client: int, in_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = harness.settings.home / "access.keys"
    file.write_text(KeyRing.generate_line("old") + "\n")
    monkeypatch.setenv("EVERGRANT_ACCESS_TOKEN_KEYS_FILE", str(file))
    monkeypatch.setenv("EVERGRANT_CLIENT_DSN", in_environment["EVERGRANT_CLIENT_DSN"])
    harness.grant(client)
    reader = Evergrant()
    file.write_text(in_environment["EVERGRANT_ACCESS_TOKEN_KEYS"] + "\n")
    assert reader.access_token("customer").value == "at-customer-1"
    reader.close()


def test_a_login_without_rights_is_told_which_role_it_lacks(harness: Harness, client: int, dsn: str, keys: str) -> None:
    harness.run("revoke all on evergrant.access_tokens from evergrant_reader")
    reader = Evergrant(dsn=dsn, access_keys=keys)
    with pytest.raises(NotAllowed, match="evergrant_reader"):
        reader.access_token("customer")
    reader.close()


def test_a_database_without_evergrant_is_told(empty_postgres_url: str, keys: str) -> None:
    reader = Evergrant(dsn=empty_postgres_url, access_keys=keys)
    with pytest.raises(NotConfigured, match="no Evergrant of this release in that database"):
        reader.access_token("customer")
    reader.close()


def test_a_database_that_is_away_is_bridged_while_the_token_lasts(
    harness: Harness, client: int, dsn: str, keys: str, evergrant: Evergrant
) -> None:
    harness.grant(client)
    token = evergrant.access_token("customer")
    away = Evergrant(dsn=dsn.replace("host=", "host=/nowhere"), access_keys=keys)
    away._memory.keep(("customer", None, None), evergrant._memory.find(("customer", None, None)) or pytest.fail("none"))
    assert away.access_token("customer") == token
    for needy in ({"min_ttl": 2400.0}, {"rejected": token}):
        with pytest.raises(Unreachable, match=r"database does not answer .* try again in 5 s"):
            away.access_token("customer", **needy)


def test_a_connection_that_the_server_closed_is_replaced(harness: Harness, client: int, evergrant: Evergrant) -> None:
    harness.grant(client)
    token = evergrant.access_token("customer")
    harness.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'evergrant-client'")
    harness.ask(client, token_set("2"))
    assert evergrant.access_token("customer", rejected=token).value == "at-2"


@pytest.mark.parametrize("left", [timedelta(minutes=30), timedelta(0)], ids=["nearly stale", "stale"])
def test_a_grant_on_demand_that_is_read_is_renewed(
    harness: Harness, client: int, evergrant: Evergrant, refresher: Refresher, left: timedelta
) -> None:
    grant = harness.grant(client, due_in=timedelta(days=7), access_left=left, keep="on-demand")
    evergrant.access_token("customer")
    eventually(lambda: harness.row(grant)["generation"] == 2)
    assert refresher.refreshed == 1
