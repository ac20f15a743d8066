"""Asking the listeners of a web process as any program would: over a socket of its own, with a standard client."""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from worker.web.server import Addresses


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of a refusal, once it is seen to be whole."""
        told = self.json
        assert {"error", "message", "next"} <= told.keys()
        assert all(told[name].strip(". ") for name in ("message", "next"))
        return self.status, told["error"]


def ask(
    url: str, method: str, target: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """One request on a connection of its own."""
    connection = _connection(url)
    try:
        connection.request(method, target, body=body, headers=headers or {})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


class _OverSocket(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(url: str) -> http.client.HTTPConnection:
    if url.startswith("unix:"):
        return _OverSocket(url.removeprefix("unix:"))
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)


class Web:
    """A running web process, asked with one application's key."""

    def __init__(self, addresses: Addresses, key: str | None) -> None:
        assert addresses.token is not None
        self.addresses = addresses
        self.url = addresses.token
        self.key = key

    def with_key(self, key: str | None) -> "Web":
        return Web(self.addresses, key)

    def get(self, ref: str, **query: Any) -> Answer:
        """A token; it is waited for only where `wait` says so."""
        parameters = urlencode({"wait": 0, **query})
        return self.ask("GET", f"/v1/grants/{quote(ref, safe='')}/token?{parameters}")

    def post(self, ref: str, what: str, members: Any = None, **query: Any) -> Answer:
        target = f"/v1/grants/{quote(ref, safe='')}/{what}" + (f"?{urlencode(query)}" if query else "")
        return self.ask("POST", target, body=None if members is None else json.dumps(members).encode())

    def ask(
        self, method: str, target: str, *, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        own = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        return ask(self.url, method, target, headers=own | (headers or {}), body=body)

    def ops(self, path: str, **headers: str) -> Answer:
        return ask(self.addresses.ops, "GET", path, headers=headers)
