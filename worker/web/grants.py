"""Grants as web sees them: what an application may have of one, and what it may ask for."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, assert_never

import structlog

from models import application_requests, ticket
from models.application import Holder
from models.application_requests import Asked, Ending, NotAsked, RequestedRefresh
from models.sealing.vault import Vault, VaultError
from models.states.application import Right
from models.states.grant import GrantStatus
from models.states.installation import DatabaseState
from models.views import access_token as access_tokens
from models.views import listing
from models.views.access_token import TokenState
from models.views.listing import Located
from settings import Settings
from worker.web import audited
from worker.web.database import Batch, Database
from worker.web.explanations import Explanations
from worker.web.headers import Headers
from worker.web.news import News
from worker.web.refusal import (
    LATER,
    SOON,
    Refusal,
    ambiguous_ref,
    database_unfit,
    keys_missing,
    stopping,
    unknown_ref,
)
from worker.web.turns import Turns

log = structlog.get_logger()

# Whoever waits looks again this often, whether or not there is news.
LOOK_AGAIN = timedelta(seconds=2)
# The refusals that are about a grant, and so are explained.
EXPLAINED = frozenset({"needs_consent", "not_fresh_yet", "paused", "revoked"})


@dataclass(frozen=True, slots=True)
class Handed:
    """An access token as it is handed out."""

    access_token: str = field(repr=False)
    expires_at: datetime
    generation: int
    ref: str
    client: str
    headers: Mapping[str, str]
    api_header: str


class Grants:
    """Reads and asks for applications; an application of one client sees no other client's grants."""

    def __init__(self, settings: Settings, reads: Database, asked: Database, vault: Vault, news: News) -> None:
        """`asked`: for what applications ask for, which may wait for a lock; no read waits for that."""
        self._asked = asked
        self._turns = Turns()
        self._vault = vault
        self._news = news
        self._states = Batch(reads, partial(access_tokens.by_ref, environment=settings.environment))
        self._refresh_requests = Batch(asked, application_requests.refreshes)
        self._reads = reads
        self._explanations = Explanations(settings, reads)
        self._headers = Headers(settings)

    async def see(self, holder: Holder, ref: str, client: str | None) -> TokenState:
        """How a grant is now.

        Raises:
            Refusal: it is unknown, the ref belongs to several clients, or nothing is handed out from this database.

        """
        if not holder.may_see(client):
            raise unknown_ref(ref)
        found = [each for each in await self._states((ref, holder.only or client)) if holder.may_see(each.client)]
        if not found:
            raise unknown_ref(ref)
        if entry := audited.entry():
            entry.note(ref=ref, client=found[0].client if len(found) == 1 else None)
        if len(found) > 1:
            raise ambiguous_ref(ref, sorted(each.client for each in found))
        _refuse_unfit_database(found[0])
        return found[0]

    async def recognize(self, holder: Holder, ref: str, client: str | None) -> None:
        """Note in the audit whose grant it is, if it is one."""
        with suppress(Refusal):
            await self.see(holder, ref, client)

    async def token(
        self,
        holder: Holder,
        ref: str,
        client: str | None,
        *,
        min_ttl: timedelta,
        wait: timedelta,
        chosen: Mapping[str, str],
    ) -> Handed:
        """An access token that lasts, refreshed first where it is too old, and waited for `wait` at most.

        Raises:
            Refusal: there is none, and why.

        """
        state = await self.see(holder, ref, client)
        headers = self._headers.of(state, chosen)
        if not state.lasts(min_ttl):
            async with self._explaining(holder, state):
                state = await self._renewed(holder, state, min_ttl=min_ttl, wait=wait)
        return self._handed(state, headers, self._headers.api_header(state))

    async def request_refresh(
        self, holder: Holder, ref: str, client: str | None, *, rejected: int | None
    ) -> tuple[str, int]:
        """Ask for an early refresh; returns the grant's client and the generation to wait for.

        `rejected` is the generation of the access token that the provider's API refused, if that is why.

        Raises:
            Refusal: no refresh will come.

        """
        state = await self.see(holder, ref, client)
        async with self._explaining(holder, state):
            refuse_hopeless(state)
        return state.client, await self._request_refresh(holder, state, rejected)

    async def explained(self, holder: Holder, ref: str, client: str | None) -> dict[str, Any]:
        """Why a grant is as it is; to be told wakes nobody who sleeps.

        Raises:
            Refusal: it is unknown, the ref belongs to several clients, or nobody can say now.

        """
        found = await self._located(holder, ref, client)
        told = await self._explanations.of(found.id)
        if told is None:
            raise Refusal(503, "busy", "Nobody can say now", "try again", retry_after=SOON)
        names = {"ref": found.ref, "client": found.client, "status": found.status, "generation": found.generation}
        return names | {"explanation": told}

    async def end(self, holder: Holder, ending: Ending) -> Asked:
        """Ask for a revocation; its id is None for an unknown ref where that is no error.

        Raises:
            Refusal: the ref is unknown or ambiguous, the idempotency key is another ref's, or the grant is locked.

        """
        try:
            asked = replace(ending, client=await self._client_of(holder, ending))
        except Refusal as refusal:
            if ending.missing_ok and refusal.error == "unknown_ref":
                return Asked(None)
            raise
        try:
            async with self._turns.of(holder.id):
                return await self._asked.run(
                    lambda connection: application_requests.revocation(connection, asked, application=holder.name)
                )
        except NotAsked as error:
            raise _not_asked(error, asked) from None

    # Steps

    async def _located(self, holder: Holder, ref: str, client: str | None) -> Located:
        if not holder.may_see(client):
            raise unknown_ref(ref)
        only = holder.only or client
        rows = await self._reads.run(lambda connection: listing.all_located(connection, ref, only))
        found = [each for each in rows if holder.may_see(each.client)]
        if not found:
            raise unknown_ref(ref)
        if entry := audited.entry():
            entry.note(ref=ref, client=found[0].client if len(found) == 1 else None)
        if len(found) > 1:
            raise ambiguous_ref(ref, sorted(each.client for each in found))
        return found[0]

    @asynccontextmanager
    async def _explaining(self, holder: Holder, state: TokenState) -> AsyncIterator[None]:
        """Add to a refusal that is about the grant why it is as it is, and where a link for its user is had."""
        try:
            yield
        except Refusal as refusal:
            if refusal.error == "needs_consent" and Right.CONNECT in holder.may:
                refusal.body["connect"] = ticket.asked_at(state.ref, state.client)
            if refusal.error in EXPLAINED and (told := await self._explanations.of(state.id)) is not None:
                refusal.body["explanation"] = told
            raise

    async def _client_of(self, holder: Holder, ending: Ending) -> str | None:
        """The client of a grant that shall end; None: the database finds it among those of all.

        Raises:
            Refusal: it is of none that this key sees, or of several.

        """
        if not holder.may_see(ending.client):
            raise unknown_ref(ending.ref)
        if ending.client is not None or holder.clients is None or holder.only is not None:
            return holder.only or ending.client
        return (await self.see(holder, ending.ref, None)).client

    async def _renewed(self, holder: Holder, state: TokenState, *, min_ttl: timedelta, wait: timedelta) -> TokenState:
        """Ask for a token set and wait for it; news comes first, looking again makes sure."""
        refuse_hopeless(state)
        if state.client_paused:
            raise _client_paused(state)
        deadline = asyncio.get_running_loop().time() + wait.total_seconds()
        with self._news.of(state.id) as stored:
            await self._request_refresh(holder, state, None)
            while not state.lasts(min_ttl):
                refuse_hopeless(state)
                if self._news.ended:
                    raise stopping()
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    raise _not_fresh_yet(state, wait)
                await _told_or_late(stored, min(left, LOOK_AGAIN.total_seconds()))
                state = await self.see(holder, state.ref, state.client)
        return state

    async def _request_refresh(self, holder: Holder, state: TokenState, rejected: int | None) -> int:
        awaited = await self._refresh_requests(RequestedRefresh(holder.name, state.ref, state.client, rejected))
        if awaited is None:
            raise unknown_ref(state.ref)
        return awaited

    def _handed(self, state: TokenState, headers: Mapping[str, str], api_header: str) -> Handed:
        assert state.sealed_access_token is not None  # noqa: S101  # it lasts
        assert state.access_expires_at is not None  # noqa: S101
        try:
            token = self._vault.open(state.sealed_access_token, table="grants", row_id=state.id, purpose="access")
        except VaultError as error:
            log.error("web.token_unopened", client=state.client, ref=state.ref, reason=str(error))  # noqa: TRY400
            raise keys_missing(error) from None
        expires_at = state.access_expires_at.astimezone(UTC)
        return Handed(token, expires_at, state.generation, state.ref, state.client, headers, api_header)


