"""Revoke: kill a grant at the provider, every branch of it, and see that it is dead.

A branch is a pair that is not known dead: the one that the row holds, surplus, and predecessors where they live on.

    start      compare-and-swap on the grant's claim number, as for a refresh
    present    the kept access tokens, newest first: at `on_use` any use kills the direct predecessor
    refresh    a branch whose access token has expired: some providers answer 200 to its revocation and do nothing;
               at `until_next_refresh` instead of a predecessor its successor, which kills it
    revoke     each branch by its refresh token
    look       whether it is dead: a 200 proves nothing
    end        done with evidence, or again later, or a dead letter

Each step is noted in the database, so an attempt that ends early goes on where it was.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, NoReturn, assert_never
from uuid import UUID

import structlog
from celery import shared_task

from models import revocation
from models.claim import Job
from models.database import AWAY, Lane, is_locked, transaction, using
from models.revocation import Branch, Task
from models.sealing.keys import VaultError
from models.states.former_token import PairKind
from models.states.grant import GrantStatus
from models.states.revocation import Because, Evidence
from tasks.evidence import Conclusion, concluded
from tasks.liveness import Liveness
from tasks.oauth.answer import HeldBack, NotSent
from tasks.oauth.errors import AddressError
from tasks.oauth.revocation import already_gone, names_access_token
from tasks.oauth.rotation import Rotation
from tasks.oauth.shapes import Kind, Presented, Reach
from tasks.policy.life import Life
from tasks.policy.outcome import (
    Accepted,
    GrantThrottled,
    NotNow,
    NotUnderstood,
    Outcome,
    Race,
    Refreshed,
    Refused,
    Unknown,
    revocation_outcome,
)
from tasks.policy.valve import Result, Sign
from tasks.refresh import read_jobs, request_of, start
from tasks.revocation_end import RevocationEnd
from tasks.revocation_requests import NoSlot, NotYet, RevocationRequests
from tasks.runtime import clock, retry, runtime, valves
from tasks.runtime.attempt import Arrived, Attempt
from tasks.runtime.runtime import Runtime
from tasks.settling import credentials
from tasks.settling.reading import read, sign_of
from tasks.settling.settle import settle

log = structlog.get_logger()


@shared_task(name="evergrant.revoke", ignore_result=True)
def revoke(jobs: Any = None, **_later: Any) -> None:
    """Carry out `[[grant_id, claim_no], …]` of grants whose revocation beat has claimed, beside Celery's threads."""
    worker = runtime.current()
    for job in worker.admission.once(read_jobs(jobs)):
        worker.revoke(partial(_revoke, worker, job))


def _revoke(runtime: Runtime, job: Job) -> None:
    with using(Lane.ASKED):
        for attempt in begin(runtime, job):
            RevocationAttempt(runtime, attempt).carry_out()


def begin(runtime: Runtime, job: Job) -> list[Attempt]:
    """Start the revocation of a grant, where it is still ours."""
    return start(runtime, [job], status=GrantStatus.REVOKING, put_off=partial(_put_off, runtime))


def _put_off(runtime: Runtime, jobs: Sequence[tuple[UUID, int, timedelta]]) -> None:
    """Queue them for later: a revocation has a due time of its own, and beat would claim it again at once."""
    for grant_id, claim_no, wait in jobs:
        runtime.unfinished.write(partial(_queue_again, grant_id, claim_no, wait))


def _queue_again(grant_id: UUID, claim_no: int, wait: timedelta) -> bool:
    with transaction() as connection:
        revocation.again(connection, grant_id, claim_no, wait=wait)
    return True


