"""Control routes, under /_control/: JSON in and out, no authentication, for loopback callers alone."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulator.client import Client, UnknownClientError
from simulator.fault import Fault
from simulator.fault_book import FaultBook
from simulator.http import views
from simulator.http.pages import Automatic
from simulator.http.routes import Clock
from simulator.provider import SimulatedProvider
from simulator.token_set import token_set

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewClient(_Wanted):
    """A registration; `redirect_uri` may hold several, one a line."""

    client_id: str = Field(min_length=1)
    client_secret: str
    redirect_uri: str = ""
    scopes: list[str] = ["crm_read", "crm_manage"]
    name: str = ""


class NewGrants(_Wanted):
    """Grants to mint, named `ref_prefix` and a number, or by `refs`."""

    client_id: str
    count: int = Field(1, ge=0, le=1_000_000)
    ref_prefix: str = "customer-"
    refs: list[str] | None = None
    scope: str = ""
    lifetime: float | None = Field(None, description="seconds; None: the simulator's setting")
    orgs: list[str] = []


class NewSettings(_Wanted):
    """Settings to change; what is not named stays. `habits` holds single quirks by name."""

    lifetime: float | None = None
    lifetime_of_all: bool = False
    rate: int | None = Field(None, ge=0)
    profile: str = ""
    habits: dict[str, Any] = {}


class ControlRoutes:
    """Everything that a test or a demo may do to a simulator."""

    def __init__(self, provider: SimulatedProvider, faults: FaultBook, clock: Clock, automatic: Automatic) -> None:
        self._provider = provider
        self._faults = faults
        self._clock = clock
        self._automatic = automatic

    def table(self) -> list[web.RouteDef]:
        """List the routes."""
        guarded = _guarded
        return [
            web.get("/_control/settings", guarded(self.show_settings)),
            web.patch("/_control/settings", guarded(self.change_settings)),
            web.patch("/_control/authorize", guarded(self.decide_automatically)),
            web.post("/_control/clients", guarded(self.add_client)),
            web.put("/_control/clients/{client_id}/secret", guarded(self.set_secret)),
            web.post("/_control/grants", guarded(self.mint)),
            web.post("/_control/grants/revoke", guarded(self.revoke_as_user)),
            web.post("/_control/faults", guarded(self.add_fault)),
            web.get("/_control/faults", guarded(self.list_faults)),
            web.delete("/_control/faults", guarded(self.clear_faults)),
            web.delete("/_control/faults/{number}", guarded(self.clear_faults)),
            web.get("/_control/ledger", guarded(self.summary)),
            web.get("/_control/ledger/grants/{ref}", guarded(self.grant)),
            web.get("/_control/ledger/requests", guarded(self.requests)),
            web.get("/_control/ledger/lost", guarded(self.lost)),
            web.post("/_control/judge", guarded(self.judge)),
        ]

    async def show_settings(self, _request: web.Request) -> web.Response:
        """Tell the settings and habits."""
        provider = self._provider
        habits = {name: getattr(provider.habits, name) for name in type(provider.habits).__slots__}
        facts = {
            "lifetime": provider.lifetime_seconds,
            "rate": provider.limiter.limit,
            "habits": habits,
            "clients": list(provider.clients),
        }
        return web.json_response(facts)

    async def change_settings(self, request: web.Request) -> web.Response:
        """Change lifetime, rate, profile and habits; `null` for lifetime or rate takes the limit away.

        A lifetime is that of new grants; with `lifetime_of_all` of those that there are, too.
        """
        wanted = NewSettings.model_validate(await request.json())
        habits = wanted.habits | ({"profile": wanted.profile} if wanted.profile else {})
        self._provider.change_habits(**habits)
        if "lifetime" in wanted.model_fields_set:
            self._provider.change_life(wanted.lifetime, of_all=wanted.lifetime_of_all)
        if "rate" in wanted.model_fields_set:
            self._provider.limiter.limit = wanted.rate
        return await self.show_settings(request)

    async def decide_automatically(self, request: web.Request) -> web.Response:
        """Let the authorize page decide by itself (`decision`: allow, deny or empty), as `user`."""
        body = await request.json()
        self._automatic.decision = str(body.get("decision", ""))
        self._automatic.user = str(body.get("user", self._automatic.user))
        return web.json_response({"decision": self._automatic.decision, "user": self._automatic.user})

    async def add_client(self, request: web.Request) -> web.Response:
        """Register a client, or replace it."""
        wanted = NewClient.model_validate(await request.json())
        uris = tuple(wanted.redirect_uri.split())
        self._provider.register(Client(wanted.client_id, wanted.client_secret, uris, tuple(wanted.scopes), wanted.name))
        return web.json_response({"client_id": wanted.client_id}, status=201)

    async def set_secret(self, request: web.Request) -> web.Response:
        """Change a client's secret; the old one is refused from now on."""
        client = self._provider.clients.get(request.match_info["client_id"])
        if client is None:
            raise UnknownClientError(request.match_info["client_id"])
        client.secret = str((await request.json())["client_secret"])
        return web.json_response({"client_id": client.client_id})

    async def mint(self, request: web.Request) -> web.Response:
        """Mint grants and answer JSON Lines that `evergrant grants import` reads."""
        wanted = NewGrants.model_validate(await request.json())
        refs = wanted.refs
        if refs is None:
            refs = [f"{wanted.ref_prefix}{number}" for number in range(1, wanted.count + 1)]
        lines = "".join(self._mint_line(wanted, ref) for ref in refs)
        return web.Response(text=lines, content_type="application/jsonl")

    def _mint_line(self, wanted: NewGrants, ref: str) -> str:
        now = self._clock()
        pair = self._provider.mint(
            wanted.client_id,
            ref,
            now=now,
            scope=wanted.scope,
            lifetime_seconds=wanted.lifetime,
            orgs=tuple(wanted.orgs),
        )
        members = {"ref": ref, **token_set(self._provider.habits, pair, now), "created_at": int(pair.issued_at)}
        del members["token_type"]
        return json.dumps(members) + "\n"

    async def revoke_as_user(self, request: web.Request) -> web.Response:
        """End grants as their users would: `{"refs": […], "client_id": optional}`."""
        body = await request.json()
        client_id, now = str(body.get("client_id", "")), self._clock()
        ended = sum(self._provider.end_by_user(str(ref), now, client_id) for ref in body["refs"])
        return web.json_response({"ended": ended})

    async def add_fault(self, request: web.Request) -> web.Response:
        """Set a fault."""
        fault = self._faults.add(Fault.model_validate(await request.json()))
        return web.json_response(fault.model_dump(), status=201)

    async def list_faults(self, _request: web.Request) -> web.Response:
        """List the faults with how often each has fired."""
        return web.json_response([fault.model_dump() for fault in self._faults.listed()])

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Clear one fault, or all."""
        number = request.match_info.get("number")
        return web.json_response({"cleared": self._faults.clear(int(number) if number else None)})

    async def summary(self, request: web.Request) -> web.Response:
        """Sum up the ledger."""
        client_id = request.query.get("client_id", "")
        return web.json_response(views.summary(self._provider, self._clock(), client_id))

    async def grant(self, request: web.Request) -> web.Response:
        """Tell the grants of a ref with their chains; a second consent is a second grant."""
        grants = self._provider.ledger.by_ref.get(request.match_info["ref"], [])
        now = self._clock()
        return web.json_response([views.grant_view(g, now) for g in grants], status=200 if grants else 404)

    async def requests(self, request: web.Request) -> web.Response:
        """List requests in order, after a number; filters: endpoint, client_id, ref, outcome."""
        query = dict(request.query)
        after, limit = int(query.pop("after", 0)), int(query.pop("limit", 1000))
        found = (
            each
            for each in self._provider.traffic.requests
            if each.number > after and all(str(getattr(each, k, None)) == v for k, v in query.items())
        )
        page = [views.request_view(each) for each, _ in zip(found, range(limit), strict=False)]
        return web.json_response(page)

    async def lost(self, _request: web.Request) -> web.Response:
        """List every lost grant with what consumed it."""
        return web.json_response(views.losses(self._provider, self._clock()))

    async def judge(self, request: web.Request) -> web.Response:
        """Say of `{ref: token}` what is alive."""
        return web.json_response(views.judge(self._provider, await request.json(), self._clock()))


def _guarded(handler: Handler) -> Handler:
    """Refuse callers from other machines, and turn what is wrong with a request into one sentence."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.remote not in ("127.0.0.1", "::1"):
            return _problem(403, "the control endpoint is for this machine alone")
        try:
            return await handler(request)
        except ValidationError as error:
            first = error.errors()[0]
            return _problem(400, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}")
        except UnknownClientError as error:
            return _problem(404, str(error))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _problem(400, f"{type(error).__name__}: {error}")

    return handle


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
