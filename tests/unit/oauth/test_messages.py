import base64
import json
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from tasks.oauth import messages
from tasks.oauth.errors import LabelNotChosen, MissingSetting, ProbeNotAllowed
from tasks.oauth.messages import Registration, Request
from tasks.oauth.provider import Provider
from tasks.oauth.revocation import revoke
from tasks.oauth.token_answer import TokenSet

SECRET = "s3cr3t-of-the-client"


def provider(**fields: object) -> Provider:
    return Provider.model_validate(
        {
            "name": "example",
            "authorize_url": "https://id.example/authorize",
            "token_url": "https://id.example/token",
            "revoke_url": "https://id.example/revoke",
            "api_url": "https://api.example/v2/bookings",
            "confirm_url": "https://id.example/info",
        }
        | fields
    )


def registration(**fields: object) -> Registration:
    return Registration(provider(**fields), "our id", SECRET, "https://us.example/callback?x=1")


def members(request: Request) -> dict[str, str]:
    if request.headers["Content-Type"] == "application/json":
        found: dict[str, str] = json.loads(request.body)
        return found
    return dict(parse_qsl(request.body.decode(), strict_parsing=True))


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_authorize_url_asks_for_a_code_with_state_and_challenge() -> None:
    url = messages.authorize_url(registration(), state="st", code_challenge="ch", scopes=["a", "b"])

    assert url.startswith("https://id.example/authorize?")
    assert {k: v for k, [v] in parse_qs(urlsplit(url).query).items()} == {
        "response_type": "code",
        "client_id": "our id",
        "redirect_uri": "https://us.example/callback?x=1",
        "state": "st",
        "scope": "a b",
        "code_challenge": "ch",
        "code_challenge_method": "S256",
    }


def test_scopes_are_joined_as_the_provider_wants_them_and_commas_stay_readable() -> None:
    url = messages.authorize_url(
        registration(scopes=["crm_read", "crm_manage"], scope_separator=","), state="st", code_challenge=None
    )

    assert "scope=crm_read,crm_manage" in url


def test_the_query_of_an_authorize_url_is_kept_and_further_parameters_are_added() -> None:
    ours = registration(authorize_url="https://id.example/a?tenant=7", authorize_parameters={"access_type": "offline"})

    query = parse_qs(urlsplit(messages.authorize_url(ours, state="st", code_challenge=None)).query)

    assert (query["tenant"], query["access_type"]) == (["7"], ["offline"])
    assert "scope" not in query


def test_the_clients_id_is_called_as_the_provider_calls_it() -> None:
    ours = registration(client_id_parameter="client_key")

    query = parse_qs(urlsplit(messages.authorize_url(ours, state="st", code_challenge=None)).query)
    sent = members(messages.refresh(ours, refresh_token="r"))

    assert (query["client_key"], sent["client_key"]) == (["our id"], "our id")
    assert "client_id" not in {*query, *sent}


def test_an_exchange_and_a_refresh_have_further_parameters_of_their_own_and_never_in_the_place_of_ours() -> None:
    ours = registration(
        exchange_parameters={"audience": "api"},
        refresh_parameters={"expiring": "1"},
        refresh_redirect_uri=True,
        probe=True,
    )

    exchanged = members(messages.exchange(ours, code="c", code_verifier=None))
    for ask in (messages.refresh, messages.probe):
        refreshed = members(ask(ours, refresh_token="r"))
        assert (refreshed["expiring"], refreshed["redirect_uri"]) == ("1", "https://us.example/callback?x=1")
        assert "audience" not in refreshed
    assert exchanged["audience"] == "api"
    assert "expiring" not in exchanged
    assert "redirect_uri" not in members(messages.refresh(registration(), refresh_token="r"))


def test_headers_of_the_provider_go_with_every_request_to_its_endpoints() -> None:
    ours = registration(token_headers={"Notion-Version": "2022-06-28", "accept": "application/vnd.x+json"})

    for request in (
        messages.refresh(ours, refresh_token="r"),
        messages.exchange(ours, code="c", code_verifier=None),
        revoke(ours, token="t", hint=None),
    ):
        assert request.headers["Notion-Version"] == "2022-06-28"
        assert [value for name, value in request.headers.items() if name.lower() == "accept"] == [
            "application/vnd.x+json"
        ]
    assert "Notion-Version" not in messages.api_call(ours.provider, access_token="a").headers


