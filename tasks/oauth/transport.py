"""Transport: sends exactly one request, and answers what is known about it.

HTTP runs on one asyncio loop in one thread of the process; everything else is synchronous and hands coroutines to
`Transport.submit`. `NotSent` is said only where it is proved that no byte of the request left this process; all
that goes wrong later is `Silence`: nobody can know whether the provider acted.
"""

import asyncio
import errno
import re
import ssl
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self, TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from yarl import URL

from tasks.oauth.answer import CERTIFICATE_SHAPES, SUCCESS, Answer, Guard, HeldBack, NotSent, Response, Silence
from tasks.oauth.answer_size import LINE_LIMIT, LINES_LIMIT, SizedAnswers, TooLarge
from tasks.oauth.client_key import ClientKey
from tasks.oauth.client_tls import showing
from tasks.oauth.codings import decoded
from tasks.oauth.deadline import Deadline
from tasks.oauth.host_names import HostNames
from tasks.oauth.loop_thread import LoopThread
from tasks.oauth.messages import Request
from tasks.oauth.public_hosts import PrivateHost, PublicResolver, is_public

T = TypeVar("T")
Clock = Callable[[], datetime]

CONNECT_LIMIT = timedelta(seconds=10)  # name, TCP and TLS together
# A server closes an idle connection when it likes, and a request written into that moment is a grant in doubt.
# One second is less than the idle limit of the servers we know (gunicorn 2, node and uvicorn 5, Puma 20).
KEEP_ALIVE = timedelta(seconds=1)


class _Refused(Exception):
    """The guard said no, or the library was about to send for a second time."""


class _Broken(aiohttp.ClientError):
    """The connection failed, told in a class that aiohttp does not take as a reason to send again."""


@dataclass(slots=True)
class _Flight:
    """What is known of one request while it is under way."""

    guard: Guard | None
    has_body: bool
    handed_over: bool = (
        False  # to aiohttp, which asks the guard when it writes; if it ever did not, it may have written
    )
    begun: bool = False
    held: HeldBack | None = None
    on: SizedAnswers | None = field(repr=False, default=None)
    is_stale: bool = False  # something was said on the kept connection before we asked: nothing was sent on it
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: aiohttp.StreamReader | None = field(repr=False, default=None)
    came: list[bytes] = field(repr=False, default_factory=list)  # of the body, coded as it is

    def begin(self) -> None:
        """Ask the guard; from here on the first byte may have left."""
        self.refuse_second()
        if self.on is not None and self.on.is_kept and not self.on.is_silent:
            self.is_stale = True
            raise _Refused
        self.held = self._asked()
        if self.held is not None:
            raise _Refused
        self.begun = True

    def _asked(self) -> HeldBack | None:
        try:
            return None if self.guard is None else self.guard()
        except Exception as error:  # noqa: BLE001  # a guard that fails has not said yes
            return HeldBack(f"guard_failed_{type(error).__name__}")

    def refuse_second(self) -> None:
        """No way is known, but a second request is the one thing that must never happen."""
        if self.begun:
            raise _Refused

    def begin_again(self) -> bool:
        """Whether another connection may be tried: the last one was of no use, and nothing was sent."""
        if not self.is_stale:
            return False
        self.is_stale = self.handed_over = False
        return True

    def head_arrived(self, response: aiohttp.ClientResponse) -> None:
        """Keep status and headers, so that they are known also where the body fails."""
        self.status = response.status
        self.headers = _headers(response)
        self.content = response.content

    async def read(self, content: aiohttp.StreamReader) -> None:
        """Read a body to its end, and keep what came of one that has none."""
        async for piece in content.iter_any():
            self.came.append(piece)

    def response(self, request: Request) -> Response:
        """What came, as an answer.

        Raises:
            TooLarge: it blows up.

        """
        assert self.status is not None  # noqa: S101  # its head came before it
        body, is_encoded = decoded(b"".join(self.came), self.headers)
        return Response(self.status, self.headers, body, request.assertion, is_encoded)

    def saved(self, request: Request) -> Response | None:
        """What came, where it is a whole token set though its end never came: it may be the only copy."""
        if request.is_answered_by is None or self.content is None or self.status not in SUCCESS:
            return None
        try:
            self.content.set_exception(None)  # type: ignore[arg-type]  # else it keeps to itself what nobody has read
            self.came.append(self.content.read_nowait())
            found = self.response(request)
            return found if request.is_answered_by(found.body) else None
        except Exception:  # noqa: BLE001  # whatever is wrong with it: then it is silence, as all else that breaks off
            return None

    def failed(self, error: Exception) -> NotSent | HeldBack | Silence:
        """Say what `error` proves, and nothing more."""
        if self.begun or (self.handed_over and self.held is None):
            return Silence(_silence_code(error, head=self.status is not None), self.status, self.headers)
        if self.held is not None:
            return self.held
        if not isinstance(error, aiohttp.ClientError | OSError | ValueError):
            raise error
        if _is_out_of_files(error):
            return HeldBack("open_files")
        return NotSent(_not_sent_code(error), shape=_not_sent_shape(error))


