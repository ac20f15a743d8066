"""The broker's transport: whatever a stranger wrote into a queue of ours costs no worker its life.

Kombu pops an element of a list; what is raised while that is read, by itself or by Celery, would end the process.
A task that is unknown or a body that does not decode Celery refuses by itself; here is what fails before that: an
element that is no JSON, or no message, or one whose headers are not what Celery writes.
"""

from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES, redis

log = structlog.get_logger()

# All that reading a stranger's JSON may raise; none of them tells of the connection.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Channel(redis.Channel):
    """A channel that drops what is no message, and says so."""

    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: Any, **more: Any) -> str:
        """Consume; a message that cannot be handled is acknowledged, else it would keep its place for ever."""

        def handle(message: Any) -> None:
            try:
                callback(message)
            except MALFORMED as error:
                _tell(error)
                if not message.acknowledged:
                    message.ack()

        made: str = super().basic_consume(queue, no_ack, handle, consumer_tag, **more)
        return made

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # the stubs lack it
        except MALFORMED as error:
            _tell(error)
            return True


class Transport(redis.Transport):
    """Redis or Valkey, with that channel."""

    Channel = Channel


def _tell(error: Exception) -> None:
    """The name of the error alone: its text may repeat what was written."""
    log.warning("broker.not_a_message", error=type(error).__name__)


def use() -> None:
    """Let every broker URL of this process lead to this transport: kombu chooses by the URL's scheme alone."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
