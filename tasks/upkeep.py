"""Upkeep: periodic chores, rows in `chores` that beat hands out, and refresh requests that arrive over the broker."""

import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from celery import shared_task
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError

import settings as configuration
from models import chore, held_revocation, process, public_listener, visit, webhook_upkeep
from models.database import Lane, is_locked, transaction, using
from models.states.chore import ChoreName
from models.views import expiring, overdue, refused_credentials
from tasks import asked_labels, erase, notices, second_look, waiting_requests
from tasks.runtime import lock_holders, retry, runtime

log = structlog.get_logger()

REQUEST_PATIENCE = timedelta(seconds=30)

# Providers have granted amnesties, so a dead grant's tokens are kept for a while before they are shredded.
SHRED_DEAD = text("""
with dead as (
    update evergrant.grants g set sealed_refresh_token = null, sealed_access_token = null
    where g.status = 'needs_consent' and g.sealed_refresh_token is not null
        and g.last_error_at < clock_timestamp() - cast(:kept as interval)
    returning g.id
)
update evergrant.former_tokens t
set sealed_refresh_token = '', sealed_access_token = null, known_dead_at = coalesce(known_dead_at, clock_timestamp())
from dead where t.grant_id = dead.id
""")
FORGET_CONNECT_REQUESTS = text("""
delete from evergrant.connect_requests where expires_at < clock_timestamp() - interval '1 day'
""")


def shred_dead_grants(connection: Connection) -> None:
    """Shred the sealed tokens of grants that died long ago."""
    connection.execute(SHRED_DEAD, {"kept": timedelta(days=configuration.current().dead_token_days)})


def forget_connect_requests(connection: Connection) -> None:
    """Forget code flows that ended or were never ended."""
    connection.execute(FORGET_CONNECT_REQUESTS)


def erase_dead(connection: Connection) -> None:
    """Forget whom dead grants belonged to, where that was asked for."""
    erase.erase(connection, runtime.current().journal)


def read_notices(connection: Connection) -> None:
    """Read what providers told by themselves, and mark the grants that it is about for an early refresh."""
    notices.read(connection, runtime.current())


def tend_tickets(connection: Connection) -> None:
    """End visits that nobody will end, forget tickets of long ago, and a public listener that nobody serves."""
    visit.tend(connection)
    public_listener.forget_silent(connection)


# Each in a transaction, and again in another one while it says that there is more.
CHORES: dict[str, Callable[[Connection], bool | None]] = {
    ChoreName.TELL_LATE: overdue.tell_late,
    ChoreName.TELL_WAITING: overdue.tell_waiting,
    ChoreName.TELL_EXPIRING: expiring.tell_expiring,
    ChoreName.SHRED_DEAD_GRANTS: shred_dead_grants,
    ChoreName.ERASE: erase_dead,
    ChoreName.FORGET_CONNECT_REQUESTS: forget_connect_requests,
    ChoreName.FORGET_ASKS: held_revocation.forget,
    ChoreName.READ_NOTICES: read_notices,
    ChoreName.FORGET_SILENT_PROCESSES: process.forget_silent,
    ChoreName.TELL_SECRETS_REFUSED: refused_credentials.tell_refused,
    ChoreName.TEND_WEBHOOKS: webhook_upkeep.tend,
    ChoreName.TEND_TICKETS: tend_tickets,
}


# What sends requests: in transactions of its own, for none is open while a provider is asked.
WITHOUT_TRANSACTION: dict[str, Callable[[], None]] = {
    ChoreName.LOOK_AGAIN: second_look.look_again,
    ChoreName.ASK_LABELS: asked_labels.ask_labels,
}


@shared_task(name="evergrant.upkeep", ignore_result=True)
def upkeep(name: Any = None, **_later: Any) -> None:
    """Carry out one chore by its name; an unknown name belongs to another release."""
    if not isinstance(name, str) or name not in CHORES.keys() | WITHOUT_TRANSACTION.keys():
        log.warning("upkeep.unknown_chore")
        return
    _to_do.append(name)
    # One thread at a time: the others have refreshes to start, and whoever is at it does what they leave.
    while _to_do and _doing.acquire(blocking=False):
        try:
            while _to_do:
                _carry_out(_to_do.popleft())
        finally:
            _doing.release()


_to_do: deque[str] = deque()
_doing = threading.Lock()


def _carry_out(name: str) -> None:
    """One chore; where a stranger's lock is in the way it is left until it is due again."""
    try:
        with using(Lane.CHORES):
            _do(name)
    except OperationalError as error:
        if not is_locked(error):
            raise
        log.warning("upkeep.locked", chore=name)
        lock_holders.tell()


def _do(name: str) -> None:
    if name in WITHOUT_TRANSACTION:
        WITHOUT_TRANSACTION[name]()
    is_done = False
    while not is_done:
        with transaction() as connection:
            is_done = name not in CHORES or not CHORES[name](connection)
            if is_done:
                chore.done(connection, name)


@shared_task(name="evergrant.request_refresh", ignore_result=True)
def request_refresh(ref: Any = None, client: Any = None, if_generation: Any = None, **_later: Any) -> None:
    """Ask for an early refresh by message; the same as the SQL function of this name."""
    _call("request_refresh", ref=ref, client=client, if_generation=if_generation)


@shared_task(name="evergrant.request_revocation", ignore_result=True)
def request_revocation(
    ref: Any = None,
    client: Any = None,
    reason: Any = None,
    idempotency_key: Any = None,
    erase: Any = False,  # messages have named arguments
    **_later: Any,
) -> None:
    """Ask for a grant's end by message; the same as the SQL function of this name."""
    _call("request_revocation", ref=ref, client=client, reason=reason, idempotency_key=idempotency_key, erase=erase)


def _call(function: str, **arguments: Any) -> None:
    """Call a function of the SQL surface; a message that it refuses is told and dropped."""
    if not all(_is_argument(value) for value in arguments.values()):
        log.warning("upkeep.not_a_request", function=function)
        return
    ask = partial(waiting_requests.ask, function, arguments)
    try:
        # The message is gone from the broker, and nobody would send it again.
        retry.while_database_away(ask, give_up=threading.Event(), patience=REQUEST_PATIENCE)
    except DBAPIError as error:
        waiting_requests.tell_refused(function, error)


def _is_argument(value: Any) -> bool:
    """Whether PostgreSQL can be asked with it; JSON may hold what is no text at all, such as half a surrogate pair."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    return value is None or isinstance(value, int)
