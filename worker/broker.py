"""The broker's transport: a postbox. No second book of claims, and whatever a stranger wrote costs no worker its life.

Kombu pops an element of a list, and it and Celery obey what stands in it. So every element is read here first, never
more of it than 64 KiB, and written anew (envelope.py); one that is no message is counted, told without its content, and
forgotten. It takes no place among what is under way, and its queue goes to the end of the row: rubbish costs the time
that it takes to read it. Where our messages go is what this process has declared, not what stands in the broker.

PostgreSQL knows claims, and has them claimed again when a worker took them to its grave: so their messages are not
copied into the broker until they are acknowledged, as kombu does with all.
"""

from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog
from kombu import transport as transports
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps
from redis._parsers import _RESP2Parser
from redis._parsers.socket import SocketBuffer
from redis.exceptions import ResponseError
from redis.utils import SENTINEL

from tasks.runtime import clock, meters
from worker import envelope
from worker.envelope import MOST_BYTES, Unlawful

log = structlog.get_logger()

EXCHANGE: Final = "evergrant"
TOLD_EVERY: Final = timedelta(seconds=1)  # a flood of rubbish is no flood of lines
NO_LIST: Final = "WRONGTYPE"

# All that handling a stranger's message may raise; none of them tells of the connection.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


# Their messages name claims, which lapse and are claimed again (docs/decisions/0015).
OF_CLAIMS = frozenset({"evergrant.refresh", "evergrant.revoke", "evergrant.exchange"})