def _wall() -> datetime:
    return datetime.now(UTC)


class Transport:
    """Sends requests to providers: one loop thread per process, lazily started, and one connection pool in it."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        keep_alive: timedelta = KEEP_ALIVE,
        wall: Clock = _wall,
        name: str = "provider-http",
    ) -> None:
        """`tls` defaults to verification against the system's store; `wall` is the time that assertions are signed at.

        Where a request shows a certificate of ours, the system's store it is.
        """
        self._tls = tls
        self._keep_alive = keep_alive
        self._wall = wall
        self._thread = LoopThread(name)
        # By loop, by the certificates that are shown, and apart those that reach public addresses only: on a connection
        # that was opened with one client's certificate nothing of another's is sent, and one that was made without that
        # rule must not be used again under it. A certificate that was replaced leaves a pool without connections
        # behind. In a forked child the parent's session stays here untouched: to close or collect it would take the
        # parent's sockets out of the epoll instance that both share.
        self._sessions: dict[tuple[asyncio.AbstractEventLoop, bytes, bool], aiohttp.ClientSession] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `coroutine`, which may await `send`, on the loop thread."""
        return self._thread.submit(coroutine)

    def launch(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine`, which may await `send`, on the loop thread; nobody waits for it. Cheap for many at once."""
        self._thread.launch(coroutine)

    def close(self) -> None:
        """End the loop thread; what is under way is cancelled, and its outcome is unknown."""
        self._thread.close(self._close_sessions())

    async def send(self, request: Request, *, deadline: timedelta, before_first_byte: Guard | None = None) -> Answer:
        """Send once, on the loop thread; the deadline spans everything from the name to the answer's last byte.

        `before_first_byte` is called on the open connection, with nothing awaited between it and the first byte; if
        it holds the request back, nothing is sent. It must not block.
        """
        request = request.signed(self._wall())
        if not _sendable(request):
            return NotSent("bad_request")
        if request.public_only and names_private_address(request.url):
            return NotSent("host_private")
        flight = _Flight(before_first_byte, has_body=bool(request.body))
        try:
            with Deadline(deadline, may_be_answered=lambda: flight.begun):
                return await self._exchange(request, flight)
        except Exception as error:  # noqa: BLE001 (whatever it is: once begun, the outcome is unknown)
            return flight.saved(request) or flight.failed(error)

    async def _exchange(self, request: Request, flight: _Flight) -> Response:
        _flying.set(flight)
        while True:
            try:
                return await self._exchange_once(request, flight)
            except Exception:
                if not flight.begin_again():
                    raise

    async def _exchange_once(self, request: Request, flight: _Flight) -> Response:
        response = await self._open_session(request.certificate, public_only=request.public_only).request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            data=_Body(request.body, flight) if request.body else None,
            allow_redirects=False,
        )
        try:
            if flight.is_stale:  # what came is no answer to us
                raise _Refused
            flight.head_arrived(response)
            await flight.read(response.content)
            return flight.response(request)
        finally:
            response.close()

    def _open_session(self, certificate: ClientKey | None, *, public_only: bool) -> aiohttp.ClientSession:
        """Make the pool inside the loop that will use it: sockets and loops do not survive a fork."""
        which = (asyncio.get_running_loop(), b"" if certificate is None else certificate.identity, public_only)
        if which not in self._sessions:
            tls = self._tls or ssl.create_default_context() if certificate is None else showing(certificate)
            self._sessions[which] = _session(tls, self._keep_alive, public_only=public_only)
        return self._sessions[which]

    async def _close_sessions(self) -> None:
        loop = asyncio.get_running_loop()
        for which in [which for which in self._sessions if which[0] is loop]:
            await self._sessions.pop(which).close()


def _headers(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    """Name each header once, in lower case; of a repeated one the first counts."""
    return {name.lower(): response.headers[name] for name in response.headers}


def names_private_address(url: str) -> bool:
    """Whether a URL names a private address itself: aiohttp looks no such host up, so no resolver sees it."""
    host = URL(url, encoded=True).raw_host or ""
    return bool(_ADDRESS.fullmatch(host)) and not is_public(host)


_ADDRESS = re.compile(r"[0-9.]+|.*:.*")


def _session(tls: ssl.SSLContext, keep_alive: timedelta, *, public_only: bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=_Connector(
            ssl=tls,
            limit=0,  # what may be under way is the valve's business
            keepalive_timeout=keep_alive.total_seconds(),
            resolver=PublicResolver() if public_only else HostNames(),
        ),
        timeout=aiohttp.ClientTimeout(connect=CONNECT_LIMIT.total_seconds(), ceil_threshold=3600),
        headers={"Accept-Encoding": "identity", "User-Agent": "evergrant"},
        auto_decompress=False,
        max_line_size=LINE_LIMIT,
        max_field_size=LINE_LIMIT,
        max_headers=LINES_LIMIT,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        middlewares=[_once],
        request_class=_CleanRequest,
    )


class _Connector(aiohttp.TCPConnector):
    """Connections whose answers have a size."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(SizedAnswers, loop=self._loop)  # type: ignore[assignment]  # there is no option for it


# Four of aiohttp's habits that our promise hangs on; tests/integration/test_transport.py holds it to them.
# 1. It keeps the head back until the first piece of the body: with a body nothing has left before `_Body` is written,
#    without one before `_CleanRequest.send` goes on, and nothing is awaited between our guard there and the write.
#    Its tracing hooks are called at the same instants, and cost a fifth of a request's CPU.
# 2. It repeats a GET by itself when a connection breaks: `_once` hides the break from it.
# 3. It takes what a server said on an idle connection (a 408, or another grant's answer once more) for the answer to
#    the next request: `_CleanRequest`, and again before the first byte, where what nobody has read yet counts as well.
# 4. It rounds limits over five seconds up to whole ones: the deadline is our own.
# And one of uvloop's: what is written leaves at the end of the loop's turn, after whatever else is ready by then (20 ms
# where 200 requests begin in one turn). The lease is longer than the deadline by far more than that.

_flying: ContextVar[_Flight] = ContextVar("flying")  # of the task that sends


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken from error


class _CleanRequest(aiohttp.ClientRequest):
    """A request that is only written to a connection on which nothing was said or closed meanwhile."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        flight, protocol = _flying.get(), conn.protocol
        assert isinstance(protocol, SizedAnswers)  # noqa: S101  # our connector makes no other
        if protocol.should_close or not protocol.is_connected():
            flight.is_stale = protocol.is_kept
            raise _Broken
        flight.on = protocol
        if flight.has_body:
            flight.refuse_second()
            flight.handed_over = True
        else:
            flight.begin()
        return await super().send(conn)


class _Body(aiohttp.BytesPayload):
    """A request's body, whose first byte leaves when the guard has said yes."""

    def __init__(self, body: bytes, flight: _Flight) -> None:
        super().__init__(body)
        self._flight = flight

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._flight.begin()
        await super().write_with_length(writer, content_length)


def _sendable(request: Request) -> bool:
    """Whether the request can be written as it is: found out before anything is opened."""
    text = "".join((request.method, request.url, *request.headers, *request.headers.values()))
    return text.isascii() and text.isprintable()


def _is_out_of_files(error: Exception) -> bool:
    """Whether this process or its machine may open no more sockets: that is ours, and no provider is blamed for it."""
    found = getattr(error, "os_error", error)
    return isinstance(found, OSError) and found.errno in (errno.EMFILE, errno.ENFILE)


def _not_sent_code(error: Exception) -> str:  # noqa: PLR0911  # one a code
    match error:
        case TimeoutError():
            return "connect_timeout"
        case aiohttp.ClientConnectorDNSError(os_error=PrivateHost()):
            return "host_private"
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientConnectorCertificateError():
            return "tls_certificate"
        case aiohttp.ClientSSLError():
            return "tls"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "connect_refused"
        case ValueError():
            return "bad_request"
        case _:
            return "connect"


def _not_sent_shape(error: Exception) -> str | None:
    """Why a certificate was refused, where OpenSSL says so: who can mend it differs."""
    if not isinstance(error, aiohttp.ClientConnectorCertificateError):
        return None
    return CERTIFICATE_SHAPES.get(getattr(error.certificate_error, "verify_code", 0))


def _silence_code(error: Exception, *, head: bool) -> str:
    match error:
        case TimeoutError():
            return "timeout"
        case TooLarge():
            return "too_large"
        case aiohttp.ClientResponseError():
            return "malformed"
        case aiohttp.ClientError() | OSError() | _Refused():
            return "truncated" if head else "reset"
        case _:
            return "internal"
