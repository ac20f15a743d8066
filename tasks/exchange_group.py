"""Exchange group: codes of several customers of one client, exchanged together, in steps (tasks/runtime/exchanges.py).

begin    the one use of each code is taken in one transaction, and each is sent
keep     the answers go to the journal in one write
end      what says that its customer is connected is stored in one transaction; any other answer in one of its own

Where one transaction does not go for all of them each is tried alone, so that none fails with another, and nobody waits
for the lock in another's way. All of it is in the lane of what somebody asked for: it holds up no refresh.
"""

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from models import client as clients
from models import visit
from models.client import Known
from models.connect_request import Begun
from models.database import Lane, is_locked, transaction, using
from models.sealing.keys import VaultError
from models.states.visit import VisitReason
from models.visit import Waiting
from tasks import code_exchange, code_use, connect, exchange_end
from tasks.code_use import Prepared, Taken
from tasks.connect import Callback
from tasks.connect_errors import ClientPaused, ConnectError, DatabaseUnfit, ExchangeNotSent, StateUsed, StillRevoking
from tasks.exchange_end import Journaled
from tasks.journal import JournalBroken
from tasks.oauth.accounts import Account
from tasks.oauth.answer import Answer
from tasks.oauth.errors import OAuthError
from tasks.oauth.provider import Provider
from tasks.policy.outcome import Outcome
from tasks.runtime import clock, lock_holders, retry
from tasks.runtime.exchanges import Sent
from tasks.runtime.runtime import Runtime
from tasks.settling import access_life
from tasks.settling.consent import Consent, ConsentError, StoredConsent, grants_of
from tasks.visit_ends import reason_of, write_end
from tasks.visits import SEALED_AS

log = structlog.get_logger()

# Nothing was sent, and what is in the way may go: the code is offered to a worker again for as long as it lives.
HELD = (ClientPaused, DatabaseUnfit, ExchangeNotSent, StillRevoking, JournalBroken, VaultError)
LOCKED_ENOUGH: Final = 3  # of a group, one after the other; then others have their turn


@dataclass(slots=True, eq=False)
class Exchange:
    """The exchange of what one visit brought, and how far it is; `until`: when patience with the database is over."""

    steps: "Together"
    waiting: Waiting
    begun: Begun
    known: Known
    until: timedelta
    taken: Taken = field(init=False)
    journaled: Journaled = field(init=False)
    looking: Future[Answer] | None = field(init=False, default=None)
    met_a_lock: bool = field(init=False, default=False)

    @property
    def client_id(self) -> int:
        """Whose room it takes."""
        return self.known.id

    @property
    def whose(self) -> dict[str, str]:
        """What a line of the log says of it."""
        return {"visit": str(self.waiting.id), "ref": self.begun.ref}

    @property
    def alike(self) -> Hashable:
        """Who has met a lock ends alone: the others are not to meet it again."""
        return (self.steps, self.client_id, self.waiting.created_by, self.waiting.id if self.met_a_lock else None)


class Connected(NamedTuple):
    """An answer that says that its customer is connected."""

    exchange: Exchange
    end: Outcome
    consent: Consent


