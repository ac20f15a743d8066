"""Exchange: the message by which a worker learns that customers came back, with the ids of their visits.

The codes are exchanged in threads beside Celery's, which are for refreshes. A message may come any number of times, and
be lost: beat offers the visits again.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy.exc import DBAPIError

from models import client as clients
from models import connect_request, visit
from models.database import Lane, is_locked, transaction, using
from tasks.exchange_group import Exchange, Together
from tasks.runtime import clock, lock_holders, runtime
from tasks.runtime.runtime import Runtime

log = structlog.get_logger()

# With a database that is away: no human waits at this process, and the answer is in its journal.
PATIENCE: Final = timedelta(hours=1)


@shared_task(name="evergrant.exchange", ignore_result=True)
def exchange(visit_ids: Any = None, **_later: Any) -> None:
    """Exchange the codes that visits have brought."""
    if found := list(_read(visit_ids)):
        current = runtime.current()
        current.exchanges.submit(partial(carry_out, current, found), visits=" ".join(map(str, found)))


def _read(visit_ids: Any) -> Iterator[UUID]:
    for each in visit_ids if isinstance(visit_ids, list) else [visit_ids]:
        try:
            yield UUID(each)
        except (ValueError, TypeError, AttributeError):
            log.warning("exchange.not_a_visit")


def carry_out(runtime: Runtime, visit_ids: Sequence[UUID], *, patience: timedelta = PATIENCE) -> None:
    """Begin to exchange what browsers brought; what becomes of it stands in the rows, for the pages that wait.

    `patience`: with a database that is away; then whoever drains the journal stores it.
    """
    for group in _by_client(_found(runtime, visit_ids, patience)):
        try:
            _begin(runtime, group)
        except Exception:  # what fails for one client's customers keeps no other's waiting
            for each in group:
                log.exception("visit.not_begun", **each.whose)


def _found(runtime: Runtime, visit_ids: Sequence[UUID], patience: timedelta) -> list[Exchange]:
    """Those of these visits whose code is to be sent; of the others another worker was faster."""
    steps, until = Together(runtime), clock.boot() + patience
    with using(Lane.ASKED), transaction() as connection:
        waiting = visit.waiting(connection, visit_ids)
        begun = connect_request.of_visits(connection, [each.id for each in waiting])
        known = clients.known(connection, sorted({each.client_id for each in begun.values()}))
    return [
        Exchange(steps, each, begun[each.id], known[begun[each.id].client_id], until)
        for each in waiting
        if not begun[each.id].used
    ]


def _by_client(found: Sequence[Exchange]) -> list[list[Exchange]]:
    groups: dict[int, list[Exchange]] = {}
    for each in found:
        groups.setdefault(each.client_id, []).append(each)
    return list(groups.values())


def _begin(runtime: Runtime, group: Sequence[Exchange]) -> None:
    """Begin a client's exchanges; those that do not begin are offered again."""
    try:
        for each in runtime.exchanges.carry_out(group):
            if runtime.stopping.is_set():
                log.info("visit.worker_stops", **each.whose)
            else:
                log.warning("visit.no_room", **each.whose)
    except DBAPIError as error:
        if not is_locked(error):
            raise
        for each in group:
            log.warning("visit.locked", **each.whose)
        lock_holders.tell()
