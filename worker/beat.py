"""Beat: claims what is due, commits, and publishes it. Any number of beats may run; none leads."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from math import ceil
from typing import Any, TypeVar
from uuid import UUID, uuid4

import structlog
from celery.beat import Scheduler
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerAway
from redis.exceptions import RedisError, ResponseError

import settings as configuration
from models import attempt as attempts
from models import chore, claim, connect_request, process, set_back, tick, visit
from models.claim import Job
from models.database import AWAY, Lane, is_locked, is_out_of_room, transaction, using
from models.states.process import ProcessKind
from tasks.claim import Claimed
from tasks.claim import claim as claim_client
from tasks.runtime import clock, lock_holders, meters, presence, spans
from worker import broker_fault, metrics, service_manager, shared_broker, traces

log = structlog.get_logger()

HEARTBEAT = timedelta(seconds=5)
LONGEST_BACK_OFF = 10.0
UNPUBLISHED_WAIT = timedelta(seconds=1)
TASKS = {"refresh": "evergrant.refresh", "refresh_urgent": "evergrant.refresh", "revoke": "evergrant.revoke"}
# It answers within milliseconds. Whoever waits for it longer than this cannot say meanwhile that it lives, and a broker
# that hangs would be told as a dead beat.
BROKER_PATIENCE_SECONDS = 5
# A customer who came back waits in front of a page; while somebody is at a provider beat looks for that so often.
CUSTOMER_SECONDS = 0.1
VISITS_A_MESSAGE = 50  # they are exchanged together, by one worker
# A claim of one or two jobs is mostly a transaction's beginning and end. Where very many clients have something due
# they share it; a settle that needs one of these valves waits for some milliseconds more.
MANY_CLIENTS, CLIENTS_AT_ONCE = 50, 16
# One that refuses a write is as good as away: nothing can be handed out.
BROKER_ERRORS = (BrokerAway, ConnectionError, OSError, ResponseError)


T = TypeVar("T")


class GrantScheduler(Scheduler):
    """Celery's scheduler without a schedule: the database says what is due."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.settings = configuration.current()
        self.id: UUID = uuid4()
        self.failures = 0
        self.seen_at: timedelta | None = None
        self.chores_at: timedelta | None = None
        self.customers_away = False  # at a provider, or back from it
        self.look_at = timedelta(0)  # the next whole look; until then it is for customers only
        self.broker_failed = False
        self.broker_error: Exception | None = None
        self.sharing: list[str] = []  # who else uses this broker
        self.busy = False  # in the database or with the broker
        try:
            traces.begin(self.settings, ProcessKind.BEAT)
        except configuration.SettingsError as error:
            log.error("beat.cannot_start", reason=str(error))  # noqa: TRY400
            raise SystemExit(1) from None
        super().__init__(*args, **kwargs)

    @cached_property
    def metrics_port(self) -> int | None:
        """Where this beat serves its metrics, from the first look on."""
        return metrics.serve(meters.OF_BEAT, self.settings.metrics_port)

    @cached_property
    def connection(self) -> Connection:
        """To the broker."""
        patience = {"socket_timeout": BROKER_PATIENCE_SECONDS, "socket_connect_timeout": BROKER_PATIENCE_SECONDS}
        made: Connection = self.app.connection_for_write(transport_options=patience)
        return made

    def _ensure_connected(self) -> Connection:
        """Connect, or say at once that it does not go; Celery would try for ever, and beat would look no more."""
        return self.connection.ensure_connection(max_retries=0)

    def setup_schedule(self) -> None:
        """There is none: no shelve file, no entry a token."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Look once; returns the seconds until the next look. An exception here would end beat: it never leaves."""
        self.busy = True
        try:
            with using(Lane.CHORES):
                again_in = self._look()
        except Exception as error:
            meters.LOOKS.add({("failed",): 1})
            if is_locked(error):
                return self._met_a_lock()
            self.failures += 1
            back_off = min(2.0 ** (self.failures - 1), LONGEST_BACK_OFF)
            log.exception("beat.tick_failed", again_in_s=back_off)
            if is_out_of_room(error):
                lock_holders.tell()
            return back_off
        finally:
            self.busy = False
            service_manager.tell(service_manager.READY_AND_ALIVE)
        self.failures = 0
        meters.LOOKS.add({("done",): 1})
        return again_in

    def close(self) -> None:
        """Say that this beat is gone.

        Celery calls this from its signal handler as well, in the midst of whatever the main thread holds: a second
        transaction there would wait for the first for ever. The main thread then unwinds, and Celery calls again.
        """
        if self.busy:
            return
        self.busy = True
        try:
            with transaction() as connection:
                process.leave(connection, self.id)
        except Exception:
            log.exception("beat.not_signed_off")
        finally:
            self.busy = False
        traces.end()
        super().close()

    # Steps

    def _met_a_lock(self) -> float:
        """A stranger's lock: to wait for it was back-off enough, and once it is gone nothing is to wait on."""
        log.warning("beat.locked")
        lock_holders.tell()
        return self.settings.beat_interval_seconds

    def _look(self) -> float:
        if self.broker_failed or clock.boot() >= self.look_at:
            again_in = self._look_at_all()
            if self.broker_failed or not self.customers_away:
                return again_in
            self.look_at = clock.boot() + timedelta(seconds=again_in)
        self._offer_visits()
        left = (self.look_at - clock.boot()).total_seconds()
        return min(max(left, 0.0), CUSTOMER_SECONDS)

    def _look_at_all(self) -> float:
        self._sign_in()
        # A claim that cannot be published is lost time for its grant: so the broker is asked first once it failed.
        if self.broker_failed and not self._broker_answers():
            return self.settings.beat_interval_seconds
        with transaction() as connection:
            client_ids = claim.clients_to_look_at(connection)
        again_in = timedelta(seconds=self.settings.beat_interval_seconds)
        size = CLIENTS_AT_ONCE if len(client_ids) > MANY_CLIENTS else 1
        for first in range(0, len(client_ids), size):
            for claimed in self._claim_together(client_ids[first : first + size]):
                if claimed.again_in is not None:
                    again_in = min(again_in, claimed.again_in)
        self._publish_now_and_then()
        return again_in.total_seconds()

    def _claim_together(self, client_ids: Sequence[int]) -> list[Claimed]:
        """Claim for several clients in one transaction; where one fails there, for each in its own."""
        if len(client_ids) > 1:
            begun = clock.boot()
            try:
                with transaction() as connection:
                    lease = self.settings.dispatch_lease
                    found = {each: claim_client(connection, each, lease=lease) for each in client_ids}
            except Exception:  # noqa: BLE001  # it is told of the client where it fails again
                log.info("beat.claimed_one_by_one", clients=len(client_ids))
            else:
                return [self._handed_out(each, claimed, begun=begun) for each, claimed in found.items()]
        return [self._claim_or_tell(each) for each in client_ids]

    def _claim_or_tell(self, client_id: int) -> Claimed:
        """Claim for one client; what fails there keeps no other client waiting."""
        try:
            return self._claim(client_id)
        except AWAY as error:
            if not is_locked(error):
                raise
            log.warning("beat.locked", client_id=client_id)
            lock_holders.tell()
            return Claimed()
        except Exception:
            log.exception("beat.client_failed", client_id=client_id)
            return Claimed()

    def _claim(self, client_id: int) -> Claimed:
        begun = clock.boot()
        with transaction() as connection:
            claimed = claim_client(connection, client_id, lease=self.settings.dispatch_lease)
        return self._handed_out(client_id, claimed, begun=begun)

    def _handed_out(self, client_id: int, claimed: Claimed, *, begun: timedelta) -> Claimed:
        kinds = {"due": claimed.due, "wished": claimed.requested, "revocation": claimed.revocations}
        meters.CLAIMS.add({(kind,): len(jobs) for kind, jobs in kinds.items()})
        size = self.settings.batch_size
        self._publish("refresh_urgent", claimed.requested, client_id=client_id, begun=begun, size=size)
        self._publish("refresh", claimed.due, client_id=client_id, begun=begun, size=size)
        # One a message: a revocation takes several requests, one after the other.
        self._publish("revoke", claimed.revocations, client_id=client_id, begun=begun, size=1)
        return claimed

    def _publish(self, queue: str, jobs: Sequence[Job], *, client_id: int, begun: timedelta, size: int) -> None:
        """Publish jobs of a client in batches; those that the broker does not take are due again at once."""
        for batch in batches(jobs, size):
            published = not self.broker_failed and self._send(TASKS[queue], queue, batch, client_id)
            if not published:
                with transaction() as connection:
                    attempts.release(connection, [(*job, UNPUBLISHED_WAIT) for job in batch])
            spans.claimed(batch, client_id=client_id, queue=queue, begun=begun, published=published)

    def _send(self, task: str, queue: str, batch: Sequence[Job], client_id: int) -> bool:
        message = [[str(grant_id), claim_no] for grant_id, claim_no in batch]
        named = {"client_id": client_id}
        try:
            self.app.send_task(task, args=[message], kwargs=named, queue=queue, producer=self.producer, retry=False)
        except BROKER_ERRORS as error:
            self._note_broker_failure(error)
            return False
        return True

    def _offer_visits(self) -> None:
        """Let workers exchange what customers came back with, who wait in front of a page."""
        if self.broker_failed:
            return
        with transaction() as connection:
            offered = visit.offer(connection)
        for batch in batches([str(each) for each in offered], VISITS_A_MESSAGE):
            if self.broker_failed:  # each would wait for it; they are offered again
                return
            try:
                self.app.send_task(
                    "evergrant.exchange", args=[batch], queue="connect", producer=self.producer, retry=False
                )
            except BROKER_ERRORS as error:
                self._note_broker_failure(error)

    def _publish_now_and_then(self) -> None:
        """Once an interval: while much is due beat looks twenty times a second, and nothing else is in such haste."""
        now = clock.boot()
        if self.broker_failed or (self.chores_at is not None and now < self.chores_at):
            return
        self.chores_at = now + timedelta(seconds=self.settings.beat_interval_seconds)
        with transaction() as connection:
            self.customers_away = connect_request.is_somebody_away(connection)
        self._publish_chores()

    def _publish_chores(self) -> None:
        with transaction() as connection:
            due = chore.claim(connection)
        for name in due:
            if self.broker_failed:
                return
            try:
                self.app.send_task("evergrant.upkeep", args=[name], queue="upkeep", producer=self.producer, retry=False)
            except BROKER_ERRORS as error:
                self._note_broker_failure(error)

    def _broker_answers(self) -> bool:
        try:
            connection = self._ensure_connected()
            if broker_fault.refusal_of(self.broker_error) is not None:  # it answered then as well
                channel: Any = connection.default_channel
                broker_fault.try_to_write(channel.client)
        except BROKER_ERRORS as error:
            self.broker_error = error
            return False
        log.info("beat.broker_is_back")
        self.broker_failed = False
        self.seen_at = None  # that is told at once, as it was that it is away
        return True

    def _note_broker_failure(self, error: Exception) -> None:
        log.warning("beat.broker_away", error=type(error).__name__)
        self.broker_failed = True
        self.broker_error = error
        self.seen_at = None
        # The next look connects anew: a dead socket inside a cached producer would fail for ever.
        self.__dict__.pop("producer", None)
        connection = self.__dict__.pop("connection", None)
        if connection is not None:
            connection.collapse() if hasattr(connection, "collapse") else connection.close()

    @property
    def _fault(self) -> str | None:
        """Why this beat can hand nothing out now."""
        if self.broker_failed and self.broker_error is not None:
            return broker_fault.fault(self.settings, self.broker_error)
        url = self.settings.broker_url
        return shared_broker.fault(self.sharing, broker_fault.place(url.get_secret_value() if url else ""))

    def _see_who_shares(self) -> None:
        """What two installations hand out at one broker each of them takes from the other."""
        if self.broker_failed:
            return
        with transaction() as connection:
            name = shared_broker.name_of(connection)
        if name is None:
            return
        try:
            client: Any = getattr(self._ensure_connected().default_channel, "client", None)
            self.sharing = shared_broker.others(client, name) if client is not None else []
        except ResponseError:  # it may not be asked that, or refuses: whoever publishes will tell
            self.sharing = []
        except (RedisError, *BROKER_ERRORS) as error:
            self._note_broker_failure(error)

    def _look_at_the_clock(self) -> None:
        """Before this beat says when it was here: what is due by a clock that was set back would not be for hours."""
        with transaction() as connection:
            by = set_back.put_right(connection)
        if by is not None:
            log.warning("beat.clock_was_set_back", by_s=round(by.total_seconds(), 1))

    def _sign_in(self) -> None:
        now = clock.boot()
        if self.seen_at is None or now - self.seen_at >= HEARTBEAT:
            self._look_at_the_clock()
            self._see_who_shares()
            with transaction() as connection:
                said = presence.of_process(
                    self.id,
                    ProcessKind.BEAT,
                    environment=self.settings.environment,
                    metrics_port=self.metrics_port,
                    fault=self._fault,
                )
                process.see(connection, said)
                tick.write(connection)
            self.seen_at = now


def batches(jobs: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut jobs into messages, all alike: as few as hold them, though two where there are two jobs.

    A message costs as much CPU as five jobs of it, and the second one lets another worker process have its part.
    """
    messages = max(2, ceil(len(jobs) / size))
    width = max(1, ceil(len(jobs) / messages))
    for first in range(0, len(jobs), width):
        yield jobs[first : first + width]
