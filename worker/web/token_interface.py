"""The token interface: what applications ask over HTTP, in any language (docs/reference/http.md)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web

from models.application import Holder
from models.application_requests import Ending
from models.states.application import Right
from models.ticket import Wanted
from tasks.runtime import log_batch
from worker.audit.trail import BEGUN
from worker.web import audited
from worker.web.answers import told
from worker.web.applications import Applications, Rates, allow
from worker.web.audited import Auditor
from worker.web.grants import Grants
from worker.web.guarded_requests import GuardedRequests
from worker.web.headers import OWN
from worker.web.middleware import middleware
from worker.web.notices import Notices
from worker.web.openapi import document
from worker.web.parameters import (
    LARGEST_BODY,
    LARGEST_REF,
    body_of,
    flag,
    generation,
    labels,
    list_of_words,
    query_of,
    ref_of,
    seconds,
    words,
)
from worker.web.refusal import Refusal, bad_parameter
from worker.web.tickets import Tickets
from worker.web.traffic import Traffic

log = structlog.get_logger()

LONGEST_ADDRESS = 2000
MIN_TTL_SECONDS, LONGEST_TTL_SECONDS = 60.0, 86400.0
WAIT_SECONDS, LONGEST_WAIT_SECONDS = 10.0, 60.0


class TokenInterface:
    """The routes, each for one application at a time."""

    def __init__(
        self,
        grants: Grants,
        applications: Applications,
        rates: Rates,
        notices: Notices,
        *,
        tickets: Tickets,
        auditor: Auditor | None = None,
    ) -> None:
        self._grants = grants
        self._tickets = tickets
        self._auditor = auditor
        self._applications = applications
        self._rates = rates
        self._notices = notices

    def application(self, traffic: Traffic) -> web.Application:
        """Build the aiohttp application of the listener."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[middleware(traffic)])
        app.add_routes(
            [
                web.get("/v1/grants/{ref}/token", self._for(Right.READ, self.token), allow_head=False),
                web.get("/v1/grants/{ref}", self._for(Right.READ, self.explanation), allow_head=False),
                web.post("/v1/grants/{ref}/rejected", self._for(Right.REFRESH, self.rejected)),
                web.post("/v1/grants/{ref}/refresh", self._for(Right.REFRESH, self.refresh)),
                web.post("/v1/grants/{ref}/revocation", self._for(Right.REVOKE, self.revocation)),
                web.post("/v1/grants/{ref}/connect", self._for(Right.CONNECT, self.connect)),
                web.post("/v1/notices/{client}", self.notice),
                web.delete("/v1/notices/{client}", self.notice),
                web.get("/openapi.json", self.openapi, allow_head=False),
            ]
        )
        return app

    async def token(self, request: web.Request, holder: Holder) -> web.Response:
        """Hand out an access token that lasts."""
        ref = ref_of(request)
        query = query_of(request, allowed=None)
        handed = await self._grants.token(
            holder,
            ref,
            query.get("client"),
            min_ttl=seconds(query, "min_ttl", default=MIN_TTL_SECONDS, most=LONGEST_TTL_SECONDS),
            wait=seconds(query, "wait", default=WAIT_SECONDS, most=LONGEST_WAIT_SECONDS),
            chosen={name: value for name, value in query.items() if name not in OWN},
        )
        if entry := audited.entry():
            entry.hand_out(handed.access_token, generation=handed.generation)
        log_batch.until(asyncio.get_running_loop().call_soon)  # one write for all who are answered in this turn
        log.info("web.token", application=holder.name, client=handed.client, ref=ref, generation=handed.generation)
        return told(
            {
                "access_token": handed.access_token,
                "token_type": "Bearer",
                "expires_at": _iso(handed.expires_at),
                "generation": handed.generation,
                "ref": handed.ref,
                "client": handed.client,
                "headers": handed.headers,
                "api_header": handed.api_header,
            }
        )

    async def explanation(self, request: web.Request, holder: Holder) -> web.Response:
        """Tell why a grant is as it is; nothing is handed out."""
        ref, client = ref_of(request), query_of(request, allowed=("client",)).get("client")
        return told(await self._grants.explained(holder, ref, client))

    async def rejected(self, request: web.Request, holder: Holder) -> web.Response:
        """Note that the provider's API answered 401 to the token of this generation."""
        members = await body_of(request, allowed=("generation",))
        return await self._request_refresh(request, holder, rejected=generation(members, "generation"))

    async def refresh(self, request: web.Request, holder: Holder) -> web.Response:
        """Queue an early refresh."""
        await body_of(request, allowed=())
        return await self._request_refresh(request, holder, rejected=None)

    async def revocation(self, request: web.Request, holder: Holder) -> web.Response:
        """Queue a revocation."""
        ref = ref_of(request)
        query = query_of(request, allowed=("client",))
        members = await body_of(request, allowed=("reason", "idempotency_key", "missing_ok", "erase"))
        ending = Ending(
            ref=ref,
            client=query.get("client"),
            reason=words(members, "reason"),
            idempotency_key=words(members, "idempotency_key"),
            missing_ok=flag(members, "missing_ok"),
            erase=flag(members, "erase"),
        )
        if ending.erase:
            allow(holder, Right.ERASE)
        entry = audited.entry()
        if entry is not None:
            await self._grants.recognize(holder, ref, ending.client)
            entry.note(erase=ending.erase)
            entry.write(BEGUN)  # from here on it may be done, whatever becomes of this process or of who asked
        asked = await self._grants.end(holder, ending)
        if entry is not None:
            entry.note(revocation=asked.id, held=asked.held)
        log.info("web.revocation", application=holder.name, ref=ref, revocation=asked.id, held=asked.held)
        return told({"id": asked.id, "ref": ref, "held": asked.held}, status=202)

    async def connect(self, request: web.Request, holder: Holder) -> web.Response:
        """Make a link by which a customer connects, or connects again."""
        ref = ref_of(request)
        query = query_of(request, allowed=("client",))
        members = await body_of(request, allowed=("client", "return_to", "labels", "scopes", "locale"))
        wanted = Wanted(
            ref=ref,
            client=_client_of(query, members),
            return_to=words(members, "return_to", most=LONGEST_ADDRESS),
            labels=labels(members, "labels"),
            scopes=list_of_words(members, "scopes"),
            locale=words(members, "locale"),
        )
        link = await self._tickets.make(holder, wanted)
        if entry := audited.entry():
            entry.note(ref=ref, client=link.client, ticket=str(link.id))
        log.info("web.connect", application=holder.name, client=link.client, ref=ref, ticket=str(link.id))
        told_of = {"url": link.url, "expires_at": _iso(link.expires_at), "ref": ref, "client": link.client}
        return told(told_of, status=201)

    async def notice(self, request: web.Request) -> web.Response:
        """Take in what a provider tells by itself; it proves itself, and needs no application's key."""
        return await self._notices.take(request)

    async def openapi(self, request: web.Request) -> web.Response:
        """Describe this interface; no key is needed, there is no secret in it."""
        del request
        return told(document())

    async def _request_refresh(self, request: web.Request, holder: Holder, *, rejected: int | None) -> web.Response:
        ref, client = ref_of(request), query_of(request, allowed=("client",)).get("client")
        client, awaited = await self._grants.request_refresh(holder, ref, client, rejected=rejected)
        log.info("web.refresh", application=holder.name, client=client, ref=ref, generation=awaited)
        return told({"generation": awaited, "ref": ref, "client": client}, status=202)

    def _for(
        self, right: Right, handler: Callable[[web.Request, Holder], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A route for keys that have a right: the one place where it is seen who asks, how often, and what they may."""

        async def guarded(request: web.Request) -> web.Response:
            holder = await self._applications.who(request)
            if isinstance(request.protocol, GuardedRequests):
                request.protocol.proved(holder.id)
            self._rates.take(holder)
            if self._auditor is not None:
                self._auditor.enter(request, holder)
            allow(holder, right)
            try:
                return await handler(request, holder)
            except Refusal as refusal:
                if refusal.status == HTTPStatus.UNAUTHORIZED:
                    self._applications.forget()
                raise

        return guarded


def _client_of(query: dict[str, str], members: dict[str, Any]) -> str | None:
    """The client, which may stand in the body as well.

    Raises:
        Refusal: both name one, and not the same.

    """
    named = {query.get("client"), words(members, "client", most=LARGEST_REF)} - {None}
    if len(named) > 1:
        raise bad_parameter(message="The query and the body name two clients", next_step="name one of them")
    return named.pop() if named else None


def _iso(at: datetime) -> str:
    """As every time that users see, to the second, rounded down: a token is never said to live longer than it does."""
    return f"{at.replace(microsecond=0, tzinfo=None).isoformat()}Z"
