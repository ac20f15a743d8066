"""The pages of the operators' listener: each is read in a transaction that changes nothing, and names commands."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from time import monotonic
from typing import Any, Final, TypeVar

from aiohttp import web
from multidict import MultiMapping
from sqlalchemy import Connection, RowMapping

from models import held_revocation
from models.errors import UnknownClient
from models.states.journal import JournalState, journal_state
from models.states.revocation import RequestStatus, RevocationStatus
from models.views import events, fleet, history, listing, pages
from models.views.pages import Search
from settings import Settings
from tasks import explain
from worker.cli.dead_letters.show import next_step as step_of_letter
from worker.cli.grants.record import record
from worker.cli.journals.list import mend
from worker.web.database import Database
from worker.web.middleware import refusal_of
from worker.web.pages import asked
from worker.web.pages.glances import Glances
from worker.web.pages.live import Live, shown
from worker.web.pages.rendering import asset, page, search_url
from worker.web.refusal import SOON, Refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")

ON_A_PAGE: Final = 50
HAPPENED: Final = 200  # of a grant, and of all
TOLD: Final = 50  # deliveries of a grant
SEARCH_SECONDS: Final = 0.1  # so that an answer is there within 200 ms, the last step included
LONGEST_STATEMENT: Final = timedelta(seconds=3)
STATEMENT_ENDED: Final = "57014"  # SQLSTATE: statement_timeout ran out
REVOCATIONS: Final = (*RevocationStatus, RequestStatus.HELD)


class FleetPages:
    """All of them; `reads` is for what comes at once, `counts` for passes over every grant."""

    def __init__(self, settings: Settings, reads: Database, counts: Database) -> None:
        self._settings = settings
        self._reads = reads
        self._glances = Glances(settings, counts)
        self._live = Live(self._read)

    def add_to(self, app: web.Application, *, is_open: bool) -> None:
        """Let an application have them; `is_open`: no password is asked for."""
        made: dict[str, Handler] = {
            "/": self.fleet,
            "/clients/{name}": self.client,
            "/grants": self.grants,
            "/grants/{client}/{ref:.*}": self.grant,
            "/dead-letters": self.dead_letters,
            "/revocations": self.revocations,
            "/processes": self.processes,
            "/events": self.events,
            "/events/stream": self._live.stream,
        }
        app.add_routes([web.get(path, _told(handler, is_open=is_open)) for path, handler in made.items()])
        for name in ("fleet.css", "events.js"):
            app.add_routes([web.get(f"/static/{name}", partial(_asset, name))])
        app.on_shutdown.append(self._live.end)

    async def fleet(self, request: web.Request) -> web.Response:
        """What needs somebody, the counts, the clients."""
        del request
        found = await self._glances.latest()
        valves = await self._read(_valves)
        clients = [each | _used(valves[each["name"]]) for each in found["clients"] if each["name"] in valves]
        return page("fleet.html", at=found["at"], found=found, clients=clients)

    async def client(self, request: web.Request) -> web.Response:
        """One client."""
        name = asked.usable(request.match_info["name"], "client")
        found = await self._glances.latest()
        valves = await self._read(_valves)
        if name not in valves:
            raise _unknown_client(name)
        counted = next((each for each in found["clients"] if each["name"] == name), None)
        facts = {
            "name": name,
            "row": valves[name],
            "used": _used(valves[name]),
            "counted": counted,  # None: it was added since
            "attention": [each for each in found["attention"] if name in each["next"].split()],
            "causes": [each for each in found["causes"] if each["client"] == name],
        }
        return page("client.html", at=found["at"], **facts)

    async def grants(self, request: web.Request) -> web.Response:
        """A search."""
        query, after = request.query, asked.key_of(request.query)
        form = _form(query)
        found, clients, at = await self._read(partial(_searched, form=form, after=after))
        more = None if found.next is None else search_url(**{**form, "after": asked.written(found.next)})
        facts = {"form": form, "clients": clients, "states": pages.STATES, "found": found, "more": more}
        rows = [record(row) | {"error": _cause(row)} for row in found.rows]
        return page("grants.html", at=at, rows=rows, is_first=after is None, **facts)

    async def grant(self, request: web.Request) -> web.Response:
        """One grant, and why it is as it is."""
        client = asked.usable(request.match_info["client"], "client")
        ref = asked.usable(request.match_info["ref"] or request.query.get("ref", ""), "ref")
        return page("grant.html", **await self._read(partial(_grant, client=client, ref=ref, settings=self._settings)))

    async def dead_letters(self, request: web.Request) -> web.Response:
        """The newest first."""
        query = request.query
        form: dict[str, Any] = {"client": asked.text_of(query, "client"), "cause": asked.text_of(query, "cause")}
        closed = query.get("closed") == "yes"
        before = asked.number_of(query, "before")
        read = partial(pages.dead_letters, **form, closed=closed, before=before, most=ON_A_PAGE + 1)
        rows, at = await self._read(_with_time(read))
        letters = [dict(row) | {"next": step_of_letter(row)} for row in rows[:ON_A_PAGE]]
        form |= {"closed": "yes" if closed else None}
        more = _older("/dead-letters", form, rows)
        return page("dead_letters.html", at=at, letters=letters, form=form, more=more)

    async def revocations(self, request: web.Request) -> web.Response:
        """The newest first, each with how well its end is known."""
        query = request.query
        form: dict[str, Any] = {
            "client": asked.text_of(query, "client"),
            "status": asked.word_of(query, "status", REVOCATIONS),
        }
        before = asked.number_of(query, "before")

        def read(connection: Connection) -> tuple[Any, Any]:
            rows = pages.revocations(connection, **form, before=before, most=ON_A_PAGE + 1)
            return rows, held_revocation.held(connection)

        (rows, held), at = await self._read(_with_time(read))
        facts = {"held": held, "statuses": REVOCATIONS, "form": form, "more": _older("/revocations", form, rows)}
        return page("revocations.html", at=at, rows=rows[:ON_A_PAGE], **facts)

    async def processes(self, request: web.Request) -> web.Response:
        """Who is alive, and the journals that are not read to their end."""
        del request
        (processes, journals), at = await self._read(
            _with_time(lambda connection: (fleet.processes(connection), listing.journals(connection)))
        )
        waited_for = [each for each in map(_journal, journals) if each["state"] in _WAITED_FOR]
        return page("processes.html", at=at, processes=processes, journals=waited_for)

    async def events(self, request: web.Request) -> web.Response:
        """The last ones; a script adds those that come, where it may run."""
        del request
        rows, at = await self._read(
            _with_time(lambda connection: events.events(connection, most=HAPPENED, newest=True))
        )
        last = rows[-1]["id"] if rows else 0
        return page("events.html", at=at, events=[shown(row) for row in reversed(rows)], last=last)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        def carried_out(connection: Connection) -> T:
            pages.read_only(connection, within=LONGEST_STATEMENT)
            return work(connection)

        return await self._reads.run(carried_out)


_WAITED_FOR: Final = (JournalState.OPEN, JournalState.DAMAGED)


def _told(handler: Handler, *, is_open: bool) -> Handler:
    """A failure is a page that says in a sentence what it is and what to do."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if is_open and not _is_this_machine(request.host):
            return _failed(_by_a_name())
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  # the one place where every failure ends
            return _failed(_too_slow() if _is_ended(error) else refusal_of(error))

    return answer