def test_a_refresh_goes_to_its_own_address_where_there_is_one() -> None:
    ours = registration(refresh_url="https://id.example/refresh", probe=True)

    assert messages.refresh(ours, refresh_token="r").url == "https://id.example/refresh"
    assert messages.probe(ours, refresh_token="r").url == "https://id.example/refresh"
    assert messages.exchange(ours, code="c", code_verifier=None).url == "https://id.example/token"


def test_every_request_is_made_for_the_labels_of_its_grant_and_to_public_hosts_only_where_hosts_are_named() -> None:
    urls = {field: f"https://{{shop}}.example.com/{field}" for field in ("authorize_url", "token_url", "revoke_url")}
    urls |= {field: f"https://{{shop}}.example.com/{field}" for field in ("api_url", "confirm_url")}
    ours, labels = registration(hosts=["*.example.com"], probe=True, **urls), {"shop": ["acme"]}

    requests = [
        messages.exchange(ours, code="c", code_verifier=None, labels=labels),
        messages.refresh(ours, refresh_token="r", labels=labels),
        messages.probe(ours, refresh_token="r", labels=labels),
        revoke(ours, token="t", hint=None, labels=labels),
        messages.confirm(ours.provider, access_token="a", labels=labels),
        messages.api_call(ours.provider, access_token="a", labels=labels),
    ]

    assert {urlsplit(request.url).hostname for request in requests} == {"acme.example.com"}
    assert all(request.public_only for request in requests)
    url = messages.authorize_url(ours, state="s", code_challenge=None, labels=labels)
    assert url.startswith("https://acme.example.com/authorize_url?")
    assert not messages.refresh(registration(), refresh_token="r").public_only
    own_network = registration(hosts=["id.example", "api.example"], private_hosts=True)
    assert not messages.refresh(own_network, refresh_token="r").public_only


def test_a_look_at_an_access_token_leaves_out_the_headers_of_a_label_with_several_values() -> None:
    habits = provider(headers={"X-API-ORG": "{org}", "X-Version": "2"}, api_url="https://api.example/{shop}/me")

    request = messages.api_call(habits, access_token="a", labels={"org": ["1", "2"], "shop": "s"})

    assert (request.url, request.headers["X-Version"]) == ("https://api.example/s/me", "2")
    assert "X-API-ORG" not in request.headers


def test_no_challenge_and_no_verifier_is_sent_where_the_provider_wants_none() -> None:
    ours = registration(pkce=False)

    assert "challenge" not in messages.authorize_url(ours, state="st", code_challenge="ch")
    assert "code_verifier" not in members(messages.exchange(ours, code="c", code_verifier="v"))


def test_the_challenge_is_the_one_of_rfc_7636_appendix_b() -> None:
    entropy = bytes.fromhex("7418dfb49799e0254ffa607dd8adbbba16d4254d69d6bff05b58055853848d79")

    assert messages.code_verifier(entropy) == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert messages.code_challenge(messages.code_verifier(entropy)) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize("body", ["json", "form"])
def test_an_exchange_sends_code_and_redirect_uri_with_the_credentials(body: str) -> None:
    request = messages.exchange(registration(body=body), code="c&d", code_verifier="v")

    assert (request.method, request.url) == ("POST", "https://id.example/token")
    assert members(request) == {
        "grant_type": "authorization_code",
        "code": "c&d",
        "redirect_uri": "https://us.example/callback?x=1",
        "code_verifier": "v",
        "client_id": "our id",
        "client_secret": SECRET,
    }


@pytest.mark.parametrize("body", ["json", "form"])
def test_a_refresh_sends_no_scope(body: str) -> None:
    request = messages.refresh(registration(body=body, scopes=["a"]), refresh_token="r+/=")

    assert members(request) == {
        "grant_type": "refresh_token",
        "refresh_token": "r+/=",
        "client_id": "our id",
        "client_secret": SECRET,
    }


def test_with_basic_the_credentials_are_encoded_in_the_header_alone() -> None:
    ours = Registration(provider(auth="basic"), "id:1", "a+b/c=")

    request = messages.refresh(ours, refresh_token="r")

    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"id%3A1:a%2Bb%2Fc%3D"
    assert members(request) == {"grant_type": "refresh_token", "refresh_token": "r"}


