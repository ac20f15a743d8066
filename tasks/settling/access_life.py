"""Access life: asked for by introspection once a token set is stored whose answer did not tell it (RFC 7662).

    store   tasks/settling/write.py: with the life that was told last, if it is shorter, or the provider's default
    ask     one request each, a slot of the client's rate each, on the loop thread; no settle waits for it
    write   the life, and when the grant is due by it, where it still holds that token set

A crash, and an introspection that tells nothing, leave the grant as it was stored.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache, partial

import structlog
from sqlalchemy.exc import OperationalError

from models import access_life
from models import client as clients
from models.access_life import Asked, Learnt, Question
from models.database import transaction
from models.sealing.keys import VaultError
from models.states.client import Keep
from tasks.oauth import messages
from tasks.oauth.errors import OAuthError
from tasks.oauth.messages import Request
from tasks.oauth.provider import Provider
from tasks.policy.ends import next_due
from tasks.policy.introspection import Untold, introspected_life
from tasks.policy.valve import USABLE_SHARE
from tasks.runtime import retry
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime
from tasks.settling.consent import StoredConsent

log = structlog.get_logger()

DEADLINE = timedelta(seconds=5)
LOCK_WAIT = timedelta(seconds=1)
PATIENCE = timedelta(seconds=30)  # with a database that is away
MOST_TOLD = 4096  # of clients and reasons together; who comes later may be told again


@dataclass(frozen=True, slots=True)
class Asking:
    """A question with what is known of its grant, and the request that asks it."""

    question: Question
    asked: Asked = field(repr=False)
    request: Request


def learn_of(runtime: Runtime, registered: Registered, stored: StoredConsent) -> None:
    """Ask for the lives of what a consent became, and wait for the answers: its process may be about to end."""
    if not (questions := questions_of(stored)):
        return
    try:
        asked = _begin(runtime, registered, questions)
        _write(runtime, runtime.transport.submit(_ask_all(runtime, registered, asked)).result())
    except Exception:
        log.exception("life.not_asked", client=registered.known.name)  # the grant is stored; it is no less so for this


def questions_of(stored: StoredConsent) -> list[Question]:
    """What is to be asked of a consent that was stored."""
    both = [stored, *filter(None, [stored.second])]
    return [Question(each.grant_id, each.generation, due) for each in both if (due := each.asks_for_life)]


def learn_later(runtime: Runtime, registered: Registered, questions: Sequence[Question]) -> None:
    """Ask for the lives of what was just stored; nobody waits for the answers, of which each group is written once."""
    if asked := _begin(runtime, registered, questions):
        runtime.transport.launch(_ask_and_hand_over(runtime, registered, asked))


def _begin(runtime: Runtime, registered: Registered, questions: Sequence[Question]) -> list[Asking]:
    """Write the requests, and take a slot for each; where the client must not be asked now there are none."""
    client_id, due = registered.known.id, {each.grant_id: each for each in questions}
    with transaction() as connection:
        _, held = clients.may_send(connection, client_id, environment=runtime.settings.environment)
        found = access_life.read(connection, questions) if held is None and not runtime.stopping.is_set() else []
    asking = [
        Asking(due[each.grant_id], each, request)
        for each in found
        if (request := _request(runtime, registered, each)) is not None
    ]
    asking = asking[: runtime.introspections.begin(client_id, len(asking))]
    if len(asking) < len(questions):
        _tell_once(client_id, registered.provider.name, held or "not_asked")
    try:
        _debit(client_id, len(asking))
    except Exception:
        runtime.introspections.give_back(client_id, len(asking))
        raise
    return asking


def _debit(client_id: int, count: int) -> None:
    """Take slots of the client's rate, a transaction each: its valve is locked for an instant at a time."""
    for _ in range(count):
        with transaction() as connection:
            clients.debit(connection, client_id, usable_share=USABLE_SHARE)


def _request(runtime: Runtime, registered: Registered, asked: Asked) -> Request | None:
    try:
        token = runtime.vault.open(asked.sealed_access_token, table="grants", row_id=asked.grant_id, purpose="access")
        return messages.introspect(registered.registration, token=token, labels=asked.labels, hint="access_token")
    except (VaultError, OAuthError) as error:
        log.warning("life.no_request", grant_id=str(asked.grant_id), reason=str(error))
        return None


async def _ask_and_hand_over(runtime: Runtime, registered: Registered, asking: Sequence[Asking]) -> None:
    """Ask on the loop thread, and write elsewhere: the loop must not wait for a database."""
    try:
        learnt = await _ask_all(runtime, registered, asking)
    except Exception:
        log.exception("life.not_asked", client=registered.known.name)
        raise
    runtime.later(partial(_write, runtime, learnt))


async def _ask_all(runtime: Runtime, registered: Registered, asking: Sequence[Asking]) -> list[Learnt]:
    told = await asyncio.gather(*(_ask(runtime, registered, each) for each in asking))
    return [each for each in told if each is not None]


async def _ask(runtime: Runtime, registered: Registered, asking: Asking) -> Learnt | None:
    known, provider, asked = registered.known, registered.provider, asking.asked
    told: timedelta | Untold = Untold("cancelled")
    try:
        answer = await runtime.transport.send(asking.request, deadline=min(registered.times.deadline, DEADLINE))
        told = introspected_life(answer, started_at=asked.refreshed_at, at=asked.at)
    finally:
        runtime.introspections.end(known.id, told=isinstance(told, timedelta))
    if isinstance(told, Untold):
        _tell_once(known.id, provider.name, told.why)
        return None
    return Learnt(asking.question, told, _due_at(provider, asked, told))


def _due_at(provider: Provider, asked: Asked, life: timedelta) -> datetime:
    due = next_due(
        provider,
        life,
        asked.refreshed_at,
        asked.grant_id,
        on_demand=asked.keep == Keep.ON_DEMAND and provider.may_rest,
        refresh_end=asked.refresh_expires_at,
        access_ended_at=asked.older_access_ends_at,
    )
    return max(due, asked.refreshed_at + provider.grant_interval)


def _write(runtime: Runtime, learnt: Sequence[Learnt]) -> None:
    """Write what was told; where somebody has locked one of the rows, each by itself."""
    try:
        _learn(runtime, learnt)
    except Exception as error:
        if not retry.is_locked(error) or len(learnt) == 1:
            raise
        for each in learnt:
            with suppress(OperationalError):
                _learn(runtime, [each])


def _learn(runtime: Runtime, learnt: Sequence[Learnt]) -> None:
    def write() -> None:
        with transaction() as connection:
            access_life.learn(connection, learnt, wait=LOCK_WAIT)

    if learnt:
        retry.while_database_away(write, give_up=runtime.stopping, patience=PATIENCE, unless=retry.is_locked)


@lru_cache(maxsize=MOST_TOLD)
def _tell_once(client_id: int, provider: str, why: str) -> None:
    """Tell that introspections of a client's tokens tell no life; of each reason once a process."""
    log.warning(
        "life.untold",
        client_id=client_id,
        provider=provider,
        why=why,
        next="the life that was told before was taken, or default_life_seconds; see life_from in"
        " docs/reference/provider-file.md",
    )
