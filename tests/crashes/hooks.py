"""Hooks: wraps the named functions of tasks, models and worker at their boundaries, so that fail-points lie there.

Nothing of this exists where the programs run for real: only the entries of the crash loop import it.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from celery.worker.request import Request

from models import attempt, locked_grant, revocation, token_set
from models import journal as register
from tasks import code_exchange, exchange_end, journal, refresh, revocation_requests, revoke
from tasks.journal import segment
from tasks.oauth.answer import Response
from tasks.oauth.transport import Transport
from tasks.revocation_end import RevocationEnd
from tasks.runtime.admission import Admission
from tasks.runtime.answers import Answers
from tasks.runtime.runtime import Runtime
from tasks.settling import confirm, replay
from tests.crashes import commits, wire
from tests.crashes.journaling import Journaling
from tests.crashes.strike import Striker
from worker import beat

Wrapped = Callable[..., Any]


def around(owner: Any, name: str, *, before: Wrapped | None = None, after: Wrapped | None = None) -> None:
    """Wrap a function where it is looked up: `before(*arguments)`, `after(result, *arguments)`."""
    function = getattr(owner, name)

    @wraps(function)
    async def awaited(*arguments: Any, **named: Any) -> Any:
        if before is not None:
            before(*arguments)
        return await function(*arguments, **named)

    @wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before is not None:
            before(*arguments)
        result = function(*arguments, **named)
        if after is not None:
            after(result, *arguments)
        return result

    setattr(owner, name, awaited if asyncio.iscoroutinefunction(function) else wrapped)


def install(striker: Striker) -> None:
    """Lay every fail-point into this process."""
    commits.install(striker)
    wire.install(striker)
    for lay in (_beat, _open, _start, _guard, _journal, _settle, _ack, _drain, _shred, _revoke, _exchange):
        lay(striker)


def _point(striker: Striker, name: str) -> Wrapped:
    return lambda *_: striker.hit(name)


def _transaction_of(step: str) -> Wrapped:
    return lambda *_: commits.begin(step)


def _beat(striker: Striker) -> None:
    def claimed(result: Any, *_: Any) -> None:
        if result.count:
            commits.begin("claim")

    def publishing(_: Any, __: Any, jobs: Any, **___: Any) -> None:
        if jobs:
            striker.hit("claim.committed")

    around(beat, "claim_client", after=claimed)
    around(beat.GrantScheduler, "_publish", before=publishing)
    around(beat.GrantScheduler, "_send", after=_point(striker, "publish.sent"))


def _open(striker: Striker) -> None:
    def registered(journal_id: int, *_: Any) -> None:
        striker.trace.say("journal", number=journal_id)
        commits.begin("open")

    around(register, "register", after=registered)
    around(Runtime, "__init__", before=_point(striker, "open.committed"))


def _start(striker: Striker) -> None:
    def started(result: Any, *_: Any) -> None:
        if result:
            commits.begin("start")

    def committed(result: Any, *_: Any) -> None:
        if result[0]:
            striker.hit("start.committed")

    around(attempt, "start", after=started)
    around(refresh, "_start_rows", after=committed)
    around(Transport, "send", before=_point(striker, "connect.before"))


def _guard(striker: Striker) -> None:
    """The guard on the open connection; what passed it is on its way, and the trace says so."""

    def passed(held: Any, _: Any, ours: Any) -> None:
        if held is not None:
            return  # it said no: nothing leaves
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # the guard before connecting, in a Celery thread
        job = ours.job
        striker.trace.say(
            "sending",
            grant=str(job.grant_id),
            claim_no=job.claim_no,
            generation=job.generation,
            lease_until=job.lease_until.timestamp(),
            token=None if job.refresh_fingerprint is None else bytes(job.refresh_fingerprint).hex(),
        )
        striker.hit("guard.passed")
        striker.trace.say("sent", grant=str(job.grant_id), claim_no=job.claim_no)

    around(refresh, "check", after=passed)
    around(revocation_requests, "check", after=passed)


def _journal(striker: Striker) -> None:
    def arrived(_: Any, arrival: Any) -> None:
        job, answer = arrival.attempt.job, arrival.answer
        said = answer.status if isinstance(answer, Response) else f"{type(answer).__name__} {answer.code}"
        striker.trace.say("ended", grant=str(job.grant_id), claim_no=job.claim_no, how=said)

    journaling = Journaling(striker)
    around(Answers, "arrive", before=arrived)
    around(journal.Journal, "append", before=journaling.reading, after=journaling.kept)
    around(journal.Journal, "_sync", before=journaling.syncing)
    around(journal.Journal, "mark_settled", before=journaling.marking, after=_point(striker, "mark.written"))


def _settle(striker: Striker) -> None:
    def storing(_: Any, answers: Any) -> None:
        if answers and commits.doing() != "drain":
            striker.hit("settle.before")

    def stored(_: Any, __: Any, answers: Any) -> None:
        for answer in answers:
            striker.trace.say("storing", grant=str(answer.grant_id))
        if answers and commits.doing() != "drain":
            commits.begin("settle")

    def marking(_: Any, positions: Any) -> None:
        if positions:
            striker.hit("settle.committed")

    def settled(_: Any, __: Any, group: Any) -> None:
        for each in group:
            job = each.attempt.job
            striker.trace.say("settled", grant=str(job.grant_id), claim_no=job.claim_no)

    around(Admission, "settled", after=settled)
    around(token_set, "store", before=storing, after=stored)
    around(journal.Journal, "mark_settled", before=marking)
    around(confirm, "_present", before=_point(striker, "confirm.before"), after=_point(striker, "confirm.used"))


def _ack(striker: Striker) -> None:
    around(Request, "acknowledge", before=_point(striker, "ack.before"), after=_point(striker, "ack.after"))


def _drain(striker: Striker) -> None:
    replaying = threading.local()

    def begin(*_: Any) -> None:
        striker.hit("drain.before")
        replaying.now = True

    def locked(*_: Any) -> None:
        if getattr(replaying, "now", False):
            commits.begin("drain")
            replaying.now = False

    around(replay, "_replay", before=begin, after=_point(striker, "drain.replayed"))
    around(locked_grant, "lock", after=locked)
    around(replay, "_record_drained", after=_point(striker, "drain.recorded"))


def _shred(striker: Striker) -> None:
    left_behind = import_module("tasks.journal.left_behind")  # the package exports a function of this name
    around(left_behind, "shred", before=_point(striker, "shred.before"), after=_point(striker, "shred.after"))
    around(segment, "shred_file", after=_point(striker, "shred.between"))


def _revoke(striker: Striker) -> None:
    one_attempt = revoke.RevocationAttempt
    around(one_attempt, "carry_out", before=_point(striker, "revoke.begun"))
    around(one_attempt, "_freshen", before=_point(striker, "revoke.freshen"))
    around(one_attempt, "_present", before=_point(striker, "revoke.present"))
    around(one_attempt, "_end_branch", before=_point(striker, "revoke.branch"), after=_point(striker, "revoke.looked"))
    around(one_attempt, "_look_at", before=_point(striker, "revoke.revoked"))
    around(RevocationEnd, "_note_end", after=_point(striker, "revoke.end_noted"))
    around(RevocationEnd, "again", before=_point(striker, "revoke.again"))
    around(RevocationEnd, "done", after=_point(striker, "revoke.ended"))
    # Both end the grant's lease, as a stored token set does.
    for end in ("done", "again"):
        around(revocation, end, after=lambda _, __, grant_id, *___: striker.trace.say("storing", grant=str(grant_id)))
    around(revocation, "done", after=_transaction_of("revoke"))


def _exchange(striker: Striker) -> None:
    around(code_exchange, "take", before=_point(striker, "exchange.before"), after=_point(striker, "exchange.taken"))
    kept = {"before": _point(striker, "exchange.answered"), "after": _point(striker, "exchange.kept")}
    around(code_exchange, "keep", **kept)
    around(exchange_end, "store_all", after=_transaction_of("exchange"))
    around(exchange_end, "_write", after=_point(striker, "exchange.committed"))