async def _told_or_late(stored: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stored.wait()
    stored.clear()


def refuse_hopeless(state: TokenState) -> None:
    """Refuse where no refresh will come, whatever the wait.

    Raises:
        Refusal: the grant is not active.

    """
    match GrantStatus(state.status):
        case GrantStatus.ACTIVE:
            return
        case GrantStatus.NEEDS_CONSENT:
            raise Refusal(
                409,
                "needs_consent",
                f"{state.ref!r} needs its user's consent again ({state.reason})",
                "ask the user to connect again",
                reason=state.reason,
                ref=state.ref,
                client=state.client,
            )
        case GrantStatus.REVOKING | GrantStatus.REVOKED:
            raise Refusal(410, "revoked", f"{state.ref!r} is {state.status}", "ask the user to connect again")
        case GrantStatus.PAUSED:
            raise Refusal(
                503,
                "paused",
                f"{state.ref!r} is paused and its access token is too old",
                "have an operator run `evergrant grants resume`",
                retry_after=LATER,
            )
        case status:
            assert_never(status)


def _refuse_unfit_database(state: TokenState) -> None:
    if state.database_state in (DatabaseState.COPIED, DatabaseState.NOT_ADOPTED):
        raise database_unfit()


def _client_paused(state: TokenState) -> Refusal:
    """To wait would be vain: nothing is sent before somebody resumes it."""
    return Refusal(
        503,
        "not_fresh_yet",
        f"No fresh token of {state.ref!r} will come: an operator paused the client {state.client}",
        "have an operator run `evergrant clients resume`",
        retry_after=LATER,
    )


def _not_fresh_yet(state: TokenState, wait: timedelta) -> Refusal:
    cause = f" (last error: {state.last_error_code})" if state.last_error_code else ""
    return Refusal(
        503,
        "not_fresh_yet",
        f"No fresh token of {state.ref!r} came within {wait.total_seconds():g} s{cause}",
        "try again, or wait longer",
        retry_after=SOON,
    )


def _not_asked(error: NotAsked, ending: Ending) -> Refusal:
    match error.state:
        case application_requests.UNKNOWN_REF:
            return unknown_ref(ending.ref)
        case application_requests.AMBIGUOUS_REF:
            return ambiguous_ref(ending.ref)
        case _:
            return Refusal(
                409,
                "idempotency_key",
                f"The idempotency key {ending.idempotency_key!r} belongs to the revocation of another ref",
                "use a key of its own for each revocation",
            )