def _failed(refusal: Refusal) -> web.Response:
    answer = page("failed.html", status=refusal.status, message=refusal.body["message"], next=refusal.body["next"])
    answer.headers.update(refusal.headers)
    return answer


def _is_ended(error: Exception) -> bool:
    """Whether a statement took longer than it may here."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == STATEMENT_ENDED


def _too_slow() -> Refusal:
    return Refusal(
        503,
        "too_slow",
        f"This takes longer than {LONGEST_STATEMENT.total_seconds():g} s",
        "name a client, or the beginning of a ref",
        retry_after=SOON,
    )


def _is_this_machine(host: str) -> bool:
    """Whether it was asked for by an address: a name may be a stranger's, who lets it lead here to read the pages."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    try:
        return name in ("", "localhost") or bool(ip_address(name.strip("[]")))
    except ValueError:
        return False


def _by_a_name() -> Refusal:
    return Refusal(
        403,
        "by_a_name",
        "Without a password these pages are shown at this machine's address alone, and you came by a name",
        "open http://127.0.0.1 with the same port, or set EVERGRANT_OPS_PASSWORD_FILE",
    )


async def _asset(name: str, request: web.Request) -> web.Response:
    del request
    return asset(name)


def _with_time(read: Callable[[Connection], T]) -> Callable[[Connection], tuple[T, Any]]:
    return lambda connection: (read(connection), fleet.clock(connection)["at"])


