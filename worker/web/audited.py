"""What web notes in the audit: each request of an application that was let in, but those that only hurry a refresh."""

from contextvars import ContextVar
from typing import Any

import structlog
from aiohttp import web

from models.application import Holder
from models.sealing.vault import Vault
from worker.audit import trail as audit
from worker.audit.trail import AuditUnwritable, Trail
from worker.web.refusal import LATER, Refusal

log = structlog.get_logger()

# What is neither handed out nor ended there: each refresh is an event in the database anyway.
NOT_NOTED = frozenset({"/v1/grants/{ref}", "/v1/grants/{ref}/rejected", "/v1/grants/{ref}/refresh"})


class Entry:
    """What is noted of one request."""

    def __init__(self, trail: Trail, vault: Vault, **members: Any) -> None:
        self._trail = trail
        self._vault = vault
        self._members = members

    def note(self, **members: Any) -> None:
        """Add what is known by now."""
        self._members |= members

    def hand_out(self, access_token: str, *, generation: int) -> None:
        """Add which token is about to leave."""
        self.note(generation=generation, access_token=audit.hashed(self._vault, access_token, purpose="access"))

    def write(self, outcome: str) -> None:
        """Write it.

        Raises:
            Refusal: it cannot be written.

        """
        try:
            self._trail.write(self._members, outcome=outcome)
        except AuditUnwritable as error:
            log.error("web.audit_unwritable", reason=str(error))  # noqa: TRY400  # it says it all
            raise Refusal(
                503,
                "audit_unwritable",
                "Nothing is handed out or changed that cannot be noted in the audit",
                "have an operator see that EVERGRANT_AUDIT_FILE of `evergrant web` can be written",
                retry_after=LATER,
            ) from None


class Auditor:
    """Begins the entry of each request."""

    def __init__(self, trail: Trail, vault: Vault) -> None:
        self._trail = trail
        self._vault = vault

    def enter(self, request: web.Request, holder: Holder) -> None:
        """Begin an entry: who asks for what is known, and that they may ask."""
        route = request.match_info.route.resource
        path = route.canonical if route is not None else None
        if path in NOT_NOTED:
            return
        _entry.set(
            Entry(
                self._trail,
                self._vault,
                by="http",
                what=f"{request.method} {path}",
                request=audit.number(),
                who=holder.name,
                peer=_peer(request),
                ref=audit.unknown(request.match_info.get("ref", "")),  # until it is found: it may be a secret
            )
        )


# Of the request that is answered now: the requests of one connection come one after the other.
_entry: ContextVar[Entry | None] = ContextVar("entry", default=None)


def forget() -> None:
    """Begin another request."""
    _entry.set(None)


def entry() -> Entry | None:
    """The entry of this request; None: there is nothing to note."""
    return _entry.get()


def _peer(request: web.Request) -> str | None:
    if request.remote:
        return request.remote
    return audit.of_socket(request.transport and request.transport.get_extra_info("socket"))
