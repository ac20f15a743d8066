"""Pages: what the user of a simulated provider sees, the authorize page with its Allow and Deny."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from jinja2 import Environment, FileSystemLoader

from simulator.answers import Answer
from simulator.call import Call
from simulator.endpoints import authorization
from simulator.endpoints.authorization import AuthorizationRequest, Refusal
from simulator.fault import Act
from simulator.fault_book import FaultBook
from simulator.http.routes import Clock
from simulator.http.wire import misbehave
from simulator.provider import SimulatedProvider

_FIELDS = (
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
)


@dataclass(slots=True)
class Automatic:
    """Who decides at the authorize page: a user (empty), or the simulator by itself, for tests."""

    decision: str = ""  # allow, deny, or empty
    user: str = "user-1"


class Pages:
    """The authorize page, as GET and as the form's POST."""

    def __init__(
        self,
        provider: SimulatedProvider,
        faults: FaultBook,
        clock: Clock,
        automatic: Automatic,
        paths: Sequence[str] = (),
    ) -> None:
        """`paths`: where else it answers."""
        self._paths = ["/oauth/authorize", *(path for path in dict.fromkeys(paths) if path != "/oauth/authorize")]
        self._provider = provider
        self._faults = faults
        self._clock = clock
        self._automatic = automatic
        loader = FileSystemLoader(Path(__file__).parent / "templates")
        self._templates = Environment(loader=loader, autoescape=True)

    def table(self) -> list[web.RouteDef]:
        """List the routes."""
        return [route for path in self._paths for route in (web.get(path, self.ask), web.post(path, self.decide))]

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Show the page, or decide at once where `auto` in the query or the control setting says so."""
        decision = request.query.get("auto", "") or self._automatic.decision
        return await self._serve(request, request.query, decision)

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Send the browser back with a code, or with the user's refusal."""
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        return await self._serve(request, form, form.get("decision", "deny"))

    async def _serve(self, request: web.Request, params: Mapping[str, str], decision: str) -> web.StreamResponse:
        call = Call("authorize", params)
        client_id = self._provider.application(call)
        fault = self._faults.strike("authorize", "", client_id, params.get("user", ""))
        if fault is not None and fault.act is not Act.DELAY:
            entry = self._provider.pass_over(call, self._clock(), "not_processed")
            entry.fault = fault.number
            response, _ = await misbehave(request, fault, Answer(200, "not_processed", {}))
            return response
        answer, outcome = self._answer(params, decision)
        self._provider.pass_over(call, self._clock(), outcome).status = answer.status
        return answer

    def _answer(self, params: Mapping[str, str], decision: str) -> tuple[web.Response, str]:
        asked = authorization.read(self._provider, params)
        if isinstance(asked, Refusal):
            return self._refuse(asked), asked.code
        if not decision:
            return self._page("authorize.html", **self._facts(params, asked)), "shown"
        if decision != "allow":
            return _redirect(authorization.deny(asked)), "denied"
        user = params.get("user", "").strip() or self._automatic.user
        return _redirect(authorization.allow(self._provider, asked, user, self._clock())), "allowed"

    def _refuse(self, refusal: Refusal) -> web.Response:
        if refusal.redirect_to:
            return _redirect(refusal.redirect_to)
        return self._page("error.html", code=refusal.code, text=refusal.text)

    def _facts(self, params: Mapping[str, str], asked: AuthorizationRequest) -> dict[str, object]:
        client = self._provider.clients[asked.client_id]
        return {
            "client_name": client.name or client.client_id,
            "scopes": asked.scope.split(" "),
            "fields": {name: params[name] for name in _FIELDS if name in params},
            "user": params.get("user", self._automatic.user),
            "destination": urlsplit(asked.redirect_uri).netloc,
        }

    def _page(self, template: str, **facts: object) -> web.Response:
        text = self._templates.get_template(template).render(**facts)
        return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-store"})


def _redirect(url: str) -> web.Response:
    return web.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
