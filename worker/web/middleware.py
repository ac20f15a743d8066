"""Middleware of web: errors are JSON objects, nothing is kept by caches, all is counted."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter

import structlog
from aiohttp import web
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from models.database import is_locked
from models.sealing.keys import KeysError
from worker.audit.trail import GONE, OK
from worker.web import audited
from worker.web.database import DatabaseSilent
from worker.web.refusal import Refusal, database_away, keys_missing, locked, schema_behind
from worker.web.traffic import Traffic

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BEHIND = frozenset({"42P01", "3F000", "42703", "42883", "42501"})  # no such table, schema, column, function; no right
READ_ONLY = "25006"  # a standby: the primary is away

HTTP_ERRORS = {
    404: ("unknown_path", "There is nothing at this path", "see /openapi.json"),
    405: ("wrong_method", "This path takes another method", "see /openapi.json"),
    413: ("too_large", "The body is larger than 16 KiB, or that of a notice than 64", "send less"),
}


def middleware(traffic: Traffic) -> web.middleware:  # type: ignore[valid-type]
    """Turn every failure into an answer, and count."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun, refusal = perf_counter(), None
        audited.forget()
        try:
            response = await handler(request)
        except asyncio.CancelledError:
            _noted(GONE)
            traffic.count(request, "gone", perf_counter() - begun)
            raise
        except web.HTTPException as error:
            refusal = _of_http(error)
        except Exception as error:  # noqa: BLE001  # the one place where every failure ends
            refusal = refusal_of(error)
        refusal = _noted(OK if refusal is None else refusal.error) or refusal
        if refusal is not None:
            response = refusal.response()
        response.headers["Cache-Control"] = "no-store"
        traffic.count(request, str(response.status), perf_counter() - begun)
        return response

    return answer


def _noted(outcome: str) -> Refusal | None:
    """Write what there is to note before the answer leaves; returns what is answered where it cannot be written."""
    entry = audited.entry()
    try:
        if entry is not None:
            entry.write(outcome)
    except Refusal as refusal:
        return refusal
    return None


def refusal_of(error: Exception) -> Refusal:  # noqa: PLR0911  # one a kind
    """What is said of any failure; what is not the asker's business goes to the log alone."""
    match error:
        case Refusal():
            return error
        case KeysError():
            return keys_missing(error)
        case DatabaseSilent():
            log.warning("web.database_silent")
            return database_away()
        case DBAPIError() if is_locked(error):
            return locked()
        case DBAPIError() if getattr(error.orig, "sqlstate", None) in BEHIND:
            log.error("web.database_refused", reason=_first_line(error.orig))
            return schema_behind()
        case SQLAlchemyError() if is_locked(error):
            log.warning("web.locked", reason=_first_line(getattr(error, "orig", None) or error))
            return locked()
        case SQLAlchemyError() if _is_away(error):
            log.warning("web.database_away", reason=_first_line(getattr(error, "orig", None) or error))
            return database_away()
        case _:
            log.error("web.failed", exc_info=error)
            return Refusal(
                500, "internal", "This should not have happened", "report it, with the log of `evergrant web`"
            )


def _is_away(error: SQLAlchemyError) -> bool:
    names = {"OperationalError", "InterfaceError", "TimeoutError", "DisconnectionError"}
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state == READ_ONLY or any(kind.__name__ in names for kind in type(error).__mro__)


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _of_http(error: web.HTTPException) -> Refusal:
    code, message, next_step = HTTP_ERRORS.get(
        error.status, ("bad_request", f"The request cannot be read: {error.reason}", "see /openapi.json")
    )
    allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Refusal(error.status, code, message, next_step, headers=allowed)
