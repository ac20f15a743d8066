"""GET /v2/bookings, /v2/organizations and /oauth/token/info: what a living and a dead access token get."""

from tests.unit.simulator.desk import Desk, Tokens

REALM = 'Bearer realm="Doorkeeper", error="invalid_token", error_description="The access token'


def test_a_living_token_gets_the_bookings_of_its_organization() -> None:
    desk = Desk()
    answer = desk.ask("api", bearer=desk.mint(orgs=("hotel-7",)).access, org="hotel-7")
    assert answer.status == 200
    assert {row["attributes"]["organization_id"] for row in answer.body["data"]} == {"hotel-7"}


def test_without_an_organization_400_and_with_a_foreign_one_404() -> None:
    desk = Desk()
    access = desk.mint().access
    assert desk.ask("api", bearer=access).status == 400
    assert desk.ask("api", bearer=access, org="org-2").status == 404


def test_the_organizations_of_a_grant_are_listed_for_a_living_token_alone() -> None:
    desk = Desk()
    answer = desk.ask("organizations", bearer=desk.mint(orgs=("hotel-7", "hotel-8")).access)
    assert [row["attributes"]["api_org_id"] for row in answer.body["data"]] == ["hotel-7", "hotel-8"]
    assert desk.ask("organizations", bearer="unknown").status == 401


def test_a_dead_token_is_401_with_an_empty_body_and_the_header_tells_why() -> None:
    desk = Desk("immediate")
    revoked = desk.mint()
    desk.refresh(revoked)
    expired = desk.mint("customer-2")
    desk.pass_time(7201)
    seen = {}
    for name, tokens in {"revoked": revoked, "expired": expired, "invalid": Tokens("unknown", "")}.items():
        answer = desk.ask("api", bearer=tokens.access, org="org-1")
        assert (answer.status, answer.body) == (401, None)
        seen[name] = answer.headers["WWW-Authenticate"]
    assert seen == {
        "revoked": f'{REALM} was revoked"',
        "expired": f'{REALM} expired"',
        "invalid": f'{REALM} is invalid"',
    }


def test_token_info_tells_what_a_token_is_for() -> None:
    desk = Desk()
    access = desk.mint().access
    desk.pass_time(200)
    assert desk.ask("token_info", bearer=access).body == {
        "resource_owner_id": "customer-1",
        "scope": ["crm_read", "crm_manage"],
        "expires_in": 7000,
        "application": {"uid": "acme"},
        "created_at": 1_000_000,
    }


def test_token_info_of_a_dead_token_is_401() -> None:
    answer = Desk().ask("token_info", bearer="unknown")
    assert (answer.status, Desk.error(answer)) == (401, "invalid_token")
