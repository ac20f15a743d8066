"""Revocation end: how one attempt to end a grant ended: done with evidence, again later, or a dead letter."""

import random
from datetime import UTC, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from models import dead_letter, ended_attempt, event, revocation
from models.database import transaction
from models.revocation import Task
from models.states.dead_letter import LetterKind, Resolution
from models.states.event import EventType
from tasks.evidence import Conclusion
from tasks.journal import End, JournalBroken
from tasks.policy.timing import back_off, release_wait
from tasks.revocation_requests import NotYet
from tasks.runtime import clock, meters
from tasks.runtime.attempt import Attempt
from tasks.runtime.runtime import Runtime

log = structlog.get_logger()

ACTOR = "evergrant"

# Ways to end an attempt that leave nothing to wait for.
AT_ONCE = frozenset({"credentials_replaced", "refreshed_first", "expired_meanwhile", "another_pair_arrived"})


class RevocationEnd:
    """Writes the end of one attempt."""

    def __init__(self, runtime: Runtime, attempt: Attempt) -> None:
        self.runtime = runtime
        self.attempt = attempt

    def done(self, task: Task, end: Conclusion, *, requests: int) -> None:
        """Write the end, unless the claim has moved on or a pair arrived that was not killed; `requests`: that it took.

        Raises:
            NotYet: one did, or the end cannot be noted in the journal.

        """
        job, evidence, end_by = self.attempt.job, end.evidence, end.access_tokens_end_by
        with transaction() as connection:
            if not revocation.is_ours(connection, job.grant_id, job.claim_no):
                log.warning("revoke.claim_lost", ref=job.ref, grant_id=str(job.grant_id))
                self._leave_the_doubt(connection)
                return
            if revocation.has_unseen(connection, job.grant_id, task.branches):
                raise NotYet("another_pair_arrived", failed=False)
            self._note_end(task, evidence)
            revocation.done(connection, job.grant_id, evidence=evidence)
            for kind in LetterKind:
                dead_letter.close(
                    connection, [job.grant_id], kind=kind, resolution=Resolution.REVOKED, resolved_by=ACTOR
                )
            data = {"evidence": evidence, "because": end.because}
            if end_by is not None:
                data["access_tokens_end_by"] = end_by.astimezone(UTC).isoformat()
            event.of_grants(connection, [job.grant_id], EventType.GRANT_REVOKED, reason=task.reason, data=data)
        took = job.started_at - task.requested_at + (clock.boot() - self.attempt.begun)
        meters.REVOCATIONS.add([((self.attempt.registered.known.name, evidence), took)])
        log.info("revoke", ref=job.ref, grant_id=str(job.grant_id), outcome=evidence, requests=requests)

    def _note_end(self, task: Task, evidence: str) -> None:
        """Note the end in the journal first, so that a restored database does not bring the grant back."""
        end = End(
            grant_id=str(self.attempt.job.grant_id), ended_at=clock.wall(), revocation_id=task.id, evidence=evidence
        )
        try:
            self.runtime.journal.note_end(end)
        except JournalBroken as error:
            raise NotYet("journal_cannot_be_written", failed=False) from error

    def again(self, task: Task, end: NotYet) -> None:
        """Queue the revocation for later, or for a human where it has failed for as long as the horizon."""
        job, settings = self.attempt.job, self.runtime.settings
        failing = job.started_at - task.failing_since if task.failing_since else timedelta(0)
        dead = end.failed and failing >= settings.horizon
        wait = None if end.keeps_place else end.wait or release_wait(random.random())
        if end.failed:
            wait = back_off(
                task.attempts + 1,
                first=timedelta(seconds=settings.backoff_first_seconds),
                cap=timedelta(seconds=settings.backoff_cap_seconds),
                chance=random.random(),
            )
        elif end.code in AT_ONCE:
            wait = timedelta(0)

        def write() -> bool:
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
                self._leave_the_doubt(connection)
            return True

        self.runtime.unfinished.write(write)
        log.info("revoke.again", ref=job.ref, grant_id=str(job.grant_id), outcome=end.code, failed=end.failed)

    def _leave_the_doubt(self, connection: Connection) -> None:
        """Let nobody wait for our journal: what came of this attempt is settled, or was no token set.

        Where the claim has moved on meanwhile (a process that was frozen) the next attempt does wait for it.
        """
        job, answers = self.attempt.job, self.runtime.answers
        if job.grant_id not in answers.refused and job.grant_id not in answers.parked:
            ended = [(job.grant_id, job.started_at)]
            ended_attempt.not_in_journal(connection, ended, journal_id=self.runtime.journal_id)

    def _write_letter(self, connection: Any, task: Task, end: NotYet, row: dict[str, Any]) -> None:
        dead_letter.write(
            connection,
            self.attempt.job.grant_id,
            kind=LetterKind.REVOKE,
            cause=end.code,
            detail=None if end.http_status is None else f"HTTP {end.http_status}",
            attempts=row["attempts"],
            first_failed_at=row["failing_since"],
            rule=end.rule,
            revocation_id=task.id,
        )
        event.of_grants(connection, [self.attempt.job.grant_id], EventType.REVOCATION_DEAD, reason=end.code)
