"""Rate slot: what an operator's command sends waits for a slot of the client's rate, as everything else does."""

from datetime import timedelta

from models import client as clients
from models.database import transaction
from tasks.policy.valve import TOLERANCE, USABLE_SHARE
from tasks.runtime import clock
from tasks.runtime.runtime import Runtime

LONGEST_NAP = timedelta(seconds=5)


def wait_for_slot(runtime: Runtime, client_id: int, *, patience: timedelta) -> bool:
    """Take a slot of the client's rate as soon as there is one; False: none came in time, or the process stops."""
    until = clock.boot() + patience
    while not runtime.stopping.is_set():
        with transaction() as connection:
            wait = clients.take_slot(connection, client_id, usable_share=USABLE_SHARE, tolerance=TOLERANCE)
        if wait is None:
            return True
        if clock.boot() + wait > until:
            return False
        runtime.stopping.wait(min(wait, LONGEST_NAP).total_seconds())
    return False
