"""The teller: one thread of a worker that sends what webhooks are to be told.

It has a loop thread and a database connection of its own, so that no receiver and no backlog of letters takes a
refresh's place. It takes deliveries under a lease and writes back how they ended; whoever is killed in between leaves
them to others, and a receiver may see one twice. Requests run side by side, a limited number for each webhook: one
that hangs keeps no other waiting.
"""

import queue
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from models import webhook, webhook_delivery
from models.database import Lane, transaction, using
from models.sealing.keys import VaultError
from models.sealing.vault import Vault
from models.states.event import EventType
from models.webhook import Ready
from models.webhook_delivery import Sent, Taken
from settings import Settings
from tasks.oauth.answer import Silence
from tasks.oauth.transport import Transport
from tasks.policy import telling
from tasks.runtime import clock, meters
from tasks.telling import letter

log = structlog.get_logger()

DEADLINE = timedelta(seconds=10)  # of one request
LEASE = timedelta(seconds=3)  # of a delivery: so late is what a process has left that was killed
RENEWED_AFTER = timedelta(seconds=1)  # while it is being sent
AT_ONCE = 32  # requests of one webhook that this process has under way
LOOK_SECONDS = 0.2  # between two looks for something to send
IDLE_SECONDS = 2.0  # the same, while there is no webhook at all
FAILED_SECONDS = 1.0  # after what failed, such as a database that is away


@dataclass(frozen=True, slots=True)
class _Flying:
    """A delivery that is being sent; `renew_at`, by the time since boot, its lease needs to be renewed."""

    webhook_id: int
    tries: int
    renew_at: timedelta