class QoS(redis.QoS):
    """What was taken and is not acknowledged; kombu copies it into the broker, here only what would be lost.

    A copy comes back after the visibility time-out, when a claim has long lapsed; to make and delete it costs half of
    a message. What an application asked for by message stands nowhere else, so that is copied.

    Once Celery has let go of a broken connection, what became of its messages can be told to nobody: claims lapse, and
    copies come back. Kombu would fail for want of an address, which Celery takes for the end of the process.
    """

    _delivered: Any  # the stubs: it may be None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._uncopied: set[str] = set()

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take a message; where the broker takes no copy, it is here alone, for it is in no queue any more."""
        if not names_claims(message):
            try:
                super().append(message, delivery_tag)
            except ResponseError as error:
                log.warning("worker.not_copied", error=type(error).__name__)
                self._uncopied.add(delivery_tag)
            else:
                return
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that was dealt with; a copy that the broker does not let go of comes back."""
        if not (self._is_here_alone(delivery_tag) or self._is_cut_off):
            try:
                super().ack(delivery_tag)
            except ResponseError as error:
                log.warning("worker.copy_stays", error=type(error).__name__)
            else:
                return
        self._forget(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Forget a message, or give it back to its queue."""
        if not (self._is_here_alone(delivery_tag) or self._is_cut_off):
            super().reject(delivery_tag, requeue=requeue)
            return
        if requeue and not self._is_cut_off:
            virtual.Channel._restore(self.channel, self._delivered[delivery_tag])  # noqa: SLF001
        self._forget(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """At a clean end: give back what nobody began, so that other workers have it before its claim lapses."""
        if self._is_cut_off:
            self._delivered.clear()
            return
        for tag in [tag for tag in self._delivered if self._is_here_alone(tag)]:
            virtual.Channel._restore(self.channel, self._delivered.pop(tag))  # noqa: SLF001
        super().restore_unacked(client)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Give a copy back to its queue; one that is none of ours is forgotten."""
        try:
            super().restore_by_tag(tag, client=client, leftmost=leftmost)
        except MALFORMED:
            refusals.tell("not_json")
            self._remove_from_indices(tag).execute()  # type: ignore[attr-defined]  # the stubs lack it

    @property
    def _is_cut_off(self) -> bool:
        """Whether kombu has closed this connection, or the channel."""
        return getattr(self.channel.connection, "client", None) is None

    def _is_here_alone(self, delivery_tag: str) -> bool:
        message = self._delivered.get(delivery_tag)
        return message is not None and (names_claims(message) or delivery_tag in self._uncopied)

    def _forget(self, delivery_tag: str) -> None:
        self._uncopied.discard(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)


def names_claims(message: Any) -> bool:
    """Whether a message is of those that beat publishes for claimed rows."""
    return message.headers.get("task") in OF_CLAIMS


class Bounded(SocketBuffer):
    """What comes from the broker; of an element that is too large it keeps nothing but that it is."""

    def read(self, length: int, timeout: float | object = SENTINEL) -> bytes:
        """Read so many bytes and the line's end."""
        if length <= MOST_BYTES:
            return super().read(length, timeout)
        left = length + len(b"\r\n")
        while left := left - len(self._buffer.read(left)):
            self.purge()
            self._read_from_socket(timeout=timeout)
        return bytes(MOST_BYTES + 1)


class Parser(_RESP2Parser):
    """The broker's protocol, read through that."""

    def on_connect(self, connection: Any) -> None:
        """Begin with a new connection."""
        super().on_connect(connection)  # type: ignore[no-untyped-call]
        assert self._sock is not None  # noqa: S101  # it is connected
        self._buffer = Bounded(self._sock, self.socket_read_size, connection.socket_timeout)


class Client(redis.PrefixedStrictRedis):
    """A client that knows what it takes out of a queue."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read an answer; an element of a queue is written anew.

        Raises:
            Unlawful: it is no message.

        """
        found = super().parse_response(connection, command_name, **options)
        if command_name != "BRPOP" or not found:
            return found
        key, raw = found
        queue = queue_of(key)
        try:
            return key, envelope.rewritten(raw, exchange=EXCHANGE, queue=queue, now=clock.wall())
        except Unlawful as error:
            error.queue = queue
            raise


def queue_of(key: bytes) -> str:
    """The queue of a list, which may be that of one of its priorities."""
    return str(bytes_to_str(key)).rsplit(redis.Channel.sep, 1)[0]


class Channel(redis.Channel):
    """A channel that drops what is no message, says so, and makes one client for all that it sends."""

    QoS = QoS

    _sender: Any = None

    def get_table(self, exchange: str) -> Any:
        """The queues of an exchange, as this process has declared them: whoever writes into the broker adds none."""
        return virtual.Channel.get_table(self, exchange)

    def _get_client(self) -> Any:
        return partial(Client, global_keyprefix=self.global_keyprefix)

    def _connparams(self, asynchronous: bool = False) -> Any:
        parameters = super()._connparams(asynchronous)  # type: ignore[misc]  # the stubs lack it
        return {**parameters, "parser_class": Parser, "protocol": 2}

    def _do_restore_message(
        self, payload: Any, _exchange: Any, routing_key: Any, pipe: Any, leftmost: bool = False
    ) -> None:
        """Write a copy back into its queue; kombu would write whatever it cannot into the log."""
        queues = self._lookup(EXCHANGE, routing_key) if isinstance(payload, dict) else []
        for queue in queues:
            (pipe.lpush if leftmost else pipe.rpush)(queue, dumps(payload))
        if not queues:
            refusals.tell("not_json")

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
                refusals.tell("not_handled", error)
                if not message.acknowledged:
                    message.ack()

        made: str = super().basic_consume(queue, no_ack, handle, consumer_tag, **more)
        return made

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # the stubs lack it
        except Unlawful as error:
            self._queue_cycle.rotate(error.queue)  # type: ignore[attr-defined]  # the stubs lack it
            refusals.tell(error.reason)
        except MALFORMED as error:
            refusals.tell("not_handled", error)
        except ResponseError as error:
            if not str(error).startswith(NO_LIST):
                raise
            self._remove_what_is_no_list()
        return True

    def _remove_what_is_no_list(self) -> None:
        """Make room for a queue where somebody has put something else under its name, which nobody could take out."""
        with self.conn_or_acquire() as client:
            for queue in self.active_queues:
                for step in self.priority_steps:
                    key = self._q_for_pri(queue, step)  # type: ignore[attr-defined]  # the stubs lack it
                    if client.type(f"{self.global_keyprefix}{key}") not in (b"list", b"none"):
                        client.delete(key)
                        refusals.tell("not_json")


class Transport(redis.Transport):
    """Redis or Valkey, with that channel."""

    Channel = Channel


class Refusals:
    """What was refused: each is counted, and told at most once a second, by the thread that reads."""

    def __init__(self) -> None:
        self._untold = 0
        self._told_at: timedelta | None = None

    def tell(self, reason: str, error: Exception | None = None) -> None:
        """Note one; of an error the name alone, for its text may repeat what was written."""
        meters.MESSAGES_REFUSED.add({(reason,): 1})
        self._untold += 1
        now = clock.boot()
        if self._told_at is None or now - self._told_at >= TOLD_EVERY:
            named = {} if error is None else {"error": type(error).__name__}
            log.warning("broker.not_a_message", reason=reason, count=self._untold, **named)
            self._untold, self._told_at = 0, now


refusals = Refusals()


def use() -> None:
    """Let every broker URL of this process lead to this transport: kombu chooses by the URL's scheme alone.

    And remembers what it has chosen.
    """
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
    transports._transport_cache.clear()  # type: ignore[attr-defined]  # noqa: SLF001  # the stubs lack it
