"""An attempt in this process: a started job with its registration, and how it ended."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from models.attempt import Started
from tasks.journal import Entry, Position
from tasks.oauth import kept
from tasks.oauth.answer import Answer, Response
from tasks.oauth.kept import NOTHING_KEPT, Kept
from tasks.oauth.provider import Provider
from tasks.policy.guard import Situation
from tasks.runtime import clock
from tasks.runtime.journaling import entry_of
from tasks.runtime.registration import Registered


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that we may send for a grant; `begun` is the boot clock just before its start statement."""

    job: Started
    registered: Registered
    begun: timedelta

    @property
    def lease(self) -> timedelta:
        """How long nobody else may ask for its grant."""
        return self.job.lease_until - self.job.started_at

    def with_token(self, sealed: bytes, fingerprint: bytes, former_token_id: int | None) -> "Attempt":
        """This attempt, with another of the grant's tokens."""
        job = self.job._replace(
            sealed_refresh_token=sealed,
            refresh_fingerprint=fingerprint,
            former_token_id=former_token_id,
        )
        return replace(self, job=job)

    def without_doubt(self) -> "Attempt":
        """This attempt, for a request that uses up no refresh token and so need not wait for an answer in doubt."""
        return replace(self, job=self.job._replace(doubt_since=None))

    def situation(self, *, journal_writable: bool, valve_shut: bool, stopping: bool) -> Situation:
        """What the guard needs to know now."""
        job, provider, age = self.job, self.registered.provider, clock.boot() - self.begun
        ends = job.access_expires_at
        return Situation(
            rotation=provider.rotation,
            age=age,
            lease=self.lease,
            deadline=self.registered.times.deadline,
            journal_writable=journal_writable,
            client_paused=job.client_paused,
            valve_shut=valve_shut,
            stopping=stopping,
            in_doubt_for=None if job.doubt_since is None else job.started_at - job.doubt_since + age,
            grace=provider.grace,
            repeated=job.doubt_repeated,
            journals_undrained=job.journals_undrained,
            # What applications are refused with serves no longer, whatever life the provider had promised.
            access_left=None if ends is None or job.access_rejected else ends - job.started_at - age,
            life=job.life,
            after_grace=provider.after_grace,
        )


class Asked(NamedTuple):  # cheaper to make than a frozen dataclass, and made for each answer
    """What was asked for a token set: enough to settle it, from a live attempt or from a journal."""

    grant_id: UUID
    generation: int
    fingerprint: bytes  # of the token that was sent
    started_at: datetime
    provider: Provider
    credentials_no: int
    kept: Kept = NOTHING_KEPT  # the labels that came with its answer
    sent: Iterable[str] = ()  # the secrets of the request, as far as they are known still; its repr shows none


@dataclass(slots=True, eq=False)
class Arrived:
    """How an attempt ended, before anybody has read the answer.

    `journaled`: the journal was asked to take it; `position`: where it stands there, None where it holds no tokens or
    the journal is broken.
    """

    attempt: Attempt
    answer: Answer
    received_at: datetime
    journaled: bool = False
    position: Position | None = None

    @property
    def asked(self) -> Asked:
        """What was asked."""
        job, registered = self.attempt.job, self.attempt.registered
        body = self.answer.body if isinstance(self.answer, Response) else b""
        return Asked(
            grant_id=job.grant_id,
            generation=job.generation,
            fingerprint=job.refresh_fingerprint or b"",
            started_at=job.started_at,
            provider=registered.provider,
            credentials_no=registered.known.credentials_no,
            kept=kept.from_answer(registered.provider, body, job.labels),
        )

    @property
    def may_hold_tokens(self) -> bool:
        """Whether its answer may."""
        return isinstance(self.answer, Response) and self.answer.may_hold_tokens

    @property
    def tells_of_secrets(self) -> bool:
        """Whether its client keeps two secrets, and how this ended tells of one of them."""
        return self.attempt.registered.known.sealed_former_secret is not None

    def entry(self) -> Entry:
        """The answer as the journal keeps it."""
        job = self.attempt.job
        return entry_of(
            self.answer,
            self.attempt.registered.known,
            kind="refresh",
            grant_id=job.grant_id,
            ref=job.ref,
            labels=job.labels,
            generation=job.generation,
            fingerprint=job.refresh_fingerprint or b"",
            started_at=job.started_at,
            received_at=self.received_at,
        )
