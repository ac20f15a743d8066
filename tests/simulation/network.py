"""The network between our workers and the provider: what becomes of each request, and what is known of it."""

import json
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from simulator.call import Call
from simulator.provider import SimulatedProvider
from simulator.traffic import Request as Seen
from tasks.oauth.answer import Answer, Guard, NotSent, Response, Silence
from tasks.oauth.messages import Request
from tasks.runtime.attempt import Attempt
from tests.simulation.flight import Landing, Until, pause
from tests.simulation.weather import FATES, Weather
from tests.simulation.weather import PAGE as WORDLESS
from tests.simulation.world import Process, World

ENDPOINTS = {"/oauth/token": "token", "/oauth/revoke": "revoke", "/v2/bookings": "api"}
ACTS_FIRST = frozenset(
    {"ok", "late", "silly", "truncated", "huge", *(name for name in FATES if name.endswith("_after"))}
)
PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
FORBIDDEN = b"<html><body><h1>403 Forbidden</h1></body></html>"
RETRY_AFTER = ("1", "30", "120", "99999999999", "Wed, 01 Jan 2020 05:00:00 GMT", "soon", "")


@dataclass(eq=False)
class Sent:
    """One request from its first byte on."""

    number: int
    process: "Sender"
    endpoint: str
    token: str
    fate: str
    at: float
    lease_until: float | None
    attempt: Attempt | None
    frozen: bool = False  # between its last guard and its first byte
    seen: Seen | None = None  # as the provider entered it
    pair: int | None = None  # that the provider issued
    consent: int = 0  # whose token was sent
    ended: bool = False  # the sender knows the outcome, whatever it is
    delivered: bool = False  # its token set reached a living process
    body: bytes = b""  # of the answer that held it
    settling: bool = False  # it was journaled, or could not be
    durable: bool = False
    lost: str = ""  # why its token set is gone


@dataclass
class Network:
    """Fates by chance and by outage; an outage is the same fate for everybody."""

    world: World
    provider: SimulatedProvider
    weather: Weather
    outage: str = ""
    sent: list[Sent] = field(default_factory=list)
    struck: dict[UUID, float] = field(default_factory=dict)  # grants: when a fault last met a request of theirs
    taken_back: dict[int, float] = field(
        default_factory=dict
    )  # consents that the provider refuses by mistake, until then

    def fate(self) -> str:
        """Draw what becomes of a request."""
        if self.outage:
            return self.outage
        chance = self.world.random.random()
        for name, share in self.weather.fates.items():
            chance -= share
            if chance < 0:
                return name
        return "ok"

    def act(self, sent: Sent, call: Call) -> Response:
        """Let the provider answer, now."""
        if self.taken_back.get(sent.consent, 0.0) > self.world.seconds:
            if sent.attempt is not None:
                self.struck[sent.attempt.job.grant_id] = self.world.seconds
            self.world.log("provider", "-", "refused by mistake", f"consent={sent.consent}")
            return Response(400, {}, b'{"error": "invalid_grant"}')
        answer, seen = self.provider.handle(call, self.world.seconds)
        sent.seen, sent.pair = seen, seen.issued
        if not sent.process.alive:
            sent.process.answered_too_late(sent)
        if answer.outcome == WORDLESS:
            answer.body, answer.headers = FORBIDDEN, {}
        headers = {name.lower(): value for name, value in answer.headers.items()}
        body = answer.body if isinstance(answer.body, bytes) else _json(answer.body)
        self.world.log("provider", seen.ref or "-", f"request={seen.number}", answer.outcome, f"pair={seen.issued}")
        return Response(answer.status, headers, body)


