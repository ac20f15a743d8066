"""Evergrant over HTTP: the token interface of `evergrant web`, over TLS, loopback or a unix socket."""

import json
import math
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from ipaddress import ip_address
from time import sleep
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from evergrant_client import clock
from evergrant_client.answers import Answer, refuse, refuse_link
from evergrant_client.errors import LabelNotChosen, NotConfigured, NotFreshYet, Unreachable
from evergrant_client.source import ConnectRequest, Reading, RevocationRequest, Wanted
from evergrant_client.token import BEARER, Held, Token

LONGEST_WAIT = 30.0
ANSWER_SECONDS = 10.0  # beyond what it was asked to wait
MOST_BYTES = 1024 * 1024
# An answer's times are rounded to seconds.
ROUNDING = 1.0


class TokenInterface:
    """Asks the server; one connection a request, since tokens are remembered."""

    def __init__(self, url: str, key: str) -> None:
        self._where = _Where(url)
        self._key = key

    def read(self, wanted: Wanted, *, wait: float) -> Reading:
        """The server itself refreshes and waits where the token is too old."""
        wait = min(wait, LONGEST_WAIT)
        answer = self._token(wanted, wanted.chosen, wait)
        undecided = None
        if answer.error == "label_not_chosen" and not wanted.chosen:
            # Nobody chose, and perhaps nobody needs to: the token is the same for each.
            label, values = str(answer.body.get("label")), [str(value) for value in answer.body.get("values", [])]
            undecided = LabelNotChosen(wanted.ref, label, values)
            answer = self._token(wanted, {label: values[0]} if values else {}, wait)
        if answer.error == "not_fresh_yet" and answer.cause == "client_is_paused":
            return Reading(
                0,
                None,
                fresh=False,
                waits_for=wanted.ref,
                why_not="its client is paused by an operator",
                hopeless_for=answer.retry_after,
                explanation=answer.explanation,
            )
        if answer.error == "not_fresh_yet":
            return Reading(0, None, fresh=False, waits_for=wanted.ref, explanation=answer.explanation)
        if answer.error == "paused":
            return Reading(
                0,
                None,
                fresh=False,
                waits_for=wanted.ref,
                why_not="it is paused by an operator",
                hopeless_for=answer.retry_after,
                explanation=answer.explanation,
            )
        refuse(answer, wanted.ref, wanted.client)
        return _reading(answer, wanted, undecided)

    def ask(self, wanted: Wanted, generation: int, *, rejected: bool) -> int:
        """Report a rejected token; for one that is too old the server has asked already."""
        if not rejected:
            return generation + 1
        return self.request_refresh(wanted.ref, wanted.client, generation)

    def pause(self, reading: Reading, seconds: float) -> None:
        """Sleep; the server tells no news."""
        del reading
        sleep(seconds)

    def request_refresh(self, ref: str, client: str | None, if_generation: int | None) -> int:
        """Queue a refresh, or report the generation whose token was rejected."""
        if if_generation is None:
            answer = self._post(ref, client, "refresh", {})
        else:
            answer = self._post(ref, client, "rejected", {"generation": if_generation})
        return int(answer.member("generation"))

    def request_revocation(self, request: RevocationRequest) -> int | None:
        """Queue a revocation."""
        body: dict[str, Any] = {"missing_ok": request.missing_ok, "erase": request.erase}
        for name in ("reason", "idempotency_key"):
            if (value := getattr(request, name)) is not None:
                body[name] = value
        answer = self._post(request.ref, request.client, "revocation", body, key=request.idempotency_key)
        made: int | None = answer.member("id")
        return made

    def connect_url(self, request: ConnectRequest) -> str:
        """Have a link made."""
        said = request.said()
        if "scopes" in said:
            said["scopes"] = list(said["scopes"])
        client = said.pop("client", None)
        answer = self._ask(_Question(request.ref, client, "connect", body=json.dumps(said).encode()))
        refuse_link(answer)
        refuse(answer, request.ref, client)
        return str(answer.member("url"))

    def after_fork(self) -> None:
        """No connection outlives a request."""

    def close(self) -> None:
        """No connection outlives a request."""

    def _token(self, wanted: Wanted, chosen: Any, wait: float) -> Answer:
        query = {"min_ttl": f"{wanted.min_ttl:g}", "wait": f"{math.floor(wait * 10) / 10:g}", **chosen}
        return self._ask(_Question(wanted.ref, wanted.client, "token", query=query, timeout=ANSWER_SECONDS + wait))

    def _post(self, ref: str, client: str | None, what: str, body: dict[str, Any], *, key: str | None = None) -> Answer:
        answer = self._ask(_Question(ref, client, what, body=json.dumps(body).encode()))
        if answer.error == "paused":
            message = f"The token of {ref!r} is too old, and it is paused by an operator"
            raise NotFreshYet(message, answer.retry_after, answer.explanation)
        refuse(answer, ref, client, key=key)
        return answer

    def _ask(self, question: "_Question") -> Answer:
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        if question.body is not None:
            headers["Content-Type"] = "application/json"
        connection = self._where.connection(question.timeout)
        method = "GET" if question.body is None else "POST"
        try:
            connection.request(method, self._where.prefix + question.path, question.body, headers)
            response = connection.getresponse()
            return _answer(response.status, response.headers, response.read(MOST_BYTES))
        except (OSError, HTTPException) as error:
            message = f"Evergrant's token interface does not answer ({type(error).__name__})"
            raise Unreachable(message) from error
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class _Question:
    """One request about a grant."""

    ref: str
    client: str | None
    what: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout: float = ANSWER_SECONDS

    @property
    def path(self) -> str:
        """The path with its query."""
        query = {**({"client": self.client} if self.client is not None else {}), **self.query}
        path = f"/v1/grants/{quote(self.ref, safe='')}/{self.what}"
        return f"{path}?{urlencode(query)}" if query else path


