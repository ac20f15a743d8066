"""What a worker hears at the broker: its queues, and nothing else.

Celery's own consumer also asks the other workers at its start whom they have revoked (mingle), listens to their events
and elections (gossip), and sends its own (heartbeats, events). The database knows who lives.
"""

import threading
from datetime import timedelta
from typing import Any, Final

import structlog
from celery.worker import consumer

from worker.broker_fault import refusal_of

log = structlog.get_logger()

# Whoever refuses answers at once, and to connect anew is all that Celery can do about it.
REFUSED_WAIT: Final = timedelta(seconds=2)


class Consumer(consumer.Consumer):
    """Celery's consumer, deaf to everything but the queues, whatever the command line says."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options |= {"without_mingle": True, "without_gossip": True, "without_heartbeat": True, "task_events": False}
        super().__init__(*arguments, **options)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Connect anew; Celery's word for a refusal would be that it cannot connect."""
        if refusal_of(exc) is None:
            super().on_connection_error_before_connected(exc)
        else:
            _wait_where_it_refuses(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let go of the connection, and connect anew."""
        super().on_connection_error_after_connected(exc)
        if refusal_of(exc) is not None:
            _wait_where_it_refuses(exc)


def _wait_where_it_refuses(error: Exception) -> None:
    log.warning("worker.broker_refuses", error=type(error).__name__, again_in_s=REFUSED_WAIT.total_seconds())
    threading.Event().wait(REFUSED_WAIT.total_seconds())