@dataclass(frozen=True)
class Together:
    """The steps of a group, in one process."""

    runtime: Runtime

    # Begin

    def begin(self, group: Sequence[Exchange]) -> list[Sent]:
        """Take the one use of each code, and send it."""
        with using(Lane.ASKED):
            prepared = self._prepared(group)
            used = self._used(list(prepared), list(prepared.values())) if prepared else {}
            sent, wrong = [], []
            for each, ready in prepared.items():
                if each.waiting.id in used:
                    try:
                        sent.append(self._sent(each, ready, used[each.waiting.id]))
                    except Exception as error:  # noqa: BLE001  # noted once the codes of the others are on their way
                        wrong.append((each, error))
            for each, fault in wrong:
                _note(each, fault)
        return sent

    def _prepared(self, group: Sequence[Exchange]) -> dict[Exchange, Prepared]:
        found = {}
        for each in group:
            try:
                registered = self.runtime.registrations.ready(each.known)
                callback = self._callback(each.waiting, registered.provider)
                found[each] = code_use.prepare(self.runtime, registered, each.begun, callback)
            except Exception as error:  # noqa: BLE001  # it stands in its row
                _note(each, error)
        return found

    def _sent(self, exchange: Exchange, prepared: Prepared, used: datetime | ConnectError) -> Sent:
        exchange.taken = code_use.taken(prepared, used)
        answered = code_exchange.ask(self.runtime, exchange.taken)
        return Sent(exchange, answered, prepared.registered.times.deadline)

    def _callback(self, waiting: Waiting, provider: Provider) -> Callback:
        sealed = waiting.sealed_answer
        query = self.runtime.vault.open(sealed, table="visits", row_id=waiting.id, purpose=SEALED_AS)
        return connect.read_callback(f"?{query}", code_parameter=provider.code_parameter)

    def _used(self, group: Sequence[Exchange], prepared: Sequence[Prepared]) -> Mapping[UUID, datetime | ConnectError]:
        try:
            used = code_use.use_free(self.runtime, prepared)
        except HELD as error:
            _hold(group, reason_of(error))
            return {}
        locked = [each for each in group if each.waiting.id not in used]
        for each in locked:
            log.warning("visit.locked", **each.whose)
        if locked:
            lock_holders.tell()
        return used

    # Keep

    def keep(self, group: Sequence[Sent]) -> list[tuple[Exchange, Future[Answer] | None]]:
        """Journal the answers; then ask whose account each is, where it does not tell that."""
        arrived = [(each.exchange, each.answered.result()) for each in group if _is_answered(each)]
        kept = code_exchange.keep_all(self.runtime, [(each.taken, answered) for each, answered in arrived])
        for (each, _), journaled in zip(arrived, kept, strict=True):
            each.journaled = journaled
            each.looking = self._looking(each)
        return [(each, each.looking) for each, _ in arrived]

    def _looking(self, exchange: Exchange) -> Future[Answer] | None:
        try:
            return code_exchange.look(self.runtime, exchange.taken, exchange.journaled)
        except Exception:  # what cannot be read is told at its end
            log.exception("connect.account_not_asked", **exchange.whose)
            return None

    # End

    def end(self, group: Sequence[Exchange]) -> list[Exchange]:
        """Store the grants, or write why there are none; returns those that have met a lock."""
        with using(Lane.ASKED):
            connected, alone = self._read([each for each in group if not self._is_left(each)])
            locked: list[Exchange] = []
            for part in apart(connected):
                try:
                    locked += self._end_together(part)
                except Exception:  # the journal has it
                    log.exception("visits.not_ended", size=len(part))
            return locked + self._end_each(alone)

    def _is_left(self, exchange: Exchange) -> bool:
        """Whether whoever drains the journal is to store it."""
        return self.runtime.giving_up.is_set() and exchange.journaled.position is not None

    def _read(self, group: Sequence[Exchange]) -> tuple[list[Connected], list[Exchange]]:
        """Those answers that say that their customer is connected, and the others; one alone is among those."""
        connected = [found for each in group if (found := _connected(each)) is not None] if len(group) > 1 else []
        together = {id(each.exchange) for each in connected}
        return connected, [each for each in group if id(each) not in together]

    def _end_together(self, part: Sequence[Connected]) -> list[Exchange]:
        exchanges = [each.exchange for each in part]
        if len(part) == 1:
            return self._end_each(exchanges)
        try:
            stored = self._written(part)
        except Exception as error:  # each is tried by itself, and what is wrong with it told
            if is_locked(error):
                lock_holders.tell()
                if self._is_clients_lock(exchanges[0].client_id):
                    return exchanges
            log.warning("visits.group_refused", size=len(part), exc_info=not is_locked(error))
            return self._end_each([each for each in exchanges if not self._is_left(each)])
        positions = [each.journaled.position for each in exchanges if each.journaled.position is not None]
        self.runtime.journal.mark_settled(positions)
        self._tell(list(zip(exchanges, stored, strict=True)))
        return []

    def _written(self, part: Sequence[Connected]) -> list[StoredConsent | ConsentError]:
        group = [(each.exchange.taken, each.end, each.consent) for each in part]
        who = part[0].exchange.waiting.created_by
        return retry.while_database_away(
            partial(exchange_end.write_connected, self.runtime, group, who=who),
            give_up=self.runtime.giving_up,
            patience=_left(part[0].exchange),
            unless=is_locked,
        )

    def _is_clients_lock(self, client_id: int) -> bool:
        """Whether it is the client's valve that is locked: then none of its customers need be tried."""
        try:
            with transaction() as connection:
                return clients.valve_is_locked(connection, client_id)
        except DBAPIError:
            return False

    def _end_each(self, group: Sequence[Exchange]) -> list[Exchange]:
        """End each by itself; returns those that have met a lock, and those that have their turn behind others."""
        locked: list[Exchange] = []
        for place, each in enumerate(group):
            if len(locked) >= LOCKED_ENOUGH:
                return [*locked, *group[place:]]
            try:
                self._end(each)
            except DBAPIError as error:
                if is_locked(error):
                    each.met_a_lock = True
                    locked.append(each)
                else:
                    log.exception("visit.not_ended", **each.whose)
            except Exception:
                log.exception("visit.not_ended", **each.whose)
        return locked

    def _end(self, exchange: Exchange) -> None:
        left = _left(exchange)
        stored: StoredConsent | ConnectError | ConsentError
        try:
            stored = exchange_end.settle(
                self.runtime,
                exchange.taken,
                exchange.journaled,
                account=_account(exchange),
                who=exchange.waiting.created_by,
                patience=left,
                waits_for_locks=left <= timedelta(0),
            )
        except (ConnectError, ConsentError) as error:  # which stands in the row
            stored = error
        self._tell([(exchange, stored)])

    def _tell(self, ended: Sequence[tuple[Exchange, StoredConsent | ConnectError | ConsentError]]) -> None:
        questions = []
        for each, stored in ended:
            if isinstance(stored, StoredConsent):
                log.info("visit.connected", **each.whose, how=stored.how)
                questions += access_life.questions_of(stored)
            else:
                log.warning("visit.failed", **each.whose, reason=reason_of(stored))
        if questions:
            registered = ended[0][0].taken.registered
            self.runtime.later(partial(access_life.learn_later, self.runtime, registered, questions))


