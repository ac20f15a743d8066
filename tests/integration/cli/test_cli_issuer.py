"""`clients add --issuer`: what a server says about itself, fetched from servers on loopback."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.control import SimulatorControl
from tasks.oauth import client_key
from tests.integration.cli.evergrant import Evergrant
from tests.integration.cli.test_cli_connect import visit
from tests.raw_servers import Behaviour, Bench, Peer

Pages = Callable[[str], dict[str, Any]]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def answering(pages: Pages) -> Behaviour:
    """Answer each path with what `pages` says of it: JSON, or a status."""

    async def behave(peer: Peer) -> None:
        while request := await peer.request():
            path = request.split(b" ")[1].decode()
            found = pages(f"http://127.0.0.1:{peer.server.port}").get(path, 404)
            status, body = (200, json.dumps(found).encode()) if isinstance(found, dict) else (found, b"")
            location = b"Location: /elsewhere\r\n" if status == 302 else b""
            await peer.say(b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s" % (status, location, len(body), body))

    return behave


def oidc_provider(host: str) -> dict[str, Any]:
    return {
        "/.well-known/openid-configuration": {
            "issuer": host,
            "authorization_endpoint": f"{host}/auth",
            "token_endpoint": f"{host}/token",
            "revocation_endpoint": f"{host}/token/revocation",
            "introspection_endpoint": f"{host}/token/introspection",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": [
                "client_secret_basic",
                "client_secret_jwt",
                "client_secret_post",
                "private_key_jwt",
                "none",
            ],
        }
    }


def keycloak(host: str) -> dict[str, Any]:
    realm = f"{host}/realms/shop"
    return {
        "/realms/shop/.well-known/openid-configuration": {
            "issuer": realm,
            "authorization_endpoint": f"{realm}/protocol/openid-connect/auth",
            "token_endpoint": f"{realm}/protocol/openid-connect/token",
            "revocation_endpoint": f"{realm}/protocol/openid-connect/revoke",
            "introspection_endpoint": f"{realm}/protocol/openid-connect/token/introspect",
            "code_challenge_methods_supported": ["plain", "S256"],
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": [
                "private_key_jwt",
                "client_secret_basic",
                "client_secret_post",
                "tls_client_auth",
                "client_secret_jwt",
            ],
            "mtls_endpoint_aliases": {"token_endpoint": f"{realm}/mtls/token"},
        }
    }


def doorkeeper(host: str) -> dict[str, Any]:
    return {
        "/.well-known/oauth-authorization-server": {
            "issuer": host,
            "authorization_endpoint": f"{host}/oauth/authorize",
            "token_endpoint": f"{host}/oauth/token",
            "revocation_endpoint": f"{host}/oauth/revoke",
            "introspection_endpoint": f"{host}/oauth/introspect",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }
    }


SERVERS = {
    "oidc-provider": (oidc_provider, "", "/token", "/token/revocation"),
    "keycloak": (
        keycloak,
        "/realms/shop",
        "/realms/shop/protocol/openid-connect/token",
        "/realms/shop/protocol/openid-connect/revoke",
    ),
    "doorkeeper": (doorkeeper, "", "/oauth/token", "/oauth/revoke"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_servers_own_document_is_all_that_a_client_needs(evergrant: Evergrant, bench: Bench, name: str) -> None:
    pages, path, token, revoke = SERVERS[name]
    host = bench.serve(answering(pages)).url().removesuffix("/oauth/token?x=1")
    done = evergrant(
        *f"clients add x --issuer {host}{path} --client-id id --client-secret-file -".split(), stdin="hush"
    )
    assert done.code == 0, done.err
    assert "grants connect REF --client x" in done.out
    shown = evergrant("clients", "show", "x", "--json").json
    assert (shown["provider"], shown["issuer"], shown["auth"]) == ("generic", host + path, "basic")
    assert (shown["token_url"], shown["revoke_url"]) == (host + token, host + revoke)
    assert (shown["pkce"], shown["rotation"]) == (True, "family")
    assert shown["introspect_url"] is not None


def test_what_the_command_says_wins_over_the_document(evergrant: Evergrant, bench: Bench) -> None:
    host = bench.serve(answering(doorkeeper)).url().removesuffix("/oauth/token?x=1")
    told = f"clients add x --issuer {host} --client-id id --auth body --rotation on_use --client-secret-file -"
    assert evergrant(*told.split(), f"--token-url={host}/mine", stdin="hush").code == 0
    shown = evergrant("clients", "show", "x", "--json").json
    assert (shown["token_url"], shown["auth"], shown["rotation"]) == (f"{host}/mine", "body", "on_use")
    assert shown["revoke_url"] == f"{host}/oauth/revoke"


def test_the_way_to_prove_who_we_are_is_chosen_by_what_was_given(
    evergrant: Evergrant, bench: Bench, tmp_path: Path
) -> None:
    host = bench.serve(answering(keycloak)).url().removesuffix("/oauth/token?x=1")
    key = tmp_path / "key.pem"
    key.write_text(client_key.made("ES256").pem)
    told = f"clients add x --issuer {host}/realms/shop --client-id id --private-key-file {key}"
    assert evergrant(*told.split()).code == 0
    assert evergrant("clients", "show", "x", "--json").json["auth"] == "private_key_jwt"


def test_a_document_is_read_anew(evergrant: Evergrant, bench: Bench) -> None:
    moved = {"/oauth/token": "/oauth/token"}

    def pages(host: str) -> dict[str, Any]:
        found = doorkeeper(host)
        found["/.well-known/oauth-authorization-server"]["token_endpoint"] = host + moved["/oauth/token"]
        return found

    host = bench.serve(answering(pages)).url().removesuffix("/oauth/token?x=1")
    told = f"clients add x --issuer {host} --client-id id --auth body --client-secret-file -"
    assert evergrant(*told.split(), stdin="hush").code == 0
    moved["/oauth/token"] = "/v2/token"
    assert evergrant("clients", "set", "x", "--issuer", host).code == 0
    shown = evergrant("clients", "show", "x", "--json").json
    assert (shown["token_url"], shown["auth"]) == (f"{host}/v2/token", "body")


def another_issuer(host: str) -> dict[str, Any]:
    return {"/.well-known/oauth-authorization-server": {"issuer": "https://evil.example", "token_endpoint": host}}


def redirecting(_: str) -> dict[str, Any]:
    return {"/.well-known/oauth-authorization-server": 302}


def nothing(_: str) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        (another_issuer, "names another issuer, 'https://evil.example'"),
        (redirecting, "redirects, which is never followed"),
        (nothing, "answers 404"),
        (lambda host: {"/.well-known/oauth-authorization-server": {"issuer": host}}, "no token_endpoint"),
        (
            lambda host: {
                "/.well-known/oauth-authorization-server": {
                    "issuer": host,
                    "token_endpoint": host,
                    "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                }
            },
            "takes private_key_jwt",
        ),
        (
            lambda host: {
                "/.well-known/oauth-authorization-server": {"issuer": host, "token_endpoint": "http://example.com/t"}
            },
            "plain http:// is allowed on loopback only",
        ),
    ],
)
def test_a_document_that_cannot_be_used_is_told_and_nothing_is_stored(
    evergrant: Evergrant, bench: Bench, sql: Any, pages: Pages, told: str
) -> None:
    server = bench.serve(answering(pages))
    host = server.url().removesuffix("/oauth/token?x=1")
    command = f"clients add x --issuer {host} --client-id id --client-secret-file - --json"
    done = evergrant(*command.split(), stdin="hush")
    assert done.code != 0
    assert done.error in ("discovery", "provider")
    assert told in done.err
    assert "Traceback" not in done.err
    assert sql("select count(*) from evergrant.clients") == [(0,)]
    assert b"elsewhere" not in b"".join(server.requests)


@pytest.mark.parametrize("issuer", ["http://id.example.com", "id.example.com", "https://a b", "https://u@id.example"])
def test_what_is_no_issuer_is_not_asked(evergrant: Evergrant, issuer: str) -> None:
    done = evergrant("clients", "add", "x", "--issuer", issuer, "--client-id", "id", "--json")
    assert (done.code, done.error) == (2, "provider")


def test_a_server_that_is_away_is_told(evergrant: Evergrant, sql: Any) -> None:
    done = evergrant("clients", "add", "x", "--issuer", "http://127.0.0.1:9", "--client-id", "id", "--json")
    assert (done.code, done.error) == (1, "discovery")
    assert "connect_refused" in done.err
    assert sql("select count(*) from evergrant.clients") == [(0,)]


@pytest.fixture
def invited(evergrant: Evergrant, provider: SimulatorControl) -> str:
    """The callback that a user came back to, at a client that knows the bundled provider by its own document."""
    told = f"clients add sim --issuer {provider.url} --client-id simulated-client --client-secret-file -"
    assert evergrant(*told.split(), stdin="simulated-secret").code == 0
    return visit(evergrant("grants", "authorize-url", "customer").out.strip())


def exchange(evergrant: Evergrant, url: str) -> Any:
    return evergrant("grants", "exchange", "customer", "--callback-url-file", "-", "--json", stdin=url)


def test_the_bundled_provider_describes_itself_and_a_user_is_connected_with_nothing_else_said(
    evergrant: Evergrant, provider: SimulatorControl, invited: str
) -> None:
    assert exchange(evergrant, f"{invited}&iss={provider.url}").code == 0
    assert evergrant("grants", "probe", "customer", "--json").json["finding"] == "alive"


def test_a_callback_of_another_issuer_is_refused_before_the_code_is_sent(
    evergrant: Evergrant, provider: SimulatorControl, invited: str
) -> None:
    for named in ("https://evil.example", f"{provider.url}&iss=https://evil.example"):
        done = exchange(evergrant, f"{invited}&iss={named}")
        assert (done.code, done.error) == (2, "another_issuer")
        assert "https://evil.example" in done.err
    assert exchange(evergrant, invited).code == 0  # the server does not say that it always names itself


def test_a_callback_that_names_nobody_is_refused_where_the_server_always_names_itself(
    evergrant: Evergrant, provider: SimulatorControl, invited: str, sql: Any
) -> None:
    sql("""update evergrant.clients set overrides = overrides || '{"issuer_in_callback": true}', updated_at = now()""")
    done = exchange(evergrant, invited)
    assert (done.code, done.error) == (2, "another_issuer")
    assert "names no issuer" in done.err
    assert exchange(evergrant, f"{invited}&iss={provider.url}").code == 0


def test_a_user_is_connected_also_under_a_new_secret_that_the_provider_refuses(
    connected: Evergrant, provider: SimulatorControl, sql: Any
) -> None:
    sql("update evergrant.valves set credentials_proven_no = 1")
    connected("clients", "set-secret", "sim", "--client-secret-file", "-", stdin="typed wrong")
    url = visit(connected("grants", "authorize-url", "customer").out.strip())
    done = exchange(connected, url)
    assert (done.code, done.err) == (0, "")
    assert connected("clients", "show", "sim", "--json").json["secret_refused_code"] == "invalid_client"
    assert [r["status"] for r in provider.requests() if r["endpoint"] == "token"] == [401, 200]
