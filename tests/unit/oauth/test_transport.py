"""How failures are named where a real one cannot be made on loopback."""

import errno
import socket
import ssl
from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import patch

import aiohttp
import pytest

from tasks.oauth.answer import Answer, HeldBack, NotSent, Response, Silence
from tasks.oauth.messages import Request
from tasks.oauth.transport import Transport, _Flight

KEY = SimpleNamespace(host="id.example", port=443, ssl=True)


def flight(*, begun: bool, status: int | None = None) -> _Flight:
    return _Flight(None, has_body=True, begun=begun, status=status)


def connector(error: OSError) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, error)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimeoutError(), "connect_timeout"),
        (aiohttp.ConnectionTimeoutError(), "connect_timeout"),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "unknown")), "dns"),  # type: ignore[arg-type]
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "bad")), "tls"),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("bad")), "tls_certificate"),  # type: ignore[arg-type]
        (connector(ConnectionRefusedError(111, "refused")), "connect_refused"),
        (connector(OSError(113, "no route")), "connect"),
        (aiohttp.InvalidURL("x"), "bad_request"),
    ],
)
def test_a_failure_before_the_first_byte_is_not_sent(error: Exception, code: str) -> None:
    assert flight(begun=False).failed(error) == NotSent(code)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_that_no_file_can_be_opened_is_ours_and_no_provider_is_blamed(number: int) -> None:
    error = connector(OSError(number, "too many open files"))
    assert flight(begun=False).failed(error) == HeldBack("open_files")
    assert flight(begun=True).failed(error) == Silence("reset")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (TimeoutError(), None, "timeout"),
        (aiohttp.ClientOSError(104, "reset"), None, "reset"),
        (connector(ConnectionRefusedError(111, "refused")), None, "reset"),
        (aiohttp.ClientPayloadError(), 200, "truncated"),
        (ZeroDivisionError(), None, "internal"),
    ],
)
def test_any_failure_after_the_first_byte_is_silence(error: Exception, status: int | None, code: str) -> None:
    assert flight(begun=True, status=status).failed(error) == Silence(code, status)


def test_a_mistake_of_our_own_before_the_first_byte_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        flight(begun=False).failed(ZeroDivisionError())


def test_an_unknown_name_is_not_sent() -> None:
    request = Request("POST", "https://id.example/token", {}, b"x")
    with (
        Transport() as transport,
        patch("tasks.oauth.host_names.HostNames.resolve", side_effect=socket.gaierror(-2, "unknown")),
    ):
        answer: Answer = transport.submit(transport.send(request, deadline=timedelta(seconds=20))).result(60)

    assert answer == NotSent("dns")


def test_no_repr_shows_what_was_answered() -> None:
    answers = [Response(200, {"location": "secret"}, b"secret"), Silence("truncated", 200, {"location": "secret"})]

    assert "secret" not in repr(answers)