def apart(group: Sequence[Connected]) -> list[list[Connected]]:
    """Parts in which no ref and no pair stands twice: whoever has one of them second is to meet the first one's row."""
    parts: list[tuple[set[str], list[Connected]]] = []
    for each in group:
        marks = _marks(each.consent)
        seen, part = next((part for part in parts if not part[0] & marks), (set[str](), []))
        if not part:
            parts.append((seen, part))
        seen.update(marks)
        part.append(each)
    return [part for _, part in parts]


def _marks(consent: Consent) -> set[str]:
    grants = grants_of(consent)
    return {f"ref {each.ref}" for each in grants} | {f"pair {each.token_set.refresh_token}" for each in grants}


def _connected(exchange: Exchange) -> Connected | None:
    try:
        end, consent = exchange_end.read(exchange.taken, exchange.journaled, _account(exchange))
    except Exception:  # noqa: BLE001  # it fails where it is read alone, and is told there
        return None
    return None if consent is None else Connected(exchange, end, consent)


def _account(exchange: Exchange) -> Account | None:
    return None if exchange.looking is None else code_exchange.account_of(exchange.taken, exchange.looking)


def _is_answered(sent: Sent) -> bool:
    """Whether there is an answer; where the loop has ended there is none."""
    if not sent.answered.cancelled() and (error := sent.answered.exception()) is None:
        return True
    log.error("visit.not_answered", **sent.exchange.whose, exc_info=error)
    return False


def _note(exchange: Exchange, error: Exception) -> None:
    """Note in a visit's row what went wrong before anything was sent, or what is in the way; it fails alone."""
    try:
        match error:
            case StateUsed():  # another worker was faster
                return
            case _ if isinstance(error, HELD):
                _hold([exchange], reason_of(error))
            case ConnectError() | OAuthError():
                log.warning("visit.failed", **exchange.whose, reason=reason_of(error))
                with transaction() as connection:
                    write_end(connection, exchange.waiting.id, error)
            case _:
                log.error("visit.not_begun", **exchange.whose, exc_info=error)
    except Exception:
        log.exception("visit.not_noted", **exchange.whose)


def _hold(group: Sequence[Exchange], reason: VisitReason) -> None:
    for each in group:
        log.warning("visit.held", **each.whose, reason=reason)
    with transaction() as connection:
        visit.hold(connection, [each.waiting.id for each in group], reason)


def _left(exchange: Exchange) -> timedelta:
    return exchange.until - clock.boot()
