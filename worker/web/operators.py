"""The operators' listener: alive, ready, metrics, and the fleet page."""

import base64
import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import Connection

from models import installation
from models.states.installation import DatabaseState
from models.states.process import ProcessKind
from models.views import fleet
from worker.web.answers import told
from worker.web.database import Database
from worker.web.fleet_metrics import FleetMetrics
from worker.web.middleware import refusal_of
from worker.web.pages.fleet_pages import FleetPages
from worker.web.refusal import Refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OperatorsListener:
    """Read-only; with a password all but `/healthz` asks for it, whatever the user name."""

    def __init__(
        self,
        database: Database,
        metrics: FleetMetrics,
        registry: CollectorRegistry,
        pages: FleetPages,
        *,
        environment: str | None,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._registry = registry
        self._pages = pages
        self._environment = environment

    def application(self, password: str | None) -> web.Application:
        """Build the aiohttp application of the listener."""
        app = web.Application(middlewares=[_guarded(password)])
        app.add_routes(
            [
                web.get("/healthz", self.healthz),
                web.get("/readyz", self.readyz),
                web.get("/metrics", self.metrics),
            ]
        )
        self._pages.add_to(app, is_open=password is None)
        return app

    async def healthz(self, request: web.Request) -> web.Response:
        """Say that this process lives; nothing else is asked."""
        del request
        return told({"alive": True})

    async def readyz(self, request: web.Request) -> web.Response:
        """Say whether this installation may send: a database that is fit, a beat and a worker that live."""
        del request
        try:
            reasons = await self._database.run(self._held_by)
        except Exception as error:  # noqa: BLE001  # it is told
            reasons = [refusal_of(error).error]
        return told({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text."""
        del request
        await self._metrics.refresh()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _held_by(self, connection: Connection) -> list[str]:
        state = installation.state(connection, self._environment)
        alive = {each["kind"] for each in fleet.processes(connection) if each["alive"]}
        silent = [f"no_{kind}" for kind in (ProcessKind.BEAT, ProcessKind.WORKER) if kind not in alive]
        return ([] if state == DatabaseState.FIT else [f"database_{state}"]) + silent


def _guarded(password: str | None) -> web.middleware:  # type: ignore[valid-type]
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if password is None or request.path == "/healthz" or _knows(request, password):
            return await handler(request)
        return Refusal(
            401,
            "password",
            "The operators' password is needed",
            "send it by Basic authorization, with any user name",
            headers={"WWW-Authenticate": 'Basic realm="evergrant"'},
        ).response()

    return guard


def _knows(request: web.Request, password: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        _, _, told = base64.b64decode(given, validate=True).partition(b":")
    except ValueError:  # no base64, or not even ASCII
        return False
    return hmac.compare_digest(told, password.encode())
