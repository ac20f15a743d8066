"""A client certificate over real TLS: who shows it, and that nobody is taken for another."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tasks.oauth import messages
from tasks.oauth.answer import NotSent, Response, Silence
from tasks.oauth.client_key import ClientKey
from tasks.oauth.messages import Registration
from tasks.oauth.provider import Provider
from tests.certificates import self_signed
from tests.client_keys import with_certificate
from tests.raw_servers import BOUND, LONG, Bench, Peer


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's TLS, whose certificate this process trusts as an operator would have it."""
    tls, pem = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return tls


def demanding(tls: ssl.SSLContext, *keys: ClientKey) -> ssl.SSLContext:
    """Have a server demand one of these certificates."""
    tls.verify_mode = ssl.CERT_REQUIRED
    for key in keys:
        tls.load_verify_locations(cadata=key.pem[key.pem.index("-----BEGIN CERTIFICATE") :])
    return tls


async def tell_who_came(peer: Peer) -> None:
    """Answer with the name in the certificate that the connection was opened with."""
    shown = peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    name = x509.load_der_x509_certificate(shown).subject.rfc4514_string() if shown else "nobody"
    while await peer.request():
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name.encode()))


def ask(bench: Bench, url: str, key: ClientKey | None) -> str:
    """Refresh as the client with this certificate; returns who the server saw, or why it saw nobody."""
    auth = "none" if key is None else "mtls"
    provider = Provider.model_validate({"name": "example", "token_url": url, "auth": auth})
    request = messages.refresh(Registration(provider, "our id", "", key=key), refresh_token="r")
    answer = bench.transport.submit(bench.transport.send(request, deadline=LONG)).result(BOUND)
    match answer:
        case Response(body=body):
            return body.decode()
        case NotSent(code=code) | Silence(code=code):
            return code
        case _:
            return "held back"


def test_the_server_sees_the_certificate_of_the_client_that_asks(bench: Bench, trusted: ssl.SSLContext) -> None:
    ada, bob = with_certificate("ada"), with_certificate("bob")
    server = bench.serve(tell_who_came, tls=demanding(trusted, ada, bob))
    seen = [ask(bench, server.url("https"), key) for key in (ada, bob, ada, bob)]
    assert seen == ["CN=ada", "CN=bob", "CN=ada", "CN=bob"]
    assert server.connections == 2  # each client's own, used again by itself alone


def test_a_client_without_a_certificate_shares_no_connection_with_one_that_has_one(
    bench: Bench, trusted: ssl.SSLContext
) -> None:
    ada = with_certificate("ada")
    tls = demanding(trusted, ada)
    tls.verify_mode = ssl.CERT_OPTIONAL
    server = bench.serve(tell_who_came, tls=tls)
    assert [ask(bench, server.url("https"), key) for key in (ada, None, ada, None)] == [
        "CN=ada",
        "nobody",
        "CN=ada",
        "nobody",
    ]


def test_a_replaced_certificate_is_shown_from_the_next_request_on(bench: Bench, trusted: ssl.SSLContext) -> None:
    old, new = with_certificate("ada"), with_certificate("ada, renewed")
    server = bench.serve(tell_who_came, tls=demanding(trusted, old, new))
    assert ask(bench, server.url("https"), old) == "CN=ada"
    assert ask(bench, server.url("https"), new) == "CN=ada\\, renewed"


def test_a_server_that_does_not_know_the_certificate_answers_nobody(bench: Bench, trusted: ssl.SSLContext) -> None:
    known, stranger = with_certificate("known"), with_certificate("stranger")
    server = bench.serve(tell_who_came, tls=demanding(trusted, known))
    assert ask(bench, server.url("https"), stranger) in ("reset", "truncated", "tls", "connect")
    assert server.requests == []
    assert ask(bench, server.url("https"), known) == "CN=known"


def test_nothing_of_the_key_is_left_in_a_folder(
    bench: Bench, trusted: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    key = with_certificate("ada")
    server = bench.serve(tell_who_came, tls=demanding(trusted, key))
    assert ask(bench, server.url("https"), key) == "CN=ada"
    assert list(folder.iterdir()) == []
