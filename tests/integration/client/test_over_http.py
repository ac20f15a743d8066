"""`evergrant-client` on the real token interface: what it says over SQL it says over HTTP."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import settings
from evergrant_client import (
    AmbiguousGrant,
    Evergrant,
    EvergrantError,
    GrantRevoked,
    IdempotencyKeyTaken,
    LabelNotChosen,
    NeedsConsent,
    NotAllowed,
    NotFreshYet,
    UnknownGrant,
    Unreachable,
)
from models import application
from models.database import transaction
from tests.harness import Harness, token_set
from tests.integration.client.conftest import LATER, Refresher
from tests.integration.web.conftest import served


@pytest.fixture
def socket(harness: Harness) -> Iterator[Path]:
    """A token interface on a unix socket, whose path must be short."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokens.sock")
        with served(settings.current().model_copy(update={"token_bind": str(path), "ops_bind": "127.0.0.1:0"})):
            yield path


@pytest.fixture
def over_http(socket: Path) -> Evergrant:
    key = application.new_key()
    with transaction() as connection:
        application.add(connection, "billing", key=key, who="tests")
    return Evergrant(token_url=f"unix:{socket}", application_key=key)


@pytest.fixture(params=["sql", "http"])
def either(request: pytest.FixtureRequest) -> Evergrant:
    found: Evergrant = request.getfixturevalue("evergrant" if request.param == "sql" else "over_http")
    return found


def told(call: Callable[[], object]) -> EvergrantError:
    with pytest.raises(EvergrantError) as caught:
        call()
    return caught.value


def test_a_token_is_read_over_either(harness: Harness, client: int, either: Evergrant) -> None:
    harness.grant(client, labels={"org": ["8f2"]})
    token = either.access_token("customer")
    assert (token.value, token.generation) == ("at-customer-1", 1)
    assert timedelta(minutes=39) < token.expires_at - datetime.now(UTC) <= timedelta(minutes=40)


def test_a_token_that_is_too_old_is_refreshed_and_waited_for_over_either(
    harness: Harness, client: int, either: Evergrant, refresher: Refresher
) -> None:
    harness.grant(client, due_in=LATER, access_left=timedelta(seconds=20))
    assert either.access_token("customer").value == "at-refreshed-1"
    assert refresher.refreshed == 1


def test_a_401_is_handed_off_over_either(
    harness: Harness, client: int, either: Evergrant, refresher: Refresher
) -> None:
    harness.grant(client, due_in=LATER)
    token = either.access_token("customer")
    barrier = threading.Barrier(20)

    def another(_: int) -> str:
        barrier.wait(30)
        return either.access_token("customer", rejected=token).value

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(another, range(20))) == {"at-refreshed-1"}
    assert refresher.refreshed == 1


def test_only_a_401_is_reported_as_one_over_either(harness: Harness, client: int, either: Evergrant) -> None:
    reported = "select rejected from evergrant.refresh_requests order by id"
    harness.grant(client, due_in=LATER)
    assert isinstance(told(lambda: either.access_token("customer", min_ttl=2400, timeout=0)), NotFreshYet)
    assert either.request_refresh("customer") == 2
    assert [row["rejected"] for row in harness.all(reported)] == [False]
    either.report_rejected("customer", either.access_token("customer"))
    assert [row["rejected"] for row in harness.all(reported)] == [False, True]


def test_errors_are_the_same_over_either(harness: Harness, client: int, either: Evergrant) -> None:
    harness.grant(client, "dead", status="needs_consent", reason="response_lost")
    harness.grant(client, "gone", status="revoked")
    harness.grant(client, "waits", status="paused", access_left=None)
    harness.grant(client, "twice")
    harness.grant(client, "first")
    harness.grant(client, "second")
    harness.grant(harness.client("other"), "twice", token="other")
    either.request_revocation("first", idempotency_key="k")
    found = {ref: told(lambda r=ref: either.access_token(r)) for ref in ("dead", "gone", "waits", "twice", "nobody")}  # type: ignore[misc]
    kinds = {"dead": NeedsConsent, "gone": GrantRevoked, "twice": AmbiguousGrant, "nobody": UnknownGrant}
    assert {ref: type(error) for ref, error in found.items()} == {**kinds, "waits": NotFreshYet}
    assert str(found["dead"]) == str(NeedsConsent("dead", "response_lost"))
    assert str(found["twice"]) == str(AmbiguousGrant("twice", ["demo", "other"]))
    assert str(found["waits"]).endswith("it is paused by an operator: try again in 60 s.")
    assert str(found["nobody"]) == str(UnknownGrant("nobody"))
    taken = told(lambda: either.request_revocation("second", idempotency_key="k"))
    assert str(taken) == str(IdempotencyKeyTaken("second", "k"))
    assert either.request_revocation("nobody", missing_ok=True) is None
    assert either.access_token("twice", client="other").value == "at-other"


def test_organizations_are_chosen_over_either(harness: Harness, either: Evergrant) -> None:
    client = harness.client("temple", headers={"X-API-ORG": "{org}"})
    harness.grant(client, "single", labels={"org": ["8f2"]})
    harness.grant(client, "chain", labels={"org": ["8f2", "9a1"]})
    assert either.access_token("single").request_headers()["X-API-ORG"] == "8f2"
    assert either.access_token("chain").value == "at-chain-1"
    with pytest.raises(LabelNotChosen, match="org= one of: 8f2, 9a1"):
        either.access_token("chain").request_headers()
    assert either.access_token("chain", org="9a1").request_headers()["X-API-ORG"] == "9a1"
    with pytest.raises(LabelNotChosen):
        either.access_token("chain", org="other").request_headers()


def test_a_ref_may_be_any_text_over_either(harness: Harness, client: int, either: Evergrant) -> None:
    for ref in ("a/b?c=d&e#f", "ümläut 鍵 🔑", "..", "%2e%2e", "with space"):
        harness.grant(client, ref, token=str(len(ref)))
        assert either.access_token(ref).value == f"at-{len(ref)}"


def test_requests_are_queued_over_http_and_say_who_asked(harness: Harness, client: int, over_http: Evergrant) -> None:
    harness.grant(client)
    revocation = over_http.request_revocation("customer", reason="left", idempotency_key="k", erase=True)
    row = harness.one("select id, reason, requested_by from evergrant.revocations")
    assert (row["id"], row["reason"]) == (revocation, "left")
    assert row["requested_by"].endswith("/billing")
    with pytest.raises(GrantRevoked):
        over_http.access_token("customer")


def test_a_wrong_key_is_told_and_a_token_interface_that_is_gone_is_bridged(
    harness: Harness, client: int, socket: Path, over_http: Evergrant
) -> None:
    harness.grant(client)
    with pytest.raises(NotAllowed, match="EVERGRANT_APPLICATION_KEY"):
        Evergrant(token_url=str(socket), application_key="egk_wrong").access_token("customer")
    token = over_http.access_token("customer")
    socket.rename(socket.with_name("gone"))
    assert over_http.access_token("customer") == token
    with pytest.raises(Unreachable):
        over_http.access_token("customer", rejected=token)
    socket.with_name("gone").rename(socket)
    harness.ask(client, token_set("2"))
    assert over_http.access_token("customer", rejected=token).value == "at-2"