class Teller:
    """Sends to webhooks until it is ended."""

    def __init__(self, vault: Vault, settings: Settings) -> None:
        self._vault = vault
        self._environment = settings.environment
        self._transport = Transport(name="webhook-http", wall=clock.wall)
        self._ended = threading.Event()
        self._answered: queue.SimpleQueue[Sent | None] = queue.SimpleQueue()
        self._unwritten: list[Sent] = []
        self._under_way: dict[int, _Flying] = {}
        self._has_webhooks = False  # until one is seen this process opens no connection for them
        self._unopened: set[int] = set()  # webhooks whose secret this process cannot open: told once
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def end(self) -> None:
        """Begin nothing more, and write what came of what is under way; what is left others send."""
        self._ended.set()
        self._answered.put(None)
        self._thread.join(DEADLINE.total_seconds() + 5)
        self._transport.close()

    # In the thread

    def _run(self) -> None:
        wait = 0.0
        while not self._ended.is_set():
            try:
                self._gather(wait)
                wait = self._turn()
            except Exception:
                log.exception("webhooks.failed", again_in_s=FAILED_SECONDS)
                wait = FAILED_SECONDS
        self._write_the_rest()

    def _gather(self, wait: float) -> None:
        """Wait for an answer, or for as long as there is nothing to do, and take all that have come."""
        try:
            found = self._answered.get(timeout=wait) if wait else self._answered.get_nowait()
            while True:
                if found is not None:
                    self._land(found)
                found = self._answered.get_nowait()
        except queue.Empty:
            return

    def _land(self, sent: Sent) -> None:
        """Note an answer; one of an earlier try, whose lease was over, writes nothing: the row asks for its number."""
        flying = self._under_way.get(sent.id)
        if flying is not None and flying.tries == sent.tries:
            del self._under_way[sent.id]
        self._unwritten.append(sent)

    def _turn(self) -> float:
        """Write what was answered and send what is next; returns how long there is nothing to do."""
        with using(Lane.WEBHOOKS if self._has_webhooks else Lane.CHORES):
            self._write()
            self._renew()
            with transaction() as connection:
                found = webhook.ready(connection, self._environment)
                self._has_webhooks = bool(found) or webhook.any_there(connection)
            sent = [self._send_to(each) for each in found]
        if any(sent):
            return 0.0
        return LOOK_SECONDS if self._has_webhooks else IDLE_SECONDS

    def _send_to(self, target: Ready) -> int:
        """Take what may be sent to one webhook now and send it; returns how much."""
        room = AT_ONCE - sum(each.webhook_id == target.id for each in self._under_way.values())
        secrets = self._open(target) if room > 0 else []
        if not secrets:
            return 0
        renew_at = clock.boot() + RENEWED_AFTER
        with transaction() as connection:
            taken = webhook_delivery.take(connection, target.id, most=room, lease=LEASE)
        for each in taken:
            self._under_way[each.id] = _Flying(target.id, each.tries, renew_at)
            self._transport.launch(self._tell(target, each, secrets))
        return len(taken)

    def _open(self, target: Ready) -> list[str]:
        """The secrets that sign; none where this process lacks their key, and then others send."""
        try:
            found = [
                self._vault.open(sealed, table="webhooks", row_id=target.id, purpose="secret")
                for sealed in (target.sealed_secret, target.sealed_former_secret)
                if sealed is not None
            ]
        except VaultError as error:
            if target.id not in self._unopened:
                log.error("webhook.secret_not_opened", webhook=target.id, reason=str(error))  # noqa: TRY400  # no defect
            self._unopened.add(target.id)
            return []
        self._unopened.discard(target.id)
        return found

    def _write(self) -> None:
        if not self._unwritten:
            return
        with transaction() as connection:
            webhook_delivery.end(connection, self._unwritten)
        self._unwritten.clear()

    def _renew(self) -> None:
        """Keep what is being sent for longer than most is."""
        now = clock.boot()
        mine = {number: each for number, each in self._under_way.items() if each.renew_at <= now}
        if not mine:
            return
        with transaction() as connection:
            webhook_delivery.renew(connection, {number: each.tries for number, each in mine.items()}, lease=LEASE)
        for number, each in mine.items():
            self._under_way[number] = replace(each, renew_at=now + RENEWED_AFTER)

    def _write_the_rest(self) -> None:
        """Wait for what is under way, as long as a request may take, and write how it ended."""
        ends = clock.boot() + DEADLINE
        while (self._under_way or self._unwritten) and clock.boot() < ends:
            self._gather(LOOK_SECONDS)
            try:
                with using(Lane.WEBHOOKS):
                    self._write()
                    self._renew()
            except Exception:
                log.exception("webhooks.not_written", count=len(self._unwritten))

    # On the loop thread

    async def _tell(self, target: Ready, each: Taken, secrets: Sequence[str]) -> None:
        try:
            request = letter.request(target, each, secrets=secrets, at=clock.wall())
            answer = await self._transport.send(request, deadline=DEADLINE)
        except Exception as error:
            log.exception("webhook.failed", webhook=target.id, error=type(error).__name__)
            answer = Silence("internal")
        told = telling.told(answer, tries=each.tries, wall_clock=clock.wall())
        self._count(target, each, told)
        self._answered.put(
            Sent(
                id=each.id,
                webhook_id=target.id,
                tries=each.tries,
                delivered=told.delivered,
                code=told.code,
                http_status=told.http_status,
                wait=telling.wait(each.tries, chance=random.random()),
                strikes=told.strikes,
                is_last=each.type == EventType.WEBHOOK_TEST,
                hold=told.hold,
                is_gone=told.is_gone,
            )
        )

    def _count(self, target: Ready, each: Taken, told: telling.Told) -> None:
        name = str(target.id)
        meters.WEBHOOKS.add({(name, "delivered" if told.delivered else "failed"): 1})
        if told.delivered:
            meters.WEBHOOK_SECONDS.add([((name,), clock.wall() - each.occurred_at)])
        else:
            log.warning("webhook.not_delivered", webhook=target.id, event_id=each.event_id, error=told.code)


_teller: list[Teller] = []


def begin(vault: Vault, settings: Settings) -> None:
    """Let this process send to webhooks."""
    _teller[:] = [Teller(vault, settings)]
    _teller[0].start()


def end() -> None:
    """End the thread of this process, if it has one."""
    while _teller:
        _teller.pop().end()
