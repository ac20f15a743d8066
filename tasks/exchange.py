"""Exchange: the message by which a worker learns that a customer came back, with the id of their visit.

The code is exchanged in threads beside Celery's, which are for refreshes. A message may come any number of times, and
be lost: beat offers the visit again.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy.exc import DBAPIError

from models import client as clients
from models import connect_request, visit
from models.client import Known
from models.connect_request import Begun
from models.database import Lane, is_locked, transaction, using
from models.sealing.keys import VaultError
from models.visit import Waiting
from tasks import code_exchange, connect
from tasks.code_exchange import Answered, Journaled, Taken
from tasks.connect import Callback
from tasks.connect_errors import ClientPaused, ConnectError, DatabaseUnfit, ExchangeNotSent, StateUsed, StillRevoking
from tasks.journal import JournalBroken
from tasks.oauth.answer import Answer
from tasks.oauth.errors import OAuthError
from tasks.oauth.provider import Provider
from tasks.runtime import clock, lock_holders, runtime
from tasks.runtime.exchanges import NotBegun
from tasks.runtime.runtime import Runtime
from tasks.settling import access_life
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
    current.exchanges.submit(partial(carry_out, current, found), visit=str(found))


def carry_out(runtime: Runtime, visit_id: UUID, *, patience: timedelta = PATIENCE) -> None:
    """Begin to exchange what a browser brought; what becomes of it stands in the row, for the page that waits.

    `patience`: with a database that is away; then whoever drains the journal stores it.
    """
    with using(Lane.ASKED), transaction() as connection:
        waiting = visit.waiting(connection, visit_id)
        if waiting is None:
            return
        begun = connect_request.of_visit(connection, visit_id)
        known = clients.known(connection, [begun.client_id])[begun.client_id]
    if begun.used:  # another worker was faster
        return
    # Where it does not begin it is offered again.
    try:
        match runtime.exchanges.carry_out(Exchange(runtime, waiting, begun, known, patience)):
            case NotBegun.NO_ROOM:
                log.warning("visit.no_room", visit=str(visit_id), ref=begun.ref)
            case NotBegun.STOPPING:
                log.info("visit.worker_stops", visit=str(visit_id), ref=begun.ref)
    except DBAPIError as error:
        if not is_locked(error):
            raise
        log.warning("visit.locked", visit=str(visit_id), ref=begun.ref)
        lock_holders.tell()


class Exchange:
    """The exchange of what one visit brought, in its steps (tasks/runtime/exchanges.py).

    Its transactions are in the lane of what somebody asked for: whoever holds a lock in its way holds up no refresh.
    """

    taken: Taken
    journaled: Journaled
    looking: Future[Answer] | None

    def __init__(self, runtime: Runtime, waiting: Waiting, begun: Begun, known: Known, patience: timedelta) -> None:
        self.client_id = known.id
        self.whose: Mapping[str, str] = {"visit": str(waiting.id), "ref": begun.ref}
        self._runtime = runtime
        self._waiting = waiting
        self._begun = begun
        self._known = known
        self._until = clock.boot() + patience

    def begin(self) -> tuple[Future[Answered], timedelta] | None:
        """Take the one use of the code, and send it."""
        with using(Lane.ASKED), self._noting():
            registered = self._runtime.registrations.ready(self._known)
            callback = _callback(self._runtime, self._waiting, registered.provider)
            self.taken = code_exchange.take(self._runtime, registered, self._begun, callback)
            return code_exchange.ask(self._runtime, self.taken), registered.times.deadline
        return None

    def keep(self, answered: Future[Answered]) -> Future[Answer] | None:
        """Journal the answer; then ask whose account it is, where it does not tell that."""
        self.journaled = code_exchange.keep(self._runtime, self.taken, answered.result())
        self.looking = code_exchange.look(self._runtime, self.taken, self.journaled)
        return self.looking

    def end(self) -> None:
        """Store the grant, or write why there is none."""
        if self._runtime.giving_up.is_set() and self.journaled.position is not None:
            return  # whoever drains the journal stores it
        left = self._until - clock.boot()
        account = None if self.looking is None else code_exchange.account_of(self.taken, self.looking)
        try:
            with using(Lane.ASKED):
                stored = code_exchange.settle(
                    self._runtime,
                    self.taken,
                    self.journaled,
                    account=account,
                    who=self._waiting.created_by,
                    patience=left,
                    waits_for_locks=left <= timedelta(0),
                )
        except (ConnectError, ConsentError) as error:  # which stands in the row
            log.warning("visit.failed", **self.whose, reason=reason_of(error))
        else:
            log.info("visit.connected", **self.whose, how=stored.how)
            access_life.learn_later(self._runtime, self.taken.registered, access_life.questions_of(stored))

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note in the visit's row what went wrong before anything was sent, or what is in the way."""
        visit_id = self._waiting.id
        try:
            yield
        except StateUsed:  # another worker was faster
            return
        except HELD as error:
            log.warning("visit.held", **self.whose, reason=reason_of(error))
            with transaction() as connection:
                visit.hold(connection, visit_id, reason_of(error))
        except (ConnectError, OAuthError) as error:
            log.warning("visit.failed", **self.whose, reason=reason_of(error))
            with transaction() as connection:
                write_end(connection, visit_id, error)


def _callback(runtime: Runtime, waiting: Waiting, provider: Provider) -> Callback:
    query = runtime.vault.open(waiting.sealed_answer, table="visits", row_id=waiting.id, purpose=SEALED_AS)
    return connect.read_callback(f"?{query}", code_parameter=provider.code_parameter)
