"""Revoke: kill a grant at the provider, every branch of it, and see that it is dead.

A branch is a pair that is not known dead: the one that the row holds, surplus, and at `on_use` predecessors.

    start      compare-and-swap on the grant's claim number, as for a refresh
    refresh    a branch whose access token has expired: some providers answer 200 to its revocation and do nothing
    present    the kept access tokens, newest first: at `on_use` any use kills the direct predecessor
    revoke     each branch by its refresh token
    look       whether it is dead: a 200 proves nothing
    end        done with evidence, or again later, or a dead letter

Each step is noted in the database, so an attempt that ends early goes on where it was.
"""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from celery import shared_task

from models import client as clients
from models import dead_letter, event, revocation
from models.database import transaction
from models.keys import VaultError
from models.revocation import Branch, Task
from models.settlement import PREDECESSORS_KEPT
from tasks import clock, retry, valves, workplace
from tasks.attempt import Arrived, Attempt
from tasks.decide import read
from tasks.journal import End, JournalBroken
from tasks.oauth import messages
from tasks.oauth.errors import LabelNotChosen
from tasks.oauth.messages import Request
from tasks.oauth.provider import Rotation
from tasks.oauth.transport import Answer, NotSent, Response
from tasks.policy.outcome import (
    Accepted,
    Life,
    NotNow,
    Refreshed,
    Refused,
    Unknown,
    presented,
    probed,
    revocation_outcome,
)
from tasks.policy.timing import back_off, release_wait
from tasks.policy.valve import USABLE_SHARE, Result, Sign
from tasks.refresh import HeldBack, check, read_jobs, request_of, start
from tasks.settle import settle
from tasks.workplace import Workplace

log = structlog.get_logger()

ACTOR = "evergrant"
# A look that is answered so, and says nothing of the token, will say nothing the next time either.
DECIDED = frozenset(range(300, 500)) - {408, 425, 429}


class NotYet(Exception):
    """This attempt ends here; the revocation is queued again, `failed` where the provider did not play its part."""

    def __init__(self, code: str, *, http_status: int | None = None, failed: bool = True) -> None:
        super().__init__(code)
        self.code = code
        self.http_status = http_status
        self.failed = failed
        self.wait: timedelta | None = None


@shared_task(name="evergrant.revoke", ignore_result=True)
def revoke(jobs: Any = None, **_later: Any) -> None:
    """Carry out `[[grant_id, claim_no], …]` of grants whose revocation beat has claimed."""
    place = workplace.here(settle)
    for job in place.once(read_jobs(jobs)):
        for attempt in start(place, [job], status="revoking"):
            Ending(place, attempt).carry_out()


