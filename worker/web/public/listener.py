"""The public listener: a link is looked at, used, and its customer waits for the end, in the client's name.

GET  /connect/TICKET   a short page; it uses nothing up, for chats and mail look at links by themselves
POST /connect/TICKET   uses the ticket in this browser, and sends it to the provider
GET  /callback         the browser comes back: what it brings is kept for a worker, never sent from here
GET  /outcome/VISIT    waits a while for the end; then it is told, here or at the application
"""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

import structlog
from aiohttp import web

from models.states.visit import VisitOutcome, VisitReason
from models.visit import Guest
from tasks.connect_errors import AnotherIssuer, ConnectError, NoCallback
from tasks.oauth.errors import OAuthError
from tasks.visit_ends import reason_of
from worker.web.database import DatabaseSilent
from worker.web.middleware import refusal_of
from worker.web.public import cookies
from worker.web.public.guests import Guests, is_of
from worker.web.public.pages import HSTS, Whose, page
from worker.web.public.visitors import Visitors
from worker.web.public.words import Language, language

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LARGEST_FORM: Final = 4096
WAIT_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 3
RETRY_SECONDS: Final = 5
STATUS: Final = {"unknown": 404, "expired": 410, "revoked": 410, "used": 410}


class PublicListener:
    """Every page names its client, once it is known whose it is."""

    def __init__(self, guests: Guests, visitors: Visitors, *, public_url: str) -> None:
        self._guests = guests
        self._visitors = visitors
        self._path = urlsplit(public_url).path.rstrip("/")
        self._is_tls = public_url.startswith("https:")

    def application(self) -> web.Application:
        """Build the aiohttp application of the listener."""
        app = web.Application(client_max_size=LARGEST_FORM, middlewares=[self._guarded])
        app.add_routes(
            [
                web.get(self._path + "/connect/{ticket}", self.look),
                web.post(self._path + "/connect/{ticket}", self.begin),
                web.get(self._path + "/callback", self.callback, allow_head=False),
                web.get(self._path + "/outcome/{visit}", self.outcome, allow_head=False),
            ]
        )
        return app

    async def look(self, request: web.Request) -> web.StreamResponse:
        """Show whose link it is and where it leads."""
        guest = await self._guests.with_ticket(request.match_info["ticket"])
        browser = None if guest is None else cookies.of(request, guest.ticket_id)
        if guest is None or (ended := _ended(guest, browser)) is not None:
            return self._closed(request, guest, "unknown" if guest is None else str(ended))
        browser = browser or cookies.new()
        response = self._page(request, "invitation", guest, form=cookies.proof(browser))
        cookies.keep(response, guest.ticket_id, browser)
        return response

    async def begin(self, request: web.Request) -> web.StreamResponse:
        """Use the ticket in the browser that was shown the page, and send it to the provider."""
        guest = await self._guests.with_ticket(request.match_info["ticket"])
        browser = None if guest is None else cookies.of(request, guest.ticket_id)
        if guest is None or (ended := _ended(guest, browser)) is not None:
            return self._closed(request, guest, "unknown" if guest is None else str(ended))
        given = await _form_of(request)
        if browser is None or not cookies.proves(given, browser):
            return self._page(request, "no_cookie", guest, status=403)
        try:
            url = await self._guests.begin(guest, browser)
        except (OAuthError, ConnectError) as error:
            log.error("public.cannot_begin", client=guest.client, ref=guest.ref, reason=str(error))  # noqa: TRY400
            return self._page(request, _said_before(error), guest, status=503)
        if url is None:  # ended, or used elsewhere, meanwhile
            return self._closed(request, await self._guests.with_ticket(request.match_info["ticket"]), "used")
        log.info("public.begun", client=guest.client, ref=guest.ref)
        response = _sent_to(url)
        cookies.keep(response, guest.ticket_id, browser)
        return response

    async def callback(self, request: web.Request) -> web.StreamResponse:
        """Take what the provider sent along with the browser that had begun, and with no other."""
        states = request.query.getall("state", [])
        guest = await self._guests.with_state(states[0]) if len(states) == 1 else None
        if guest is None or guest.visit_id is None:
            return self._page(request, "unreadable" if guest else "unknown", status=404)
        if not is_of(guest, cookies.of(request, guest.ticket_id)):
            log.warning("public.other_browser", client=guest.client, ref=guest.ref)
            return self._page(request, "other_browser", status=403)
        if not guest.answered and guest.outcome is None:
            if guest.revoked or guest.is_late:
                return self._page(request, "revoked" if guest.revoked else "late", guest, status=410)
            try:
                await self._guests.come_back(guest, request.rel_url.raw_query_string)
            except (NoCallback, AnotherIssuer, OAuthError) as error:
                log.warning("public.not_taken", client=guest.client, ref=guest.ref, reason=reason_of(error))
                return self._page(request, _said_of(error), guest, status=400)
        # The address with the code is left at once: to load this page anew repeats nothing.
        return _sent_to(f"{self._path}/outcome/{guest.visit_id}")

    async def outcome(self, request: web.Request) -> web.StreamResponse:
        """Wait for the end of a visit, and tell it."""
        try:
            visit_id = UUID(request.match_info["visit"])
        except ValueError:
            return self._page(request, "unknown", status=404)
        guest = await self._guests.of_visit(visit_id)
        if guest is None or not is_of(guest, cookies.of(request, guest.ticket_id)):
            return self._page(request, "unknown" if guest is None else "other_browser", status=404)
        if guest.outcome is None:
            await self._guests.wait(visit_id, WAIT_SECONDS)
            guest = await self._guests.of_visit(visit_id) or guest
        if guest.outcome is None:
            said = "working" if guest.held_by is None else "held"
            return self._page(request, said, guest, again_in=AGAIN_SECONDS)
        if guest.return_to is not None:
            return _sent_to(told_at(guest.return_to, guest))
        return self._page(request, _said_at_the_end(guest), guest)

    # Pages

    def _closed(self, request: web.Request, guest: Guest | None, said: str) -> web.StreamResponse:
        """A link that is good no longer; whoever used it is shown what became of that."""
        if said == "own" and guest is not None:
            return _sent_to(f"{self._path}/outcome/{guest.visit_id}")
        return self._page(request, said, guest, status=STATUS.get(said, 410))

    def _page(
        self,
        request: web.Request,
        said: str,
        guest: Guest | None = None,
        *,
        status: int = 200,
        form: str | None = None,
        again_in: int | None = None,
    ) -> web.Response:
        spoken = _language(request, guest)
        if guest is None:
            return page(spoken, said, status=status, again_in=again_in)
        back = None
        if guest.return_to is not None and form is None and again_in is None:
            back = told_at(guest.return_to, guest, failed_for=said)
        return page(
            spoken,
            said,
            Whose.of(guest, self._guests.provider_name(guest)),
            status=status,
            form=form,
            back=back,
            again_in=again_in,
            form_goes_to="" if form is None else self._plain_origin(guest),
        )

    def _plain_origin(self, guest: Guest) -> str:
        """Where a form leads that is not https: to a provider on this machine, while one develops."""
        try:
            parts = urlsplit(self._guests.provider(guest).authorize_url or "")
        except OAuthError:
            return ""
        return f"http://{parts.netloc}" if parts.scheme == "http" else ""

    @property
    def _guarded(self) -> web.middleware:  # type: ignore[valid-type]
        """Count who comes; every failure is a page, and every page keeps to https."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await self._answered(request, handler)
            if self._is_tls:
                response.headers["Strict-Transport-Security"] = HSTS
            return response

        return guard

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._visitors.may_come(request):
            return self._page(request, "busy", status=429, again_in=_again_in(request))
        if not self._visitors.came_by_tls(request):
            return self._page(request, "not_by_tls", status=400)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return self._page(request, "nothing_here", status=error.status)
        except Exception as error:  # noqa: BLE001  # the one place where every failure ends
            return self._failed(request, error)

    def _failed(self, request: web.Request, error: Exception) -> web.Response:
        """What cannot be had now is looked for again by a page that sends nothing; the log has the rest."""
        refusal = refusal_of(error)
        if isinstance(error, DatabaseSilent) or refusal.status == 503:  # noqa: PLR2004
            again_in = _again_in(request)
            return self._page(request, "not_begun" if again_in is None else "away", status=503, again_in=again_in)
        return self._page(request, "internal", status=500)


def _again_in(request: web.Request) -> int | None:
    """After how many seconds a page asks again by itself: never for what was sent, which it would send again."""
    return RETRY_SECONDS if request.method == "GET" else None


def told_at(return_to: str, guest: Guest, *, failed_for: str | None = None) -> str:
    """The application's address with how it ended; `failed_for`: there is no outcome, and why."""
    told = {"evergrant": guest.outcome or VisitOutcome.FAILED.value, "ref": guest.ref}
    reason = guest.reason if guest.outcome else failed_for
    if told["evergrant"] == VisitOutcome.FAILED and reason:
        told["reason"] = reason
    return return_to + ("&" if "?" in return_to else "?") + urlencode(told)