def _json(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


class SimulatedTransport:
    """Stands where tasks.oauth.transport.Transport stands; one a process."""

    def __init__(self, process: "Sender", network: Network) -> None:
        self.process = process
        self.network = network

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Landing:
        """Run a coroutine, as the loop thread would."""
        return Landing(self.process, coroutine)

    def launch(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine whose end nobody waits for."""
        Landing(self.process, coroutine)

    def close(self) -> None:
        """Nothing is open."""

    async def send(self, request: Request, *, deadline: timedelta, before_first_byte: Guard | None = None) -> Answer:
        """Send once; see the real one."""
        world, random = self.process.world, self.process.world.random
        fate = self.network.fate()
        if fate != "ok" and (attempt := attempt_of(before_first_byte)) is not None:
            self.network.struck[attempt.job.grant_id] = world.seconds
        self.process.step("connect")
        await pause(self.process, random.random() * (5 if fate == "late" else 0.05))
        if fate == "refused":
            return NotSent("connect_refused")
        if before_first_byte is not None and (held := before_first_byte()) is not None:
            return held
        sent = self._first_byte(request, fate, before_first_byte)
        self.process.step("first byte")
        if self.network.weather.freeze_last and random.random() < self.network.weather.freeze_last:
            sent.frozen = True
            self.process.frozen_at_last(sent)
            self.process.freeze(30 + random.random() * 300)
            await pause(self.process, 0)
            sent.at = world.seconds
        answer = await Until(lambda resume: self._exchange(request, sent, deadline, resume))
        self.process.arrived(sent, answer)
        sent.ended = True
        self.process.step("answered")
        return answer  # type: ignore[no-any-return]

    def _first_byte(self, request: Request, fate: str, guard: Guard | None) -> Sent:
        body: dict[str, str] = json.loads(request.body) if request.body else {}
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        token = body.get("refresh_token") or body.get("token") or bearer
        attempt = attempt_of(guard)
        sent = Sent(
            number=len(self.network.sent) + 1,
            process=self.process,
            endpoint=ENDPOINTS[urlsplit(request.url).path],
            token=token,
            fate=fate,
            at=self.process.world.seconds,
            lease_until=None if attempt is None else _lease_end(attempt),
            attempt=attempt,
        )
        self.network.sent.append(sent)
        self.process.first_byte(sent)
        return sent

    def _exchange(self, request: Request, sent: Sent, deadline: timedelta, resume: Any) -> None:
        """Plan what happens on the wire from the first byte on."""
        world, random = self.process.world, self.process.world.random
        call = _call(request, sent)
        there = random.random() * 0.1
        back = random.random() * 0.3
        if sent.fate == "late":
            back = deadline.total_seconds() * (0.8 + 0.4 * random.random())
        end = deadline.total_seconds()

        def at_provider() -> None:
            response = self.network.act(sent, call) if sent.fate in ACTS_FIRST else None
            took = world.seconds - sent.at
            answer = distorted(sent.fate, response, random)
            arrival = world.seconds + back

            def ended() -> None:
                # A process that was frozen past its deadline still finds what had come by then.
                came = answer is not None and world.seconds >= arrival
                resume(answer if came else Silence("timeout"))

            wait = max(0.0, end - took) if answer is None or took + back >= end else back
            world.after(wait, ended, owner=self.process)

        world.after(there, at_provider)


class Sender(Process):
    """A process that sends: what the network tells it, beside the answer."""

    def step(self, name: str) -> None:
        """A step at which it may be killed."""

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""

    def first_byte(self, sent: Sent) -> None:
        """A request leaves."""

    def arrived(self, sent: Sent, answer: Answer) -> None:
        """A request ended, as its sender sees it."""

    def answered_too_late(self, sent: Sent) -> None:
        """The provider acted when this process was dead."""

    def frozen_at_last(self, sent: Sent) -> None:
        """It froze between its last guard and its first byte."""


def attempt_of(guard: Guard | None) -> Attempt | None:
    """The attempt that a guard speaks for: the closures of tasks/refresh.py and tasks/revoke.py hold it."""
    for cell in getattr(guard, "__closure__", None) or ():
        held = cell.cell_contents
        if isinstance(held, Attempt):
            return held
        if isinstance(found := getattr(held, "attempt", None), Attempt):
            return found
    return None


def _lease_end(attempt: Attempt) -> float:
    lease = attempt.job.lease_until - attempt.job.started_at
    return (attempt.begun + lease).total_seconds()


def _call(request: Request, sent: Sent) -> Call:
    body: dict[str, str] = json.loads(request.body) if request.body else {}
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return Call(sent.endpoint, body, bearer=bearer, org=request.headers.get("X-API-ORG", "org-1"))


def distorted(  # noqa: C901, PLR0911, PLR0912  # one a fate
    fate: str, response: Response | None, random: Any
) -> Answer | None:
    """What the client sees; None: nothing at all."""
    match fate:
        case "ok" | "late":
            return response
        case "silly":
            return silly(response, random)
        case "lost_before" | "lost_after":
            return Silence("reset")
        case "truncated":
            assert response is not None
            return Silence("truncated", response.status, response.headers)
        case "huge":
            return Silence("too_large", 200)
        case "html_before" | "html_after":
            return Response(random.choice((200, 502, 503)) if fate == "html_after" else 502, {}, PAGE)
        case "http_429":
            return Response(429, {"retry-after": random.choice(RETRY_AFTER)}, b"{}")
        case "http_503_before" | "http_503_after":
            return Response(503, {"retry-after": random.choice(RETRY_AFTER)}, b"")
        case "http_504_after":
            return Response(504, {}, PAGE)
        case "http_500_before":
            return Response(500, {}, b"")
        case "http_403":
            return Response(403, {}, b'{"error":"access_denied"}')
        case "error_inside":
            return Response(200, {}, b'{"error":"temporarily_unavailable"}')
        case "bad_oauth_500":
            return Response(random.choice((500, 502)), {}, b'{"error":"invalid_grant"}')
        case "redirect":
            return Response(302, {"location": "https://elsewhere.example/"}, b"")
        case _:
            return None


def silly(response: Response | None, random: Any) -> Response | None:
    """The right answer with values that no database takes."""
    if response is None or response.status != 200:
        return response
    body = json.loads(response.body)
    if "access_token" in body:
        body |= random.choice(
            ({"scope": "crm_read\u0000 x"}, {"expires_in": 10**18}, {"expires_in": -5}, {"scope": ["a", 1]})
        )
    return Response(response.status, response.headers, json.dumps(body).encode())