class _Where:
    """Where the token interface listens: `https://…`, `http://` on loopback, or `unix:/path`."""

    def __init__(self, url: str) -> None:
        path = url.removeprefix("unix:").removeprefix("//")
        self.socket = path if path.startswith("/") else None
        parts = urlsplit(url)
        self.tls = parts.scheme == "https"
        self.host, self.port = parts.hostname or "", parts.port
        self.prefix = "" if self.socket else parts.path.rstrip("/")
        if self.socket is None:
            self._check(parts.scheme)

    def _check(self, scheme: str) -> None:
        if scheme not in ("http", "https") or not self.host:
            message = "EVERGRANT_TOKEN_URL is no address: use https://host, http://127.0.0.1:port, or unix:/path."
            raise NotConfigured(message)
        if scheme == "http" and not _is_loopback(self.host):
            message = f"EVERGRANT_TOKEN_URL would send tokens to {self.host} in clear: use https."
            raise NotConfigured(message)

    def connection(self, timeout: float) -> HTTPConnection:
        """Make a connection that is not yet open."""
        if self.socket is not None:
            return _OverSocket(self.socket, timeout)
        if self.tls:
            return HTTPSConnection(self.host, self.port, timeout=timeout, context=ssl.create_default_context())
        return HTTPConnection(self.host, self.port, timeout=timeout)


class _OverSocket(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answer(status: int, headers: HTTPMessage, raw: bytes) -> Answer:
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        message = f"Evergrant's token interface answered {status} and no JSON: is EVERGRANT_TOKEN_URL right?"
        raise Unreachable(message)
    return Answer(status, body, headers.get("Retry-After"), _date(headers.get("Date")))


def _date(text: str | None) -> datetime:
    try:
        return parsedate_to_datetime(text or "")
    except ValueError:
        return datetime.now(UTC)


def _reading(answer: Answer, wanted: Wanted, undecided: LabelNotChosen | None) -> Reading:
    at = clock.now()
    expires_at = datetime.fromisoformat(answer.member("expires_at"))
    headers = {} if undecided is not None else dict(answer.member("headers"))
    token = Token(
        answer.member("access_token"),
        answer.member("generation"),
        expires_at,
        headers,
        undecided,
        api_header=answer.body.get("api_header") or BEARER,  # a server of 0.1 says nothing of it
    )
    # By the server's clock, which need not be ours.
    left = (expires_at - answer.date).total_seconds() - ROUNDING
    held = Held(token, ends_at=at + left, life=None, read_at=at)
    return Reading(token.generation, held, fresh=True, waits_for=wanted.ref)