class Ending:
    """One attempt to end one grant."""

    def __init__(self, place: Workplace, attempt: Attempt) -> None:
        self.place = place
        self.attempt = attempt
        self.provider = attempt.registered.provider
        self.requests = 0
        self.lives: dict[int | None, Life] = {}  # of access tokens that were looked at before any revocation

    def carry_out(self) -> None:
        """Do what can be done now, and note how it ended."""
        job = self.attempt.job
        with transaction() as connection:
            task = revocation.task(connection, job.grant_id, kept=PREDECESSORS_KEPT)
        if task is None:
            return
        try:
            self._done(task, self._kill(task))
        except NotYet as end:
            self._again(task, end)
        except VaultError as error:
            # Its key is not here: never sent, never blamed, told.
            log.error("revoke.cannot_open", grant_id=str(job.grant_id), reason=str(error))  # noqa: TRY400
            self._again(task, NotYet("key_missing", failed=False))

    def _kill(self, task: Task) -> str:
        """Kill every branch; returns the evidence.

        Raises:
            NotYet: something must be tried again later.

        """
        if self.provider.revoke_url is None:
            return self._let_lapse(task.branches)
        living = [each for each in task.branches if not each.dead]
        for stale in [each for each in living if each.expired and each.kind != "predecessor"]:
            self._freshen(stale)
            living.remove(stale)
        dead = self._present(task.branches)
        seen = [self._end_branch(each) for each in living if each not in dead]
        certain = all(seen) and not task.ever_in_doubt and not task.predecessors_dropped
        return "verified" if certain else "accepted"

    def _let_lapse(self, branches: Sequence[Branch]) -> str:
        """Nobody can revoke here: the grant stays blocked, and what it held is shredded when it has lapsed."""
        ends = [each.access_expires_at for each in branches if each.access_expires_at and not each.expired]
        if ends:
            waiting = NotYet("waits_for_the_end_of_the_access_token", failed=False)
            waiting.wait = max(max(ends) - self.attempt.job.started_at, timedelta(seconds=1))
            raise waiting
        return "unsupported"

    # Steps

    def _freshen(self, branch: Branch) -> None:
        """Refresh a branch whose access token has expired, as any refresh: journaled, and settled by generation."""
        answer = self._ask(self._refresh_request(branch), spends=True)
        arrived = Arrived(self._attempt_with(branch), answer, clock.wall())
        # Under credentials that never succeeded, or another client's, a living token looks dead.
        match read(arrived, proven=self.attempt.registered.known.proven):
            case Refreshed():
                settle(self.place, [arrived])
                raise NotYet("refreshed_first", failed=False)
            case Refused():
                self._note_dead([branch.former_token_id])
            case Unknown() | NotNow(unknown=True) as end:
                settle(self.place, [arrived])
                raise NotYet(end.code, http_status=end.http_status)
            case end:
                self._feed(end.code, Sign.NOT_NOW if isinstance(end, NotNow) else Sign.BAD, end)
                raise NotYet(end.code, http_status=getattr(end, "http_status", None))

    def _present(self, branches: Sequence[Branch]) -> list[Branch]:
        """Use the access tokens that came of living predecessors, newest first; returns those that this has killed."""
        if (
            self.provider.rotation is not Rotation.ON_USE
            or (self.provider.confirm_url or self.provider.api_url) is None
        ):
            return []
        predecessors = [each for each in branches if each.kind == "predecessor" and not each.dead]
        dead: list[Branch] = []
        for used in branches:
            killed = [each for each in predecessors if each.precedes(used)]
            if killed and used.sealed_access_token and self._life_before(used) is not Life.UNTOLD:
                self._note_dead([each.former_token_id for each in killed])
                dead += killed
        return dead

    def _end_branch(self, branch: Branch) -> bool:
        """Revoke one branch by its refresh token, and look; returns whether it is seen to be dead.

        A dead access token proves the end of its refresh token only if it was alive before: it may have expired
        earlier than we were told. Then the branch is refreshed first, as any that we know to have expired.

        Raises:
            NotYet: it lives, or the provider did not take the revocation.

        """
        if self._looks_at_access(branch) and self._life_before(branch) is Life.DEAD:
            self._freshen(branch)
            return True
        token = self._open(branch.sealed_refresh_token, "refresh")
        registration = self.attempt.registered.registration
        answer = self._ask(messages.revoke(registration, token=token, hint="refresh_token"))
        header = self.provider.retry_after_header
        match revocation_outcome(answer, wall_clock=clock.wall(), retry_after_header=header):
            case Accepted():
                self._feed("accepted", Sign.GOOD)
            case end:
                self._feed(end.code, Sign.NOT_NOW if isinstance(end, NotNow) else Sign.BAD, end)
                raise NotYet(end.code, http_status=getattr(end, "http_status", None))
        life = self._look_at(branch)
        if life is Life.ALIVE:
            raise NotYet("still_alive")
        if life is Life.DEAD:
            self._note_dead([branch.former_token_id])
        return life is Life.DEAD

    def _look_at(self, branch: Branch) -> Life:
        if self.provider.probe:
            return self._probe(branch)
        return self._look_at_access(branch) if self._looks_at_access(branch) else Life.UNTOLD

    def _looks_at_access(self, branch: Branch) -> bool:
        """Say whether its access token is all that tells what became of it."""
        has_access = branch.sealed_access_token is not None and not branch.expired
        return not self.provider.probe and self.provider.api_url is not None and has_access

    def _life_before(self, branch: Branch) -> Life:
        if branch.former_token_id not in self.lives:
            self.lives[branch.former_token_id] = self._look_at_access(branch)
        return self.lives[branch.former_token_id]

    def _probe(self, branch: Branch) -> Life:
        """Ask by a refresh that consumes nothing; should it consume the token after all, its answer is settled."""
        token = self._open(branch.sealed_refresh_token, "refresh")
        answer = self._ask(messages.probe(self.attempt.registered.registration, refresh_token=token), spends=True)
        arrived = Arrived(self._attempt_with(branch), answer, clock.wall())
        if arrived.may_hold_tokens:
            settle(self.place, [arrived])
        return self._told(answer, probed(answer))

    def _look_at_access(self, branch: Branch) -> Life:
        assert branch.sealed_access_token is not None  # noqa: S101  # both callers have looked
        token = self._open(branch.sealed_access_token, "access")
        call = messages.confirm if self.provider.confirm_url else messages.api_call
        try:
            request = call(self.provider, access_token=token, labels=self.attempt.job.labels)
        except LabelNotChosen:
            request = call(self.provider, access_token=token)
        answer = self._ask(request)
        return self._told(answer, presented(answer))

    def _told(self, answer: Answer, life: Life) -> Life:
        """What a look told; one that was not answered is made again, and is no way to end without having looked.

        Raises:
            NotYet: it was not answered.

        """
        if life is Life.UNTOLD and not (isinstance(answer, Response) and answer.status in DECIDED):
            raise NotYet("look_unanswered", http_status=getattr(answer, "status", None))
        return life

    # Sending

    def _ask(self, request: Request, *, spends: bool = False) -> Answer:
        """Send one request of this attempt, if the guard lets it; `spends`: it may use up a refresh token.

        What a grant in doubt must not do, at `family` above all, is to use its refresh token: to revoke it is safe.

        Raises:
            NotYet: it may not be sent now.

        """
        if self.requests:
            with transaction() as connection:
                clients.debit(connection, self.attempt.job.client_id, usable_share=USABLE_SHARE)
        self.requests += 1
        asking = self.attempt if spends else self.attempt.without_doubt()
        deadline = self.attempt.registered.times.deadline
        sending = retry.send(self.place.transport, request, deadline=deadline, guard=lambda: check(self.place, asking))
        answer = self.place.transport.submit(sending).result()
        if isinstance(answer, NotSent) and answer.code == "guard":
            held = NotYet(str(answer.error), failed=False)
            held.wait = answer.error.held.wait if isinstance(answer.error, HeldBack) else None
            raise held
        return answer

    def _refresh_request(self, branch: Branch) -> Request:
        return request_of(self.place, self._attempt_with(branch))

    def _attempt_with(self, branch: Branch) -> Attempt:
        """This attempt, with the tokens of a branch."""
        return self.attempt.with_token(branch.sealed_refresh_token, branch.refresh_fingerprint, branch.former_token_id)

    def _open(self, sealed: bytes, purpose: str) -> str:
        return self.place.vault.open(sealed, table="grants", row_id=self.attempt.job.grant_id, purpose=purpose)

    def _feed(self, code: str, sign: Sign, end: object = None) -> None:
        job, wait = self.attempt.job, getattr(end, "retry_after", None)
        with transaction() as connection:
            results = {job.client_id: [Result(job.grant_id, job.started_at, sign, code, wait)]}
            shut = valves.feed(connection, results, {})
        self.place.note_valve(job.client_id, shut.get(job.client_id))

    # The end

    def _note_dead(self, former_token_ids: Sequence[int | None]) -> None:
        with transaction() as connection:
            revocation.note_dead(connection, self.attempt.job.grant_id, former_token_ids)

    def _done(self, task: Task, evidence: str) -> None:
        """Write the end, unless the claim has moved on or a pair arrived that was not killed.

        Raises:
            NotYet: one did, or the end cannot be noted in the journal.

        """
        job = self.attempt.job
        with transaction() as connection:
            if not revocation.is_ours(connection, job.grant_id, job.claim_no):
                log.warning("revoke.claim_lost", ref=job.ref, grant_id=str(job.grant_id))
                return
            if revocation.has_unseen(connection, job.grant_id, task.branches):
                raise NotYet("another_pair_arrived", failed=False)
            self._note_end(task, evidence)
            revocation.done(connection, job.grant_id, evidence=evidence)
            for kind in ("refresh", "revoke"):
                dead_letter.close(connection, [job.grant_id], kind=kind, resolution="revoked", resolved_by=ACTOR)
            event.of_grants(
                connection, [job.grant_id], "grant.revoked", reason=task.reason, data={"evidence": evidence}
            )
        log.info("revoke", ref=job.ref, grant_id=str(job.grant_id), outcome=evidence, requests=self.requests)

    def _note_end(self, task: Task, evidence: str) -> None:
        """Note the end in the journal first, so that a restored database does not bring the grant back."""
        end = End(
            grant_id=str(self.attempt.job.grant_id), ended_at=clock.wall(), revocation_id=task.id, evidence=evidence
        )
        try:
            self.place.journal.note_end(end)
        except JournalBroken as error:
            raise NotYet("journal_cannot_be_written", failed=False) from error

    def _again(self, task: Task, end: NotYet) -> None:
        job, settings = self.attempt.job, self.place.settings
        failing = job.started_at - task.failing_since if task.failing_since else timedelta(0)
        dead = end.failed and failing >= settings.horizon
        wait = end.wait or release_wait(random.random())
        if end.failed:
            wait = back_off(
                task.attempts + 1,
                first=timedelta(seconds=settings.backoff_first_seconds),
                cap=timedelta(seconds=settings.backoff_cap_seconds),
                chance=random.random(),
            )
        elif end.code in ("refreshed_first", "another_pair_arrived"):
            wait = timedelta(0)
        with transaction() as connection:
            row = revocation.again(
                connection,
                job.grant_id,
                job.claim_no,
                wait=wait,
                failed=end.failed,
                dead=dead,
                code=end.code if end.failed else None,
                http_status=end.http_status,
            )
            if dead and row is not None:
                self._write_letter(connection, task, end, row)
        log.info("revoke.again", ref=job.ref, grant_id=str(job.grant_id), outcome=end.code, failed=end.failed)

    def _write_letter(self, connection: Any, task: Task, end: NotYet, row: dict[str, Any]) -> None:
        dead_letter.write(
            connection,
            self.attempt.job.grant_id,
            kind="revoke",
            cause=end.code,
            detail=None if end.http_status is None else f"HTTP {end.http_status}",
            attempts=row["attempts"],
            first_failed_at=row["failing_since"],
            revocation_id=task.id,
        )
        event.of_grants(connection, [self.attempt.job.grant_id], "revocation.dead", reason=end.code)