def _valves(connection: Connection) -> dict[str, Any]:
    return {row["name"]: row for row in pages.clients(connection)}


def _used(row: Mapping[str, Any]) -> dict[str, Any]:
    """How much of its rate a client has used in the minute that is under way; a share of None: it has no rate."""
    rate = row["rate_per_minute"]
    return {"minute_asked": row["minute_asked"], "share": None if not rate else row["minute_asked"] / rate}


def _form(query: MultiMapping[str]) -> dict[str, Any]:
    """A search as its form has it; raises Refusal where it cannot be used."""
    label = asked.label_of(query)
    return {
        "ref": asked.text_of(query, "ref"),
        "client": asked.text_of(query, "client"),
        "state": asked.state_of(query),
        "label": None if label is None else "=".join(label),
        "cause": asked.text_of(query, "cause"),
    }


def _searched(connection: Connection, *, form: Mapping[str, Any], after: pages.Key | None) -> tuple[Any, ...]:
    clients = {row["name"]: row["id"] for row in pages.clients(connection)}
    name, label = form["client"], form["label"]
    if name is not None and name not in clients:
        raise _unknown_client(name)
    search = Search(
        prefix=form["ref"] or "",
        client_id=None if name is None else clients[name],
        state=form["state"],
        label=None if label is None else (label.partition("=")[0], label.partition("=")[2]),
        cause=form["cause"],
    )
    over = monotonic() + SEARCH_SECONDS
    found = pages.grants(connection, search, after=after, most=ON_A_PAGE, enough=lambda: monotonic() > over)
    return found, list(clients), fleet.clock(connection)["at"]


def _cause(row: Mapping[str, Any]) -> str | None:
    return row["reason"] or (row["last_error_code"] if row["failures"] or row["suspect_at"] else None)


def _grant(connection: Connection, *, client: str, ref: str, settings: Settings) -> dict[str, Any]:
    located = listing.all_located(connection, ref, client)
    if not located:
        raise Refusal(404, "unknown_ref", f"There is no grant {ref!r} of client {client!r}", "search for its ref")
    (one,) = located
    ids = history.grants_of(connection, one.client_id, ref)
    row = listing.grant(connection, one.id)
    return {
        "at": fleet.clock(connection)["at"],
        "row": row,
        "shown": record(row),
        "told": explain.of_grant(connection, one.id, settings=settings),
        "work": pages.attempts(connection, one.id),
        "former": pages.former_tokens(connection, one.id),
        "consents": pages.consents(connection, ids),
        "happened": list(history.of_grants(connection, ids))[-HAPPENED:][::-1],
        "deliveries": pages.deliveries(connection, ids, most=TOLD),
    }


def _unknown_client(name: str) -> Refusal:
    return Refusal(404, UnknownClient.error, f"There is no client {name!r}", "choose one on the first page")


def _older(path: str, form: Mapping[str, Any], rows: Any) -> str | None:
    return search_url(path, **form, before=rows[ON_A_PAGE - 1]["id"]) if len(rows) > ON_A_PAGE else None


def _journal(row: RowMapping) -> dict[str, Any]:
    state = journal_state(
        drained=row["drained_at"] is not None,
        abandoned=row["abandoned_at"] is not None,
        damaged=row["damage"] is not None,
    )
    return dict(row) | {"state": state, "next": mend(row["id"]) if state == JournalState.DAMAGED else None}
