"""Callbacks: what the provider sends back through a browser, and where it is awaited."""

import asyncio
import socket
from datetime import timedelta

import aiohttp
import pytest

from tasks.connect import Callback, expect_issuer, read_callback
from tasks.connect_errors import AnotherIssuer, NoCallback
from tasks.oauth.provider import Provider
from worker.cli.failures import Failure
from worker.cli.grants.callback import Loopback, wait_for_callback


def test_a_callback_holds_state_and_code() -> None:
    found = read_callback(" https://app.example/cb?code=c%2B1&state=s1&iss=x\n")
    assert (found.state, found.code, found.error) == ("s1", "c+1", None)


def test_a_refusal_is_read_and_cleaned() -> None:
    found = read_callback("https://app.example/cb?state=s&error=access_denied&error_description=no%0Away%1b")
    assert (found.code, found.error, found.description) == (None, "access_denied", "no way ")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "https://a/cb",
        "https://a/cb?code=1",
        "https://a/cb?state=1",
        "https://a/cb?code=1&state=1&state=2",
    ],
)
def test_what_is_no_callback_is_refused(url: str) -> None:
    with pytest.raises(NoCallback):
        read_callback(url)


def test_neither_state_nor_code_is_in_a_callbacks_repr() -> None:
    told = repr(read_callback("https://a/cb?code=c0de&state=st4te"))
    assert "c0de" not in told
    assert "st4te" not in told


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("http://127.0.0.1:8400/callback", Loopback("127.0.0.1", 8400, "/callback")),
        ("http://localhost:1234", Loopback("127.0.0.1", 1234, "/")),
        ("http://[::1]:9/x/y", Loopback("::1", 9, "/x/y")),
    ],
)
def test_a_redirect_uri_on_loopback_can_be_listened_on(uri: str, place: Loopback) -> None:
    assert Loopback.of(uri) == place


@pytest.mark.parametrize("uri", ["https://app.example/cb", "http://10.0.0.1/cb", "https://127.0.0.1/cb"])
def test_a_redirect_uri_elsewhere_is_told(uri: str) -> None:
    with pytest.raises(Failure, match="does not lead to this machine"):
        Loopback.of(uri)


def test_a_page_with_a_made_up_state_ends_no_wait() -> None:
    """Whatever the user's browser has open may send it to this port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    async def walk() -> tuple[list[int], str | None]:
        ready = asyncio.Event()
        place = Loopback("127.0.0.1", port, "/cb")
        waits = wait_for_callback(place, state="right", patience=timedelta(seconds=30), ready=ready)
        waiting = asyncio.create_task(waits)
        await ready.wait()
        seen = []
        async with aiohttp.ClientSession() as browser:
            for query in (
                "error=access_denied",
                "code=c&state=wrong",
                "state=wr%C3%B6ng&error=x",
                "code=c&state=right",
            ):
                async with browser.get(f"http://127.0.0.1:{port}/cb?{query}") as answer:
                    seen.append(answer.status)
        return seen, await waiting

    seen, url = asyncio.run(walk())
    assert seen == [400, 400, 400, 200]
    assert url is not None
    assert url.endswith("code=c&state=right")


def came_from(issuer: str | None) -> Callback:
    return Callback("st4te", "c0de", None, "", {}, issuer)


def provider(authorize_url: str | None) -> Provider:
    hosts = ["*.acme.example"] if authorize_url and "{" in authorize_url else []
    return Provider(name="acme", authorize_url=authorize_url, token_url="https://api.acme.example/token", hosts=hosts)


@pytest.mark.parametrize(
    ("authorize_url", "issuer"),
    [
        ("https://login.acme.example/authorize", None),
        ("https://login.acme.example/authorize", "https://identity.acme.example"),
        ("https://acme.example/authorize", "https://acme.example/tenants/7"),
        ("https://{subdomain}.acme.example/authorize", "https://seven.acme.example"),
        ("https://{host}/authorize", "https://seven.acme.example"),
        (None, "https://acme.example"),
    ],
)
def test_a_server_whose_issuer_is_not_known_names_itself_by_its_own_domain(
    authorize_url: str | None, issuer: str | None
) -> None:
    expect_issuer(came_from(issuer), provider(authorize_url))


@pytest.mark.parametrize(
    "issuer", ["https://bank.example", "https://acme.example.evil.example", "", "acme", "https://["]
)
def test_a_code_of_another_server_is_not_brought_to_one_whose_issuer_is_not_known(issuer: str) -> None:
    """Mix-up (RFC 9700 §4.4): a hostile one sends its user on to an honest one, in our name."""
    with pytest.raises(AnotherIssuer, match=r"issuer is acme\.example"):
        expect_issuer(came_from(issuer), provider("https://login.acme.example/authorize"))
