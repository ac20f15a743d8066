"""Refresh: the whole story of a job, from a message to a committed token set.

    start    compare-and-swap on the claim number: mine, or not at all
    guard    may it be sent? asked again on the open connection, just before the first byte
    ask      one POST, no transaction open
    settle   tasks/settling/settle.py: journal the raw answer, decide, write by the generation

Every token is its own job; a message carries one, or a batch of them. A message that is duplicated, late or
forged finds no claim of its number and changes nothing.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy.exc import OperationalError

from models import attempt as attempts
from models import client as clients
from models.attempt import Started
from models.claim import Job
from models.database import transaction
from models.sealing.keys import VaultError
from models.states.grant import GrantStatus
from tasks.oauth import messages
from tasks.oauth.answer import Answer, HeldBack, NotSent
from tasks.oauth.errors import AddressError, MissingSetting, OAuthError
from tasks.oauth.messages import Request
from tasks.policy.guard import guard
from tasks.policy.timing import release_wait
from tasks.runtime import clock, retry, runtime, spans
from tasks.runtime.attempt import Arrived, Attempt
from tasks.runtime.runtime import Runtime
from tasks.runtime.trial import with_trial

log = structlog.get_logger()

MOST_JOBS = 1000  # in one message; ours carry at most a batch
UNUSABLE_WAIT = timedelta(minutes=1)

PutOff = Callable[[Sequence[tuple[UUID, int, timedelta]]], None]  # grant_id, claim_no, and how long to wait


@shared_task(name="evergrant.refresh", ignore_result=True)
def refresh(jobs: Any = None, client_id: Any = None, **_later: Any) -> None:
    """Carry out `[[grant_id, claim_no], …]`; returns when all are started, their answers are settled later."""
    carry_out(runtime.current(), read_jobs(jobs), client_id if isinstance(client_id, int) else None)


def carry_out(
    runtime: Runtime, wanted: Sequence[Job], client_id: int | None, *, status: str = GrantStatus.ACTIVE
) -> None:
    """Start and ask what this process has room for; what it has not is given back."""
    if wanted and runtime.admission.wait_for_room(len(wanted)):
        with runtime.admission.share_of(client_id, len(wanted)) as room:
            if room:
                attempts = start(runtime, runtime.admission.once(wanted), status=status)
                for attempt in with_trial(runtime.registrations, attempts):
                    ask(runtime, attempt)
                return
        log.info("refresh.not_begun", why="client_takes_too_much", client_id=client_id, jobs=len(wanted))
        with suppress(OperationalError):  # then their claims lapse
            give_back([(*job, release_wait(random.random())) for job in wanted])


def read_jobs(jobs: Any) -> list[Job]:
    """Read what a message says; whatever is no job is passed over, for anybody can write into a broker."""
    read: list[Job] = []
    for job in jobs[:MOST_JOBS] if isinstance(jobs, list) else []:
        match job:
            case [str(grant_id), int(claim_no)] if 0 < claim_no < 2**63:
                try:
                    read.append((UUID(grant_id), claim_no))
                except ValueError:
                    log.warning("refresh.not_a_job")
            case _:
                log.warning("refresh.not_a_job")
    return read


def start(
    runtime: Runtime, jobs: Sequence[Job], *, status: str = GrantStatus.ACTIVE, put_off: PutOff | None = None
) -> list[Attempt]:
    """Start what is still ours; jobs whose registration cannot be used here are put off, and not blamed."""
    begun = clock.boot()
    started, known = _start_rows(runtime, jobs, status)
    usable: list[Attempt] = []
    unusable: list[tuple[UUID, int, timedelta]] = []
    for job in started:
        try:
            usable.append(Attempt(job, runtime.registrations.ready(known[job.client_id]), begun))
        except (VaultError, OAuthError) as error:
            log.error("refresh.registration_unusable", client=known[job.client_id].name, reason=str(error))  # noqa: TRY400
            unusable.append((job.grant_id, job.claim_no, UNUSABLE_WAIT))
    (put_off or give_back)(unusable)
    spans.started(usable)
    return usable


def _start_rows(runtime: Runtime, jobs: Sequence[Job], status: str) -> tuple[list[Started], dict[int, clients.Known]]:
    if not jobs or not runtime.fit:
        return [], {}
    try:
        with transaction() as connection:
            started = attempts.start(connection, jobs, journal_id=runtime.journal_id, status=status, tick=runtime.tick)
            return started, clients.known(connection, [job.client_id for job in started])
    except OperationalError:
        # Whether the COMMIT was carried out is unknown. What was begun is given back: nothing was sent for it.
        runtime.unfinished.write(lambda: _give_back_begun(runtime, jobs))
        return [], {}


def _give_back_begun(runtime: Runtime, jobs: Sequence[Job]) -> bool:
    """Whether all that was begun is given back; a row that a stranger holds is not."""
    with transaction() as connection:
        mine = attempts.begun(connection, jobs, journal_id=runtime.journal_id)
        given = [(grant_id, no + 1, release_wait(random.random())) for grant_id, no in mine]
        return attempts.release(connection, given) == len(mine)


def give_back(jobs: Sequence[tuple[UUID, int, timedelta]]) -> None:
    """Release jobs of which nothing was sent."""
    if jobs:
        with transaction() as connection:
            attempts.release(connection, jobs)


def ask(runtime: Runtime, attempt: Attempt) -> None:
    """Send the one request of an attempt on the loop thread; whatever becomes of it arrives to be settled."""
    runtime.admission.begin(attempt)
    try:
        request = check(runtime, attempt) or request_of(runtime, attempt)
    except Exception as error:  # noqa: BLE001  # whatever it is, nothing was sent
        request = HeldBack(str(error))
    if isinstance(request, HeldBack | NotSent):
        _arrive(runtime, attempt, request)
    else:
        runtime.transport.launch(_ask(runtime, attempt, request, clock.boot()))


async def _ask(runtime: Runtime, attempt: Attempt, request: Request, launched_at: timedelta) -> None:
    deadline = attempt.registered.times.deadline

    def may_leave() -> HeldBack | None:
        runtime.admission.leaves(attempt, launched_at=launched_at)
        return check(runtime, attempt)

    try:
        answer = await retry.send(runtime.transport, request, deadline=deadline, guard=may_leave)
    except BaseException:
        # Cancelled at the end of the process: the attempt lease lapses and the next one finds it in doubt.
        log.exception("refresh.abandoned", grant_id=str(attempt.job.grant_id))
        raise
    spans.asked(attempt, answer, launched_at=launched_at)
    if isinstance(answer, NotSent):
        runtime.admission.note_late(attempt)
    _arrive(runtime, attempt, answer)


def check(runtime: Runtime, attempt: Attempt) -> HeldBack | None:
    """Ask the guard; None: it may be sent."""
    client_id = attempt.job.client_id
    return guard(
        attempt.situation(
            journal_writable=runtime.journal.check_writable() is None,
            valve_shut=attempt.job.valve_shut
            or (not attempt.job.canary and runtime.admission.valve_is_shut(client_id)),
            stopping=runtime.stopping.is_set(),
        )
    )


def request_of(runtime: Runtime, attempt: Attempt) -> Request | HeldBack | NotSent:
    """Open the refresh token and write the request; of a grant without an address nothing is sent.

    Raises:
        KeyMissing, SealBroken: it cannot be opened here; the grant is not blamed.

    """
    job = attempt.job
    if job.sealed_refresh_token is None:
        return HeldBack("no_refresh_token", wait=UNUSABLE_WAIT)
    token = runtime.vault.open(job.sealed_refresh_token, table="grants", row_id=job.grant_id, purpose="refresh")
    try:
        return messages.refresh(attempt.registered.registration, refresh_token=token, labels=job.labels)
    except (AddressError, MissingSetting) as error:
        log.error("refresh.no_address", ref=job.ref, grant_id=str(job.grant_id), reason=str(error))  # noqa: TRY400
        return NotSent(error.code)


def _arrive(runtime: Runtime, attempt: Attempt, answer: Answer) -> None:
    runtime.answers.arrive(Arrived(attempt, answer, clock.wall()))