def test_basic_credentials_can_be_sent_as_they_are() -> None:
    ours = Registration(provider(auth="basic", basic_encoded=False), "id", "a+b/c=")

    header = messages.refresh(ours, refresh_token="r").headers["Authorization"]

    assert base64.b64decode(header.removeprefix("Basic ")) == b"id:a+b/c="


@pytest.mark.parametrize("body", ["json", "form"])
@pytest.mark.parametrize("auth", ["body", "basic"])
def test_a_probe_is_a_refresh_with_a_scope_that_was_never_granted(auth: str, body: str) -> None:
    ours = registration(probe=True, auth=auth, body=body)
    refresh, probe = (ask(ours, refresh_token="r+/=") for ask in (messages.refresh, messages.probe))

    assert members(probe) == {**members(refresh), "scope": "evergrant_never_granted"}
    assert (probe.method, probe.url, probe.headers) == (refresh.method, refresh.url, refresh.headers)


def test_a_probe_is_refused_where_it_may_consume_the_token() -> None:
    with pytest.raises(ProbeNotAllowed, match="probe = true"):
        messages.probe(registration(), refresh_token="r")


def test_api_calls_carry_the_bearer_token_and_the_headers_made_from_labels() -> None:
    habits = provider(headers={"X-API-ORG": "{org}", "X-Region": "eu-{region}"})

    request = messages.api_call(habits, access_token="a", labels={"org": ["77"]})

    assert (request.method, request.url, request.body) == ("GET", "https://api.example/v2/bookings", b"")
    assert request.headers["Authorization"] == "Bearer a"
    assert request.headers["X-API-ORG"] == "77"
    assert "X-Region" not in request.headers
    assert messages.confirm(habits, access_token="a").url == "https://id.example/info"


def test_an_api_gets_the_token_in_the_header_that_it_wants() -> None:
    habits = provider(api_header="X-Shopify-Access-Token: {access_token}")

    for request in (messages.api_call(habits, access_token="a"), messages.confirm(habits, access_token="a")):
        assert request.headers == {"Accept": "application/json", "X-Shopify-Access-Token": "a"}


def test_a_label_with_several_values_must_be_chosen() -> None:
    with pytest.raises(LabelNotChosen, match=r"org.*north, south"):
        messages.api_headers(provider(headers={"X-API-ORG": "{org}"}), {"org": ["north", "south"]})


def test_a_chosen_value_must_be_one_that_the_grant_has() -> None:
    habits = provider(headers={"X-API-ORG": "{org}"})
    labels = {"org": ["north", "south"], "region": ["eu"]}

    assert messages.api_headers(habits, labels, {"org": "south"}) == {"X-API-ORG": "south"}
    assert messages.api_headers(habits, {"org": []}) == {}
    assert messages.labels_in_headers(habits) == {"org"}
    for held, chosen in ((labels, "west"), ({"org": ["north"]}, "south"), ({}, "south")):
        with pytest.raises(LabelNotChosen):
            messages.api_headers(habits, held, {"org": chosen})


def test_an_address_that_nobody_set_is_named_with_its_remedy() -> None:
    nowhere = Registration(Provider(name="generic"), "id", SECRET)

    with pytest.raises(MissingSetting, match="--token-url"):
        messages.refresh(nowhere, refresh_token="r")
    with pytest.raises(MissingSetting, match="--redirect-uri"):
        messages.authorize_url(nowhere, state="s", code_challenge=None)


def test_no_repr_shows_a_secret() -> None:
    ours = registration(auth="basic")
    made = [ours, messages.refresh(ours, refresh_token="the-refresh-token"), TokenSet("the-access-token", "the-other")]

    assert not any(word in repr(made) for word in (SECRET, "the-refresh-token", "the-access-token", "the-other"))


def test_an_introspection_says_which_kind_of_token_it_names() -> None:
    ours = registration(introspect_url="https://id.example/i", body="form")
    asked = messages.introspect(ours, token="a", hint="access_token")
    assert dict(parse_qsl(asked.body.decode()))["token_type_hint"] == "access_token"
