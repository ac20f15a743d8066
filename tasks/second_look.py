"""Second look: ask grants once more that were declared dead, in a worker, as any refresh is asked.

Claimed within the client's rate where its valve is open; started, guarded, journaled and settled like any attempt.
A token set brings the grant back (`grant.recovered`). A refusal changes nothing: it is no news.
"""

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import second_look
from models.claim import Job
from models.database import transaction
from models.states.grant import GrantStatus
from tasks import refresh
from tasks.policy.second_look import LOOKS
from tasks.policy.valve import TOLERANCE, USABLE_SHARE
from tasks.runtime import runtime
from tasks.runtime.runtime import Runtime

log = structlog.get_logger()

MOST = 50  # of one client, each time: those who are alive come first


def look_again() -> None:
    """Ask those of whom it is time."""
    worker = runtime.current()
    with transaction() as connection:
        waiting = second_look.waiting(connection)
    for each in waiting:
        jobs = _claim(worker, each.client_id, min(each.grants, MOST))
        if jobs:
            log.info("second_look", client_id=each.client_id, grants=len(jobs))
            refresh.carry_out(worker, jobs, each.client_id, status=GrantStatus.NEEDS_CONSENT)


def _claim(worker: Runtime, client_id: int, most: int) -> list[Job]:
    """Take as many as the client's rate has slots for now."""
    with transaction() as connection:
        slots = 0
        while slots < most and not _waits_for_a_slot(connection, client_id):
            slots += 1
        if not slots:
            return []
        lease = worker.settings.dispatch_lease
        return second_look.claim(connection, client_id, slots, lease=lease, waits=LOOKS)


def _waits_for_a_slot(connection: Connection, client_id: int) -> bool:
    wait = clients.take_slot(connection, client_id, usable_share=USABLE_SHARE, tolerance=TOLERANCE)
    return wait is not None
