"""Routes: the OAuth endpoints and the API over HTTP: read a request, let a fault strike, send the provider's answer."""

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.answers import Answer, error
from simulator.call import Call
from simulator.fault import Act, Fault
from simulator.fault_book import FaultBook
from simulator.http.wire import misbehave, send
from simulator.provider import SimulatedProvider
from simulator.traffic import Request

Clock = Callable[[], float]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OWN = frozenset(
    {
        "/oauth/token",
        "/oauth/revoke",
        "/oauth/token/info",
        "/v2/bookings",
        "/v2/organizations",
        "/oauth/authorize",
        "/oauth/introspect",
    }
)
POSTED = ("token", "revoke", "introspect")
FORM_ONLY = "only application/x-www-form-urlencoded content-type bodies are supported on POST /token"


class Routes:
    """The routes of one simulated provider."""

    def __init__(
        self,
        provider: SimulatedProvider,
        faults: FaultBook,
        clock: Clock,
        paths: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`paths`: where else it answers, by endpoint."""
        self._provider = provider
        self._faults = faults
        self._clock = clock
        self._paths = paths or {}

    def table(self) -> list[web.RouteDef]:
        """List the routes; whatever else is asked for is 404, and entered in the traffic as well."""
        return [
            web.post("/oauth/token", self._posted("token")),
            web.get("/oauth/token", self._got_token, allow_head=False),
            web.post("/oauth/revoke", self._posted("revoke")),
            web.post("/oauth/introspect", self._posted("introspect")),
            web.get("/.well-known/oauth-authorization-server", self._described),
            web.get("/oauth/token/info", self._opened("token_info")),
            web.get("/v2/bookings", self._opened("api")),
            web.get("/v2/organizations", self._opened("organizations")),
            *(web.post(path, self._posted(name)) for name in POSTED for path in self._further(name)),
            *(web.get(path, self._opened("api")) for path in self._further("api")),
        ]

    async def _described(self, request: web.Request) -> web.StreamResponse:
        """Say what this server is (RFC 8414); nobody's token is in it, so it is no traffic."""
        issuer = f"{request.scheme}://{request.host}"
        endpoints = {
            f"{name}_endpoint": f"{issuer}/oauth/{path}"
            for name, path in (
                ("authorization", "authorize"),
                ("token", "token"),
                ("revocation", "revoke"),
                ("introspection", "introspect"),
            )
        }
        offered = {
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }
        return web.json_response({"issuer": issuer} | endpoints | offered)

    def _further(self, endpoint: str) -> list[str]:
        """Where else an endpoint answers; one of ours is there already."""
        return [path for path in dict.fromkeys(self._paths.get(endpoint, ())) if path not in OWN]

    async def _got_token(self, request: web.Request) -> web.StreamResponse:
        """Answer a GET at the token endpoint, where that is a habit."""
        if not self._provider.habits.exchanges_access_tokens:
            return await self.nowhere(request)
        return await self._posted("token")(request)

    async def nowhere(self, request: web.Request) -> web.StreamResponse:
        """Answer 404 for any other path or method; a client that follows redirects is found out here."""
        entry = self._provider.pass_over(Call("elsewhere", {}), self._clock(), "not_found")
        entry.status, entry.path = 404, f"{request.method} {request.path[:200]}"
        return web.Response(status=404)

    def _posted(self, endpoint: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            params = await _params(request)
            if params is None:
                return await self._refuse(request, endpoint, Answer(400, "malformed"))
            if request.content_type == "application/json" and not self._provider.habits.json_bodies:
                return await self._refuse(request, endpoint, error("invalid_request", FORM_ONLY))
            return await self._serve(request, Call(endpoint, params, basic=_basic(request)))

        return handle

    def _opened(self, endpoint: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = Call(
                endpoint,
                {},
                bearer=_presented(request, self._provider.habits.api_header),
                org=request.headers.get("X-API-ORG", ""),
            )
            return await self._serve(request, call)

        return handle

    async def _refuse(self, request: web.Request, endpoint: str, answer: Answer) -> web.StreamResponse:
        """Send an answer that was found before the provider had a look."""
        entry = self._provider.pass_over(Call(endpoint, {}), self._clock(), answer.outcome)
        entry.status = answer.status
        response, _ = await send(request, answer)
        return response

    async def _serve(self, request: web.Request, call: Call) -> web.StreamResponse:
        fault = self._strike(call)
        if fault is not None and fault.when == "before":
            await asyncio.sleep(fault.delay_seconds)
            if fault.act is not Act.DELAY:
                return await self._pass_over(request, call, fault)
            fault = None
        answer, entry = self._provider.handle(call, self._clock())
        return await self._deliver(request, answer, entry, fault)

    async def _pass_over(self, request: web.Request, call: Call, fault: Fault) -> web.StreamResponse:
        entry = self._provider.pass_over(call, self._clock(), "not_processed")
        entry.fault, entry.delivery = fault.number, fault.label
        response, _ = await misbehave(request, fault, Answer(200, "not_processed", {}))
        return response

    async def _deliver(
        self, request: web.Request, answer: Answer, entry: Request, fault: Fault | None
    ) -> web.StreamResponse:
        if fault is None:
            response, there = await send(request, answer)
        else:
            entry.fault = fault.number
            if fault.loses_tokens:
                self._provider.withhold(entry, self._clock(), fault.label)
            await asyncio.sleep(fault.delay_seconds)
            response, there = await misbehave(request, fault, answer)
        if not there and entry.delivery == "sent":
            self._provider.withhold(entry, self._clock(), "the client was gone when it was written")
        return response

    def _strike(self, call: Call) -> Fault | None:
        if not self._faults.set:
            return None
        return self._faults.strike(
            call.endpoint,
            call.params.get("grant_type", ""),
            self._provider.application(call),
            self._provider.ref_of(call),
        )


async def _params(request: web.Request) -> dict[str, str] | None:
    """Read query and body into one set of parameters, as Rails does; None: the JSON is malformed."""
    params = dict(request.query)
    body = await request.read()
    if request.content_type == "application/json":
        if not body:
            return params
        try:
            members = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return params | _texts(members)
    if request.content_type == "application/x-www-form-urlencoded":
        params |= dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    return params


def _texts(members: Any) -> dict[str, str]:
    """Keep the members of a JSON object that are texts or numbers; anything else counts as missing."""
    if not isinstance(members, Mapping):
        return {}
    return {name: str(value) for name, value in members.items() if isinstance(value, str | int | float)}


def _basic(request: web.Request) -> tuple[str, str] | None:
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(text).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return client_id, secret


def _presented(request: web.Request, api_header: str) -> str:
    """The access token, as this provider's API wants it: a header and what stands before the token in it."""
    name, _, before = api_header.partition(": ")
    if name.lower() == "authorization" and before.strip().lower() == "bearer":
        return _bearer(request)
    value = request.headers.get(name, "")
    return value.removeprefix(before) if value.startswith(before) else ""


def _bearer(request: web.Request) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else request.query.get("access_token", "")
