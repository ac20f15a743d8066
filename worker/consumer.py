"""What a worker hears at the broker: its queues, and nothing else.

Celery's own consumer also asks the other workers at its start whom they have revoked (mingle), listens to their events
and elections (gossip), and sends its own (heartbeats, events). The database knows who lives.
"""

from typing import Any

from celery.worker import consumer


class Consumer(consumer.Consumer):
    """Celery's consumer, deaf to everything but the queues, whatever the command line says."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options |= {"without_mingle": True, "without_gossip": True, "without_heartbeat": True, "task_events": False}
        super().__init__(*arguments, **options)
