"""Ask labels: what its provider's API knows a grant by is kept as labels, once after each consent.

claim   within the client's rate, while nothing more urgent waits for it; a question that nobody ends comes again
ask     the access token held is presented, which was committed before; no transaction is open
keep    under the grant's lock, what nobody else has set

Where a predecessor lives until that token is used (`on_use`), it dies of this, as of any other use. A grant is
never the worse for what comes of it: nothing here writes more than its labels.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from models import asked_labels, event, label
from models import client as clients
from models.asked_labels import Question
from models.database import transaction
from models.sealing.keys import VaultError
from models.states.event import EventType
from tasks.oauth import messages
from tasks.oauth.addresses import Labels
from tasks.oauth.answer import Answer, HeldBack, NotSent
from tasks.oauth.errors import AddressError, MissingSetting, OAuthError
from tasks.policy.asked_labels import ALREADY_SET, KEPT, REPLACED, Heard, advice, heard, wait_before
from tasks.policy.valve import TOLERANCE, USABLE_SHARE
from tasks.runtime import clock, runtime
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime

log = structlog.get_logger()

MOST: Final = 20  # of one client, each time
MOST_CLIENTS: Final = 10
LONGEST: Final = timedelta(seconds=10)  # one slow API holds a worker's thread no longer
LEASE: Final = timedelta(minutes=2)
LOOKS: Final = 2  # of beat: what is due for longer waits for a slot, and comes first
UNAUTHORIZED: Final = "http_401"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on its way, or what came of it already."""

    question: Question
    registered: Registered
    answer: "Future[Answer] | Answer"
    access_token: str = field(default="", repr=False)


def ask_labels() -> None:
    """Ask about those grants of which it is time."""
    worker = runtime.current()
    with transaction() as connection:
        waiting = asked_labels.waiting(connection)
    for each in [asked for client_id in waiting[:MOST_CLIENTS] for asked in _asked(worker, client_id)]:
        try:
            _settle(each)
        except Exception:  # one row that the database refuses costs no other its answer
            log.exception("asked_labels.not_kept", grant_id=str(each.question.grant_id))


def _asked(worker: Runtime, client_id: int) -> list[Asked]:
    """Ask about as many grants of a client as its rate has slots for now."""
    with transaction() as connection:
        known = clients.known(connection, [client_id])[client_id]
    try:
        registered = worker.registrations.ready(known)
    except (VaultError, OAuthError) as error:
        log.error("asked_labels.registration_unusable", client=known.name, reason=str(error))  # noqa: TRY400
        return []
    return [_ask(worker, registered, each) for each in _claim(worker, registered)]


def _claim(worker: Runtime, registered: Registered) -> list[Question]:
    """Take questions, and a slot of the client's rate for each; those without one are given back."""
    client_id = registered.known.id
    overdue = LOOKS * timedelta(seconds=worker.settings.beat_interval_seconds)
    with transaction() as connection:
        if worker.stopping.is_set() or clients.has_due(connection, client_id, longer_than=overdue):
            return []
        slots, taken = True, []
        for each in asked_labels.claim(connection, client_id, MOST, lease=LEASE):
            if not _free(registered.provider.labels_at, each.labels, each.given):
                asked_labels.end(connection, each, told={"code": ALREADY_SET}, given={})
            elif slots := slots and _takes_a_slot(connection, client_id):
                taken.append(each)
            else:
                asked_labels.give_back(connection, each)
    return taken


def _takes_a_slot(connection: Connection, client_id: int) -> bool:
    return clients.take_slot(connection, client_id, usable_share=USABLE_SHARE, tolerance=TOLERANCE) is None


def _ask(worker: Runtime, registered: Registered, question: Question) -> Asked:
    """Send one question; what cannot be sent has its answer already."""
    try:
        token = worker.vault.open(
            question.sealed_access_token, table="grants", row_id=question.grant_id, purpose="access"
        )
        request = messages.ask_labels(registered.provider, access_token=token, labels=question.labels)
    except VaultError as error:
        log.error("asked_labels.not_opened", grant_id=str(question.grant_id), reason=str(error))  # noqa: TRY400
        return Asked(question, registered, HeldBack("not_opened"))
    except (AddressError, MissingSetting) as error:
        return Asked(question, registered, NotSent(error.code))

    def may_leave() -> HeldBack | None:
        return HeldBack("process_is_stopping") if worker.stopping.is_set() else None

    deadline = min(registered.times.deadline, LONGEST)
    sending = worker.transport.send(request, deadline=deadline, before_first_byte=may_leave)
    return Asked(question, registered, worker.transport.submit(sending), token)


def _settle(asked: Asked) -> None:
    """Keep what an answer gives, and end its question, or have it asked once more."""
    question, provider = asked.question, asked.registered.provider
    answer = asked.answer.result() if isinstance(asked.answer, Future) else asked.answer
    told = heard(
        answer,
        provider,
        labels=question.labels,
        access_token=asked.access_token,
        tries=question.tries,
        wall_clock=clock.wall(),
    )
    with transaction() as connection:
        held = asked_labels.lock_labels(connection, question.grant_id)
        if held is None:
            return
        labels, generation = held
        if told.code == UNAUTHORIZED and generation != question.generation:
            told = Heard(REPLACED, again_in=wait_before(question.tries))
        mine = {each: told.given.values[each] for each in _free(told.given.values, labels, question.given)}
        data = _data(asked, told, list(mine))
        if not asked_labels.end(connection, question, told=data, given=mine, again_in=told.again_in):
            return
        label.keep(connection, {question.grant_id: mine})
        if told.again_in is None:
            event.of_grants(connection, [question.grant_id], EventType.GRANT_LABELS_ASKED, data=data)
    _tell(asked, data)


def _tell(asked: Asked, data: dict[str, Any]) -> None:
    """Log what came of a question; a line's `code` would be hidden, for it might be a user's."""
    question, facts = asked.question, {key: value for key, value in data.items() if key != "code"}
    log.log(
        logging.INFO if data["code"] in (KEPT, ALREADY_SET) else logging.WARNING,
        "asked_labels",
        client=asked.registered.known.name,
        ref=question.ref,
        grant_id=str(question.grant_id),
        outcome=data["code"],
        **facts,
    )


def _free(wanted: Sequence[str] | Labels, labels: Labels, given: Labels) -> list[str]:
    """The labels that are nobody else's: those that the grant has not, or has as the API gave them last."""
    return [each for each in wanted if not labels.get(each) or labels.get(each) == given.get(each)]


def _data(asked: Asked, told: Heard, kept: list[str]) -> dict[str, Any]:
    """What is told: names and codes; a label's values are told by the grant."""
    provider = asked.registered.provider
    nothing_free = told.given.values and not kept
    data: dict[str, Any] = {"code": ALREADY_SET if nothing_free else told.code, "kept": kept}
    if left := sorted(told.given.values.keys() - set(kept)):
        data["left_as_set"] = left
    if told.given.refused:
        data["refused"] = dict(told.given.refused)
    if told.again_in is not None:
        data["again_in_seconds"] = told.again_in.total_seconds()
    elif missing := [each for each in provider.labels_at if each not in told.given.values]:
        code = next((told.given.refused[each] for each in missing if each in told.given.refused), told.code)
        data["next"] = advice("nothing_found" if code == KEPT else code, missing, grant=asked.question.ref)
    return data
