"""A provider that repeats all that it is sent, in every place where an answer has room for it."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.attacks.canaries import Canaries

Answer = tuple[int, dict[str, str], Any]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _error(code: Callable[[str], str], status: int = 400) -> Callable[[str, str], Answer]:
    return lambda secret, _: (status, {}, {"error": code(secret), "error_description": f"we got {secret} from you"})


# What each kind answers, by the kind's name, made of one secret and of all of them.
KINDS: dict[str, Callable[[str, str], Answer]] = {
    "plain": _error(lambda secret: secret),
    "piece": _error(lambda secret: secret[7:16], 401),
    "embedded": _error(lambda secret: f"bad_{secret[3:15]}_here", 403),
    "upper": _error(lambda secret: secret.upper()),
    "based": _error(lambda secret: b64(secret)[:40].rstrip("=")),
    "hex": _error(lambda secret: secret.encode().hex()[:40]),
    "success": _error(lambda secret: secret[:20], 200),
    "typed": lambda secret, _: (400, {}, {"error": {"type": secret, "code": secret, "message": secret}}),
    "listed": lambda secret, told: (
        400,
        {},
        {"errors": [{"resource": secret[:10], "field": secret[10:20], "code": secret[20:30], "message": told}]},
    ),
    "statused": lambda secret, told: (400, {}, {"status": secret.upper(), "message": told, "reason": secret}),
    "form": lambda secret, _: (400, {"Content-Type": secret}, f"error={secret}&error_description={secret}"),
    "page": lambda _, told: (404, {"Content-Type": "text/html"}, f"<html><title>{told}</title>{told}</html>"),
    "headers": lambda secret, told: (
        401,
        {"WWW-Authenticate": f'Bearer error="{secret}"', "X-Left": secret, f"X-{secret}": told, "Set-Cookie": secret},
        {"error": "invalid_request", "error_uri": told},
    ),
    "redirect": lambda _, told: (302, {"Location": f"https://elsewhere.example/?{told}"}, ""),
    "unreadable": lambda _, told: (200, {}, {"access_token": {"told": told}}),
    "encoded": lambda secret, told: (200, {"Content-Encoding": secret[:20]}, told),
}
# These shut the client's valve, so they have a client of their own.
GRAVE: dict[str, Callable[[str, str], Answer]] = {
    "busy": lambda secret, told: (429, {"Retry-After": secret, "X-Left": told}, {"error": secret}),
    "broken": lambda _, told: (500, {}, told),
}


class Hostile:
    """Its server, and what it was asked, by kind."""

    def __init__(self, canaries: Canaries) -> None:
        self._canaries = canaries
        self.asked: Counter[str] = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="hostile", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

            def do_POST(self) -> None:
                hostile.answer(self)

            do_GET = do_DELETE = do_POST  # noqa: N815

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer as the kind in the path says."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0)).decode()
        kind, _, what = urlsplit(request.path).path.strip("/").partition("/")
        told = _sent(request, body)
        self.asked[f"{kind}/{what}"] += 1
        secret = told[self.asked[f"{kind}/{what}"] % len(told)] if told else "nothing"
        if kind == "tokens" and what == "token":
            _send(request, 200, {"X-Left": secret}, self._token_set(told))
        elif kind == "malformed":
            with suppress(OSError):
                request.wfile.write(f"HTTP/1.1 200 {secret}\r\n{secret}\r\n: {secret}\r\n\r\n".encode())
                request.close_connection = True
        elif kind == "truncated":
            with suppress(OSError):
                request.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{secret}".encode())
                request.close_connection = True
        else:
            status, headers, said = (KINDS | GRAVE).get(kind, KINDS["plain"])(secret, " ".join(told))
            _send(request, status, headers, said, reason=secret)

    def _token_set(self, told: list[str]) -> dict[str, Any]:
        """A token set whose every other member repeats a secret, of the request or its own."""
        access, refresh = self._canaries.of("access token"), self._canaries.of("refresh token")
        return {
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": 4,
            "token_type": told[0],
            "scope": " ".join(["crm_read", *told, access, b64(told[0])]),
            "tenant": told[-1],
            "shard": access,
            "error": refresh,
        }


def _sent(request: BaseHTTPRequestHandler, body: str) -> list[str]:
    """Every secret of a request."""
    values = dict(parse_qsl(body)) | dict(parse_qsl(urlsplit(request.path).query))
    secret_members = ("client_secret", "refresh_token", "code", "code_verifier", "token", "client_assertion")
    found = [values[name] for name in secret_members if name in values]
    scheme, _, proof = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Basic":
        found.append(base64.b64decode(proof).decode().rpartition(":")[2])
    elif proof:
        found.append(proof)
    return found


def _send(
    request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], said: Any, *, reason: str = "Said"
) -> None:
    raw = said.encode() if isinstance(said, str) else json.dumps(said).encode()
    with suppress(OSError):
        request.send_response(status, reason)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(raw)))
        request.end_headers()
        request.wfile.write(raw)
