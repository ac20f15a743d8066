"""The broker's transport: no second book of claims, and whatever a stranger wrote costs no worker its life.

Kombu pops an element of a list; what is raised while that is read, by itself or by Celery, would end the process.
A task that is unknown or a body that does not decode Celery refuses by itself; here is what fails before that: an
element that is no JSON, or no message, or one whose headers are not what Celery writes.

PostgreSQL knows claims, and has them claimed again when a worker took them to its grave: so their messages are not
copied into the broker until they are acknowledged, as kombu does with all.
"""

from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES, redis, virtual

log = structlog.get_logger()

# All that reading a stranger's JSON may raise; none of them tells of the connection.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


# Their messages name claims, which lapse and are claimed again (docs/decisions/0015).
OF_CLAIMS = frozenset({"evergrant.refresh", "evergrant.revoke"})


class QoS(redis.QoS):
    """What was taken and is not acknowledged; kombu copies it into the broker, here only what would be lost.

    A copy comes back after the visibility time-out, when a claim has long lapsed; to make and delete it costs half of
    a message. What an application asked for by message stands nowhere else, so that is copied.

    Once Celery has let go of a broken connection, what became of its messages can be told to nobody: claims lapse, and
    copies come back. Kombu would fail for want of an address, which Celery takes for the end of the process.
    """

    _delivered: Any  # the stubs: it may be None

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take a message."""
        if names_claims(message):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that was dealt with."""
        if self._is_here_alone(delivery_tag) or self._is_cut_off:
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Forget a message, or give it back to its queue."""
        if not (self._is_here_alone(delivery_tag) or self._is_cut_off):
            super().reject(delivery_tag, requeue=requeue)
            return
        if requeue and not self._is_cut_off:
            virtual.Channel._restore(self.channel, self._delivered[delivery_tag])  # noqa: SLF001
        virtual.QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """At a clean end: give back what nobody began, so that other workers have it before its claim lapses."""
        if self._is_cut_off:
            self._delivered.clear()
            return
        for tag in [tag for tag in self._delivered if self._is_here_alone(tag)]:
            virtual.Channel._restore(self.channel, self._delivered.pop(tag))  # noqa: SLF001
        super().restore_unacked(client)

    @property
    def _is_cut_off(self) -> bool:
        """Whether kombu has closed this connection, or the channel."""
        return getattr(self.channel.connection, "client", None) is None

    def _is_here_alone(self, delivery_tag: str) -> bool:
        message = self._delivered.get(delivery_tag)
        return message is not None and names_claims(message)


def names_claims(message: Any) -> bool:
    """Whether a message is of those that beat publishes for claimed rows."""
    return message.headers.get("task") in OF_CLAIMS


class Channel(redis.Channel):
    """A channel that drops what is no message, says so, and makes one client for all that it sends."""

    QoS = QoS

    _sender: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """A client of the pool: kombu makes one a command, which takes longer than the command."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]  # the stubs lack it
        if self._sender is None or self._sender.connection_pool is not self.pool:
            self._sender = super()._create_client()  # type: ignore[misc]
        return self._sender

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
