"""Exchange: the message by which a worker learns that a customer came back, with the id of their visit.

The code is exchanged in a thread beside Celery's, which are for refreshes. A message may come any number of times, and
be lost: beat offers the visit again.
"""

from functools import partial
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task

from tasks import visits
from tasks.runtime import runtime
from tasks.runtime.runtime import Beside

log = structlog.get_logger()


@shared_task(name="evergrant.exchange", ignore_result=True)
def exchange(visit_id: Any = None, **_later: Any) -> None:
    """Exchange the code that a visit has brought."""
    try:
        found = UUID(visit_id)
    except (ValueError, TypeError, AttributeError):
        log.warning("exchange.not_a_visit")
        return
    current = runtime.current()
    current.beside(partial(visits.exchange, current, found), Beside.EXCHANGE)
