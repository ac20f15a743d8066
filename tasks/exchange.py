"""Exchange: the message by which a worker learns that a customer came back, with the id of their visit.

The code is exchanged in threads beside Celery's, which are for refreshes. A message may come any number of times, and
be lost: beat offers the visit again.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from celery import shared_task

from models import client as clients
from models import connect_request, visit
from models.database import transaction
from models.sealing.keys import VaultError
from models.visit import Waiting
from tasks import code_exchange, connect
from tasks.code_exchange import Arrived, Journaled, Taken
from tasks.connect import Callback
from tasks.connect_errors import ClientPaused, ConnectError, DatabaseUnfit, ExchangeNotSent, StateUsed, StillRevoking
from tasks.journal import JournalBroken
from tasks.oauth.errors import OAuthError
from tasks.oauth.provider import Provider
from tasks.runtime import runtime
from tasks.runtime.runtime import Runtime
from tasks.settling.consent import ConsentError
from tasks.visit_ends import reason_of, write_end
from tasks.visits import SEALED_AS

log = structlog.get_logger()

# With a database that is away: no human waits at this process, and the answer is in its journal.
PATIENCE: Final = timedelta(hours=1)
# Nothing was sent, and what is in the way may go: the code is offered to a worker again for as long as it lives.
HELD = (ClientPaused, DatabaseUnfit, ExchangeNotSent, StillRevoking, JournalBroken, VaultError)


@shared_task(name="evergrant.exchange", ignore_result=True)
def exchange(visit_id: Any = None, **_later: Any) -> None:
    """Exchange the code that a visit has brought."""
    try:
        found = UUID(visit_id)
    except (ValueError, TypeError, AttributeError):
        log.warning("exchange.not_a_visit")
        return
    current = runtime.current()
    current.exchanges.submit(partial(carry_out, current, found))


def carry_out(runtime: Runtime, visit_id: UUID, *, patience: timedelta = PATIENCE) -> None:
    """Begin to exchange what a browser brought; what becomes of it stands in the row, for the page that waits.

    `patience`: with a database that is away; then whoever drains the journal stores it.
    """
    with transaction() as connection:
        waiting = visit.waiting(connection, visit_id)
        if waiting is None:
            return
        begun = connect_request.of_visit(connection, visit_id)
        known = clients.known(connection, [begun.client_id])[begun.client_id]

    def begin() -> tuple[Taken, Future[Arrived]] | None:
        with _noting(visit_id, begun.ref):
            registered = runtime.registrations.ready(known)
            callback = _callback(runtime, waiting, registered.provider)
            taken = code_exchange.take(runtime, registered, begun, callback)
            return taken, code_exchange.ask(runtime, taken)
        return None

    def end(taken: Taken, answer: Journaled) -> None:
        with _noting(visit_id, begun.ref):
            stored = code_exchange.settle(runtime, taken, answer, who=waiting.created_by, patience=patience)
            log.info("visit.connected", visit=str(visit_id), ref=begun.ref, how=stored.how)

    keep = partial(code_exchange.keep, runtime)
    if not runtime.exchanges.carry_out(begun.client_id, begin=begin, keep=keep, end=end):
        log.warning("visit.no_room", visit=str(visit_id), ref=begun.ref)  # it is offered again


@contextmanager
def _noting(visit_id: UUID, ref: str) -> Iterator[None]:
    """Note in a visit's row what went wrong, or what is in the way."""
    try:
        yield
    except StateUsed:  # another worker was faster
        return
    except HELD as error:
        log.warning("visit.held", visit=str(visit_id), ref=ref, reason=reason_of(error))
        with transaction() as connection:
            visit.hold(connection, visit_id, reason_of(error))
    except (ConnectError, ConsentError, OAuthError) as error:
        log.warning("visit.failed", visit=str(visit_id), ref=ref, reason=reason_of(error))
        with transaction() as connection:  # what was found before anything was sent is written nowhere yet
            write_end(connection, visit_id, error)


def _callback(runtime: Runtime, waiting: Waiting, provider: Provider) -> Callback:
    query = runtime.vault.open(waiting.sealed_answer, table="visits", row_id=waiting.id, purpose=SEALED_AS)
    return connect.read_callback(f"?{query}", code_parameter=provider.code_parameter)
