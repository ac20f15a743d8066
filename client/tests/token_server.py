"""A server that answers what the token interface answers, in the words of its contract, over TCP or a unix socket."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    key: str
    body: dict[str, Any]


Answer = tuple[int, dict[str, Any] | None, dict[str, str]]
"""Status, JSON object (None: no JSON at all), further headers."""


@dataclass
class Script:
    """What the server answers: to the n-th request the n-th answer, the last one for ever."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers by the script."""

    script: Script
    now: Callable[[], Any]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), key, json.loads(raw) if raw else {})
        status, body, headers = self.script.answers[min(len(self.script.asked), len(self.script.answers) - 1)]
        self.script.asked.append(asked)
        content = b"<html>" if body is None else json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Date", format_datetime(self.now(), usegmt=True))
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815  # as http.server calls it

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


class _Tcp(ThreadingMixIn, TCPServer):
    daemon_threads = True


class _Unix(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@contextmanager
def serving(script: Script, now: Callable[[], Any], *, path: Path | None = None) -> Iterator[Script]:
    """Serve on a free port of loopback, or on a unix socket; `now` is the server's clock."""
    handler = type("Handler", (Handler,), {"script": script, "now": staticmethod(now)})
    server: TCPServer = _Tcp(("127.0.0.1", 0), handler) if path is None else _Unix(str(path), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}" if path is None else f"unix:{path}"
    yield script
    server.shutdown()
    thread.join()
    server.server_close()
