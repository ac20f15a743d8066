"""`FakeEvergrant`, as the tests of an application use it."""

import pytest

from evergrant_client import GrantRevoked, NeedsConsent, UnknownGrant, Unreachable
from evergrant_client.source import ConnectRequest, RevocationRequest
from evergrant_client.testing import FakeEvergrant, RefreshRequest


def test_it_hands_out_what_it_was_given_and_refreshes_what_has_ended(evergrant: FakeEvergrant) -> None:
    assert evergrant.access_token("customer").value == "secret"
    evergrant.expire("customer")
    assert evergrant.access_token("customer").value == "secret-2"
    evergrant.expire("customer")
    assert evergrant.access_token("customer").value == "secret-3"


def test_it_lists_what_was_asked_for(evergrant: FakeEvergrant) -> None:
    assert evergrant.request_refresh("customer", if_generation=1) == 2
    assert evergrant.request_refresh("customer", if_generation=1) == 2
    assert evergrant.request_revocation("customer", reason="left", connection=object()) == 1
    assert evergrant.request_revocation("nobody", missing_ok=True) is None
    assert evergrant.requested == [
        RefreshRequest("customer", None, 1),
        RefreshRequest("customer", None, 1),
        RevocationRequest("customer", reason="left"),
    ]
    with pytest.raises(GrantRevoked):
        evergrant.access_token("customer")


def test_every_end_can_be_played(evergrant: FakeEvergrant) -> None:
    evergrant.access_token("customer")
    evergrant.need_consent("customer", "response_lost")
    with pytest.raises(NeedsConsent, match="response_lost"):
        evergrant.access_token("customer")
    evergrant.connect("customer", "anew")
    assert (evergrant.access_token("customer").value, evergrant.access_token("customer").generation) == ("anew", 2)
    evergrant.revoke("customer")
    with pytest.raises(GrantRevoked):
        evergrant.access_token("customer")
    with pytest.raises(UnknownGrant):
        evergrant.request_revocation("nobody")


def test_links_are_made_and_listed(evergrant: FakeEvergrant) -> None:
    first = evergrant.connect_url("new", client="temple", return_to="https://a.example/", labels={"org": "8f2"})
    evergrant.need_consent("customer")
    with pytest.raises(NeedsConsent) as told:
        evergrant.access_token("customer")
    assert len(evergrant.requested) == 1
    assert told.value.connect_url == told.value.connect_url
    assert {first, told.value.connect_url} == {f"https://connect.test/connect/ticket-{n}" for n in (1, 2)}
    assert evergrant.requested == [
        ConnectRequest("new", "temple", "https://a.example/", {"org": ["8f2"]}),
        ConnectRequest("customer"),
    ]
    evergrant.go_away()
    with pytest.raises(Unreachable):
        evergrant.connect_url("customer")