class RevocationAttempt:
    """One attempt to end one grant."""

    def __init__(self, runtime: Runtime, attempt: Attempt) -> None:
        self.runtime = runtime
        self.attempt = attempt
        self.provider = attempt.registered.provider
        self.requests = RevocationRequests(runtime, attempt)
        self.liveness = Liveness(runtime, attempt, self.requests)
        self.end = RevocationEnd(runtime, attempt)
        self.failing_since: datetime | None = None
        self.whole_ended = False  # by a revocation of this attempt that names no token
        self.killed = 0  # pairs, by now

    def carry_out(self) -> None:
        """Do what can be done now, and note how it ended."""
        job = self.attempt.job
        task = retry.while_database_away(self._task, give_up=self.runtime.stopping)
        if task is None:
            return
        self.failing_since = task.failing_since
        try:
            self.end.done(task, self._kill(task), requests=self.requests.sent)
        except NotYet as end:
            self.end.again(task, end)
        except AddressError as error:
            # Its labels make no address: nothing was sent, and whoever mends them is told by its last error.
            log.error("revoke.no_address", grant_id=str(job.grant_id), reason=str(error))  # noqa: TRY400
            self.end.again(task, NotYet(error.code))
        except VaultError as error:
            # Its key is not here: never sent, never blamed, told.
            log.error("revoke.cannot_open", grant_id=str(job.grant_id), reason=str(error))  # noqa: TRY400
            self.end.again(task, NotYet("key_missing", failed=False))
        except AWAY as error:
            # Its attempt must end all the same: one that nobody ended would leave this journal in the doubt for as
            # long as this process lives.
            away = "row_locked" if is_locked(error) else "database_away"
            log.warning("revoke.database_away", grant_id=str(job.grant_id), reason=away, error=type(error).__name__)
            self.end.again(task, NotYet(away, failed=False))

    def _task(self) -> Task | None:
        with transaction() as connection:
            return revocation.task(connection, self.attempt.job.grant_id)

    def _kill(self, task: Task) -> Conclusion:
        """Kill every branch; returns what is known then.

        Raises:
            NotYet: something must be tried again later.

        """
        if self.provider.revoke_url is None:
            return self._let_lapse(task)
        dead = self._present(task.branches)
        living = [each for each in task.branches if not each.dead and each not in dead]
        for stale in [each for each in living if self._is_stale(each, task)]:
            if stale not in living:
                continue  # refused for its predecessor's sake
            if self._must_give_way(living):
                raise NoSlot
            renewed = self._renewed_for(stale, living)
            self._freshen(renewed, once_more=task.freshened and renewed.former_token_id is None)
            living.remove(renewed)
        seen: list[bool] = []
        for place, each in enumerate(living):
            if place and self._must_give_way(living[place:], unseen=seen.count(False)):
                raise NoSlot
            seen.append(self._end_branch(each))
        return concluded(self.provider, task, all_seen=all(seen))

    def _let_lapse(self, task: Task) -> Conclusion:
        """Nobody can revoke here: the grant stays blocked, and what it held is shredded when it has lapsed."""
        ends = [each.access_expires_at for each in task.branches if each.access_expires_at and not each.expired]
        if task.older_access_ends_at is not None:
            ends.append(task.older_access_ends_at)
        if ends:
            waiting = NotYet("waits_for_the_end_of_the_access_token", failed=False)
            waiting.wait = max(max(ends) - self.attempt.job.started_at, timedelta(seconds=1))
            raise waiting
        return Conclusion(Evidence.UNSUPPORTED, [Because.NO_REVOCATION_ENDPOINT])

    # Steps

    def _must_give_way(self, left: Sequence[Branch], *, unseen: int = 0) -> bool:
        """Whether those that are `left` wait for the next claim: a pair was killed, and the client's rate is used up.

        A chain of twenty pairs takes eighty requests: sent in one go, refreshes would wait for all of them. No more
        pairs are asked about again than were killed: those looked at already, and the `unseen`, for nothing is noted of
        them.
        """
        again = unseen + sum(self.liveness.last_seen(each) is not None for each in left)
        return self.killed > 0 and self.killed >= again and not self.requests.has_slot()

    def _give_way(self, left: Sequence[Branch]) -> NoReturn:
        """End the grant's own pair, where that can be done now, and leave its predecessors to the next claim."""
        for own in left:
            if own.former_token_id is None and not own.expired:
                self._end_branch(own)
        raise NoSlot

    def _is_stale(self, branch: Branch, task: Task) -> bool:
        """Whether a branch must be refreshed first: its access token has ended, or does not open the API.

        Where the API is all that we can ask, a 401 after the revocation says something only if there was none before.
        """
        if self.provider.revocation is Reach.REFRESH and not names_access_token(self.provider):
            return False  # it would only make one more access token that lives on
        if branch.kind == PairKind.PREDECESSOR:
            return branch.expired and self.provider.rotation is Rotation.UNTIL_NEXT_REFRESH
        if branch.expired:
            return self.provider.kind is Kind.CODE
        if self.provider.probe or not self.liveness.can_be_used(branch):
            return False
        life = self.liveness.last_seen(branch) or self.liveness.look_at_access(branch)
        return life is Life.DEAD and not task.freshened and self.provider.kind is Kind.CODE

    def _renewed_for(self, stale: Branch, living: Sequence[Branch]) -> Branch:
        """Which pair is refreshed for a stale one's sake: itself, or the living one whose predecessor dies by it.

        Then that living one is the predecessor, with an access token that is younger: its revocation is heeded. A
        predecessor whose successors are gone (a restored row brings such) is refused, which is its end.
        """
        return next((each for each in living if stale.precedes(each)), stale)

    def _freshen(self, branch: Branch, *, once_more: bool) -> None:
        """Refresh a branch whose access token has expired, as any refresh: journaled, and settled by generation.

        `once_more`: one refresh did not do. Whatever the cause, such a revocation waits longer each time.
        """
        attempt = self.requests.attempt_with(branch)
        request = request_of(self.runtime, attempt)
        if isinstance(request, HeldBack):
            raise NotYet.of(request)
        if isinstance(request, NotSent):
            raise NotYet(request.code)
        answer = self.requests.send(request, spends=True)
        arrived = Arrived(attempt, answer, clock.wall())
        # Under credentials that never succeeded, or another client's, a living token looks dead.
        match read(arrived, proven=self.attempt.registered.known.proven, vault=self.runtime.vault):
            case Refreshed():
                settle(self.runtime, [arrived])
                raise NotYet("refreshed_first", failed=once_more)
            case Refused() as end:
                # What a refresh does not hope for is an end here: the provider works, and the others need not wait.
                self._feed(end.code, Sign.GOOD)
                self._note_dead([branch.former_token_id])
            case Unknown() | NotNow(unknown=True) | NotUnderstood(unknown=True) as end:
                settle(self.runtime, [arrived])
                raise NotYet(end.code, http_status=end.http_status, rule=end.rule)
            case HeldBack() | NotSent() | NotNow() | NotUnderstood() | GrantThrottled() | Race() as end:
                self._use_former_secret(end)
                self._feed(end.code, sign_of(end), end.retry_after)
                raise NotYet(end.code, http_status=end.http_status, rule=end.rule)
            case end:
                assert_never(end)

    def _present(self, branches: Sequence[Branch]) -> list[Branch]:
        """Use the access tokens that came of living predecessors, newest first; returns those that this has killed.

        A 401 may come from somebody before the provider, who counts no use: where there is a probe, it decides.
        """
        if self.provider.rotation is not Rotation.ON_USE:
            return []
        predecessors = [each for each in branches if each.kind == PairKind.PREDECESSOR and not each.dead]
        dead: list[Branch] = []
        for used in branches:
            killed = [each for each in predecessors if each.precedes(used)]
            if not killed or not self.liveness.can_be_used(used):
                continue
            left = [each for each in branches if not each.dead and each not in dead]
            if self._must_give_way(left):
                self._give_way(left)
            if self.liveness.look_at_access(used) is not Life.UNTOLD:
                gone = [each for each in killed if self._is_gone(each, used)]
                self._note_dead([each.former_token_id for each in gone])
                dead += gone
        return dead

    def _is_gone(self, predecessor: Branch, used: Branch) -> bool:
        if self.provider.probe:
            return self.liveness.probe(predecessor) is Life.DEAD
        if self.liveness.last_seen(used) is Life.DEAD:
            self._revoke(predecessor)
        return True

    def _end_branch(self, branch: Branch) -> bool:
        """Revoke one branch by its refresh token, and look; returns whether it is seen to be dead.

        Raises:
            NotYet: it lives, or the provider did not take the revocation.

        """
        if self._lapsed(branch):
            life = self.liveness.look_at_access(branch) if self.liveness.can_be_used(branch) else Life.UNTOLD
        if not self._lapsed(branch) or life is Life.ALIVE:
            if self.liveness.introspects:
                self.liveness.introspect(branch)
            self._revoke(branch)
            life = self._look_at(branch)
        if life is Life.ALIVE:
            raise NotYet("still_alive")
        if life is Life.DEAD:
            self._note_dead([branch.former_token_id])
        return life is Life.DEAD

    def _lapsed(self, branch: Branch) -> bool:
        """Whether all that there was of a branch has ended by itself: where there is no refresh token beside it."""
        return self.provider.kind is not Kind.CODE and self.liveness.has_expired(branch)

    def _revoke(self, branch: Branch) -> None:
        if self.whole_ended:
            return  # the first has ended all of them
        answer = self.requests.send(self.requests.revocation_of(branch))
        hide, gone = self.requests.secrets_of(branch), already_gone(self.provider)
        match revocation_outcome(answer, provider=self.provider, wall_clock=clock.wall(), hide=hide, already_gone=gone):
            case Accepted():
                self.whole_ended = self.provider.revoke_token is Presented.NEITHER
                self._feed("accepted", Sign.GOOD)
            case (
                Refreshed()
                | HeldBack()
                | NotSent()
                | NotNow()
                | Refused()
                | NotUnderstood()
                | GrantThrottled()
                | Race()
                | Unknown()
            ) as end:
                self._use_former_secret(end)
                self._feed(end.code, sign_of(end), end.retry_after)
                raise NotYet(end.code, http_status=end.http_status, rule=end.rule)
            case end:
                assert_never(end)

    def _use_former_secret(self, end: Outcome) -> None:
        """Fall back to the client's former secret where the new one was refused.

        Raises:
            NotYet: it was, so the revocation is made again at once.

        """
        known = self.attempt.registered.known
        about_us = end.code == "invalid_client" or end.http_status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        if not about_us or not credentials.is_refused(known, end, known.credentials_no):
            return
        with transaction() as connection:
            fallen = credentials.fall_back(connection, known, end.code) is not None
        if fallen:
            raise NotYet("credentials_replaced", failed=False)

    def _look_at(self, branch: Branch) -> Life:
        """See whether a revoked branch is dead.

        Raises:
            NotYet: its access token ended meanwhile, perhaps before the revocation: then some servers did nothing, and
                the API's 401 proves nothing. The refresh that comes next will tell.

        """
        if self.provider.probe:
            return self.liveness.probe(branch)
        if self.liveness.introspects and (life := self.liveness.introspect(branch)) is not Life.UNTOLD:
            return life
        if self.provider.revocation is Reach.REFRESH:
            return Life.UNTOLD  # what its access token says is nothing of the refresh token
        if branch.kind == PairKind.PREDECESSOR and self.liveness.has_expired(branch):
            return Life.UNTOLD
        opened = self.liveness.can_be_used(branch) and self.liveness.last_seen(branch) is Life.ALIVE
        life = self.liveness.look_at_access(branch) if opened else Life.UNTOLD
        if self.liveness.has_expired(branch):
            raise NotYet("expired_meanwhile", failed=False)
        return life

    def _feed(self, code: str, sign: Sign | None, wait: timedelta | None = None) -> None:
        if sign is None:
            return
        job = self.attempt.job
        since = self.failing_since
        ended = Result(job.grant_id, job.started_at, sign, code, wait, refused_since=since, of_refresh=False)
        with transaction() as connection:
            shut = valves.feed(connection, {job.client_id: [ended]}, {})
        self.runtime.admission.note_valve(job.client_id, shut.get(job.client_id))

    def _note_dead(self, former_token_ids: Sequence[int | None]) -> None:
        with transaction() as connection:
            revocation.note_dead(connection, self.attempt.job.grant_id, former_token_ids)
        self.killed += len(former_token_ids)
