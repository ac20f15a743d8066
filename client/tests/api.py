"""An API over real HTTP that accepts some tokens and notes every request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    path: str
    token: str | None
    org: str | None
    body: bytes


@dataclass
class Api:
    """An API: 200 for the tokens in `accepted`, else 401; `/away` redirects to `elsewhere`."""

    accepted: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    elsewhere: str = ""
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """Notes each request."""

    protocol_version = "HTTP/1.1"
    api: Api

    def do_GET(self) -> None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.api.requests.append(Request(self.path, token, self.headers.get("X-API-ORG"), self._body()))
        if self.path == "/away":
            self._answer(302, {"Location": self.api.elsewhere})
        else:
            self._answer(200 if token in self.api.accepted else 401, {})

    do_POST = do_GET  # noqa: N815  # as http.server calls it

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "2"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"{}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def serving(api: Api) -> Iterator[Api]:
    """Serve on a free port of loopback."""
    handler = type("Handler", (Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield api
    server.shutdown()
    thread.join()
    server.server_close()