async def _form_of(request: web.Request) -> str | None:
    """What our form holds, which is ASCII; whatever else comes, in whatever coding it claims, holds nothing."""
    sent = parse_qs((await request.read()).decode("ascii", "replace"))
    return sent.get("form", [None])[0]


def _ended(guest: Guest, browser: str | None) -> str | None:
    """Why a ticket may not be used by this browser; `own`: it came back with it already. None: it may."""
    if guest.revoked:
        return "revoked"
    if guest.browser_hash is not None and not is_of(guest, browser):
        return "used"
    if guest.answered:
        return "own"
    return "expired" if guest.expired else None


def _said_at_the_end(guest: Guest) -> str:
    match guest.outcome:
        case VisitOutcome.CONNECTED:
            return "connected"
        case VisitOutcome.DENIED:
            return "denied"
        case _:
            return guest.reason or VisitReason.UNFIT


def _said_before(error: Exception) -> str:
    """Why nobody is sent to the provider; the ticket is as good as before."""
    match reason_of(error):
        case VisitReason.STILL_REVOKING:
            return "not_yet"
        case VisitReason.CLIENT_PAUSED:
            return "paused"
        case _:
            return VisitReason.UNFIT


def _said_of(error: Exception) -> str:
    match error:
        case AnotherIssuer():
            return "another_issuer"
        case NoCallback():
            return "unreadable"
        case _:
            return VisitReason.UNFIT


def _language(request: web.Request, guest: Guest | None) -> Language:
    return language(None if guest is None else guest.locale, request.headers.get("Accept-Language", ""))


def _sent_to(url: str) -> web.Response:
    """Send a browser on by GET, with nothing said of where it came from."""
    headers = {"Location": url, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return web.Response(status=303, headers=headers)
