"""Decide what each answer of a group means for its row, whose lock is held: pure, apart from the sealing.

A token set for generation g is *stored* as g+1 where the row is at g or behind, at g only if the token that was
sent is the row's or one of its former ones. Any other set is *surplus*: kept, never dropped, unless the pair is
held already. Everything else ends its attempt, with a judgement that the statement writes only where the claim
and the generation are still the attempt's own.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from models.attempt import Started
from models.client import Known
from models.sealing.vault import Vault
from models.settlement import PREDECESSORS_KEPT, Ended, LockedGrant, Stored, Surplus
from models.states.client import Keep
from models.states.dead_letter import Cause
from models.states.grant import GrantStatus
from models.suspects import Surroundings
from settings import Settings
from tasks.oauth.messages import TokenSet, scope_set
from tasks.oauth.rotation import Rotation
from tasks.oauth.transport import HeldBack, NotSent
from tasks.policy import guard, refusal, timing
from tasks.policy.outcome import NotNow, NotUnderstood, Outcome, Refreshed, Refused, Unknown, outcome
from tasks.policy.refusal import Refusals
from tasks.policy.second_look import first_look
from tasks.policy.valve import Sign
from tasks.policy.verdict import Evidence, Verdict, Wait, verdict
from tasks.runtime.attempt import Arrived, Asked

ENDING = (GrantStatus.REVOKING, GrantStatus.REVOKED)
Failure = NotSent | NotNow | Refused | NotUnderstood | Unknown  # an attempt that was made, and brought no token set


@dataclass(slots=True)
class Decisions:
    """What a group of answers changes."""

    stored: list[Stored] = field(default_factory=list)
    surplus: list[Surplus] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    released: list[tuple[UUID, int, timedelta]] = field(default_factory=list)
    recovered: list[UUID] = field(default_factory=list)  # from needs_consent
    letters_to_close: list[UUID] = field(default_factory=list)  # of these grants
    unplaced: list[UUID] = field(default_factory=list)  # a pair that may live has no place in the row any more
    reopened: list[UUID] = field(default_factory=list)  # a token set arrived although its end was asked for
    letters: dict[UUID, str] = field(default_factory=dict)  # the cause
    looks: dict[UUID, timedelta] = field(default_factory=dict)  # when those who were declared dead are asked once more
    scope_changes: dict[UUID, dict[str, str | None]] = field(default_factory=dict)
    deaths_held: dict[int, datetime] = field(default_factory=dict)


def read(arrived: Arrived, *, proven: bool) -> Outcome:
    """What an answer means; whatever it is, a value comes back."""
    try:
        return outcome(
            arrived.answer,
            proven=proven,
            wall_clock=arrived.received_at,
            retry_after_header=arrived.attempt.registered.provider.retry_after_header,
        )
    except Exception as error:  # noqa: BLE001  # an answer that we cannot read is no verdict
        return Unknown(f"unread_{type(error).__name__}", None)


def read_all(group: Sequence[Arrived], known: Mapping[int, Known]) -> list[Outcome]:
    """What the answers of a group mean; a success among them proves its credentials for the others.

    Proven are the credentials that a request was sent under: they may have been replaced while it was under way.
    """
    proven = {(client.id, client.credentials_no) for client in known.values() if client.proven}
    outcomes = [read(arrived, proven=_credentials(arrived) in proven) for arrived in group]
    fresh = {
        _credentials(arrived) for arrived, end in zip(group, outcomes, strict=True) if isinstance(end, Refreshed)
    } - proven
    return [
        read(arrived, proven=True) if _credentials(arrived) in fresh and not isinstance(end, Refreshed) else end
        for arrived, end in zip(group, outcomes, strict=True)
    ]


def _credentials(arrived: Arrived) -> tuple[int, int]:
    return arrived.attempt.job.client_id, arrived.attempt.registered.known.credentials_no


def sign_of(end: Outcome) -> Sign | None:
    """What an outcome tells the client's valve; None: nothing was tried."""
    match end:
        case Refreshed():
            return Sign.GOOD
        case Refused():
            return Sign.NEUTRAL
        case NotUnderstood():
            return Sign.REFUSED
        case NotNow():
            return Sign.NOT_NOW
        case HeldBack():
            return None
        case NotSent() | Unknown():
            return Sign.BAD
        case _:
            assert_never(end)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the end of an attempt without a token set counts as."""

    failed: bool = False
    suspect: bool = False
    refused: bool = False


def _meaning(end: Failure) -> Meaning:
    match end:
        case Refused():
            return Meaning(suspect=True)
        case NotUnderstood():
            return Meaning(failed=True, refused=True)
        case NotNow():
            return Meaning(failed=end.unknown)
        case NotSent() | Unknown():
            return Meaning(failed=True)
        case _:
            assert_never(end)


def read_refusals(
    group: Sequence[Arrived], outcomes: Sequence[Outcome], held: Mapping[UUID, LockedGrant]
) -> dict[UUID, Refusals]:
    """What is known of each grant of a group that was refused in words that nobody understands.

    Who succeeded beside it in the group is a witness as well as who did before.
    """
    succeeded: dict[int, datetime] = {}
    for arrived, end in zip(group, outcomes, strict=True):
        job = arrived.attempt.job
        if isinstance(end, Refreshed):
            succeeded[job.client_id] = max(job.started_at, succeeded.get(job.client_id, job.started_at))
    return {
        a.attempt.job.grant_id: _refusals(held[a.attempt.job.grant_id], end, succeeded.get(a.attempt.job.client_id))
        for a, end in zip(group, outcomes, strict=True)
        if isinstance(end, NotUnderstood) and a.attempt.job.grant_id in held
    }


def _refusals(row: LockedGrant, end: NotUnderstood, succeeded: datetime | None) -> Refusals:
    """What is known of one; refused in another word than before it begins anew, for that may have another cause."""
    witness = max(filter(None, (row.witness_at, succeeded)), default=None)
    alike = row.refused_code == end.code
    since = row.refused_since if alike else None
    return Refusals(
        before=row.refusals if alike else 0,
        since=since,
        witnessed=_is_after(witness, since),
        all_refused=row.client_refused_since is not None and not _is_after(witness, row.client_refused_since),
        proven=row.credentials_proven,
    )


def _is_after(witness: datetime | None, refused_since: datetime | None) -> bool:
    return witness is not None and refused_since is not None and witness > refused_since


class Decider:
    """Decides a group, row by row."""

    def __init__(
        self,
        vault: Vault,
        settings: Settings,
        held: Mapping[UUID, LockedGrant],
        around: Mapping[UUID, Surroundings],
        refused: Mapping[UUID, Refusals],
    ) -> None:
        self.vault = vault
        self.settings = settings
        self.held = held
        self.around = around
        self.refused = refused
        self.made = Decisions()

    def decide(self, arrived: Arrived, end: Outcome) -> None:
        """Add what one answer changes."""
        row = self.held.get(arrived.attempt.job.grant_id)
        if row is None:
            return
        match end:
            case Refreshed(token_set=token_set):
                self.token_set(arrived.asked, row, token_set)
            case HeldBack(wait=wait):
                self._release(arrived, wait)
            case Refused() | NotUnderstood() | NotNow() | NotSent() | Unknown():
                self._end(arrived, row, end)
            case _:
                assert_never(end)

    # A token set

    def token_set(self, asked: Asked, row: LockedGrant, token_set: TokenSet, *, settled_before: bool = False) -> None:
        """Add what a token set changes, whether it arrived just now or was found in a journal.

        `settled_before`: the journal says so, and it is read once more because commits may be missing. What an answer
        to the same question has displaced just now is surplus; what else has no place was replaced long since.
        """
        mine = asked.fingerprint in (row.refresh_fingerprint, *row.former_fingerprints)
        if row.generation < asked.generation or (row.generation == asked.generation and mine):
            self.made.stored.append(self._stored(asked, row, token_set))
            if row.status == GrantStatus.NEEDS_CONSENT:
                self.made.recovered.append(row.grant_id)
            if row.has_letter:
                self.made.letters_to_close.append(row.grant_id)
            if token_set.scope is not None and scope_set(token_set.scope) != scope_set(row.scope) and row.scope:
                self.made.scope_changes[row.grant_id] = {"before": row.scope, "after": token_set.scope}
        elif token_set.refresh_token is None or self._is_held(row, token_set.refresh_token):
            return
        elif settled_before and (row.generation != asked.generation + 1 or row.status in ENDING):
            # At `on_use` it may live on as a predecessor, and its place among them is lost.
            self.made.unplaced += [row.grant_id] if row.rotation == Rotation.ON_USE else []
            return
        else:
            self.made.surplus.append(self._surplus(asked, token_set, token_set.refresh_token))
        if row.status in ENDING:
            self.made.reopened.append(row.grant_id)

    def _is_held(self, row: LockedGrant, refresh_token: str) -> bool:
        known = {row.refresh_fingerprint, *row.former_fingerprints}
        return not known.isdisjoint(self.vault.fingerprints(refresh_token))

    def _stored(self, asked: Asked, row: LockedGrant, token_set: TokenSet) -> Stored:
        life = _life(asked, token_set)
        idle = asked.provider.idle_refresh_days
        due = timing.next_due(
            asked.started_at, life, asked.grant_id, on_demand=row.keep == Keep.ON_DEMAND, idle_days=idle
        )
        token = token_set.refresh_token
        fingerprint = None if token is None else self.vault.fingerprint(token)
        return Stored(
            grant_id=asked.grant_id,
            generation=asked.generation,
            sealed_refresh_token=None if token is None else self._seal(asked.grant_id, token, "refresh"),
            sealed_access_token=self._seal(asked.grant_id, token_set.access_token, "access"),
            refresh_fingerprint=fingerprint,
            scope=token_set.scope,
            life=life,
            started_at=asked.started_at,
            due_at=due,
            credentials_no=asked.credentials_no,
            sent=asked.fingerprint,
            is_former=not {asked.fingerprint, fingerprint}.isdisjoint(row.former_fingerprints),
            is_crowded=len(row.former_fingerprints) >= PREDECESSORS_KEPT,
        )

    def _surplus(self, asked: Asked, token_set: TokenSet, refresh_token: str) -> Surplus:
        return Surplus(
            grant_id=asked.grant_id,
            generation=asked.generation,
            sealed_refresh_token=self._seal(asked.grant_id, refresh_token, "refresh"),
            sealed_access_token=self._seal(asked.grant_id, token_set.access_token, "access"),
            refresh_fingerprint=self.vault.fingerprint(refresh_token),
            access_expires_at=asked.started_at + _life(asked, token_set),
        )

    def _seal(self, grant_id: UUID, token: str, purpose: str) -> bytes:
        return self.vault.seal(token, table="grants", row_id=grant_id, purpose=purpose)

    # No token set

    def _release(self, arrived: Arrived, wait: timedelta | None) -> None:
        job = arrived.attempt.job
        self.made.released.append((job.grant_id, job.claim_no, wait or timing.release_wait(random.random())))

    def _end(self, arrived: Arrived, row: LockedGrant, end: Failure) -> None:
        job = arrived.attempt.job
        told = _meaning(end)
        # What a former token is refused with says nothing of the grant's own; to be revoked all must be dead.
        of_former = job.former_token_id is not None and row.status == GrantStatus.ACTIVE
        death = self._death(arrived, row) if told.suspect else None
        self.made.ended.append(
            Ended(
                grant_id=job.grant_id,
                claim_no=job.claim_no,
                generation=job.generation,
                unknown=end.unknown,
                failed=told.failed,
                suspect=told.suspect and (not of_former or row.suspect_at is not None),
                refused=told.refused and not of_former,
                due_at=row.at + self._wait(arrived, row, end),
                code=end.code,
                http_status=end.http_status,
                reason=death.reason if death else None,
                # Only a definite answer is a try: one that was lost, or never sent, must not cost a living pair.
                former_token_id=job.former_token_id if told.suspect or _is_in_its_word(row, end) else None,
            )
        )
        cause = death.reason if death else self._given_up(row, end) if told.failed else None
        if cause is not None:
            self.made.letters[job.grant_id] = cause
        if death is not None and (look := first_look(death.reason, row.rotation)) is not None:
            self.made.looks[job.grant_id] = look

    def _wait(self, arrived: Arrived, row: LockedGrant, end: Failure) -> timedelta:
        """How long the grant is left alone after an attempt that brought no token set."""
        job = arrived.attempt.job
        match end:
            case Refused():
                return self._wait_of_suspect(job, row)
            case NotNow(unknown=False):
                return timing.release_wait(random.random())
            case Unknown() | NotNow() if self._is_repeated_at_once(job, row):
                return timedelta(0)
            case NotUnderstood():
                return self._wait_of_refused(job, row, end)
            case NotNow() | NotSent() | Unknown():
                return self._back_off(row)
            case _:
                assert_never(end)

    def _wait_of_refused(self, job: Started, row: LockedGrant, end: NotUnderstood) -> timedelta:
        known = self.refused[row.grant_id]
        if job.former_token_id is not None and row.suspect_at is None:
            return self._wait_after_former(row, was_tried=_is_in_its_word(row, end))
        if refusal.tries_former_tokens(known, at=row.at) and row.untried_former_tokens:
            return timing.release_wait(random.random())
        if end.unknown and not known.before and self._is_repeated_at_once(job, row):
            return timedelta(0)
        if not refusal.is_its_own(known):
            return self._back_off(row)
        given_up = timing.GAVE_UP_WAIT if row.failing_for >= self.settings.horizon else timedelta(0)
        return max(refusal.wait(known, row.life, at=row.at, at_most=self.settings.suspect_wait), given_up)

    def _wait_after_former(self, row: LockedGrant, *, was_tried: bool) -> timedelta:
        """One that is refused alone: the next former token soon, each has one attempt; else hourly as before."""
        more = row.untried_former_tokens > was_tried
        return timing.release_wait(random.random()) if was_tried and more else refusal.SELDOM

    def _is_repeated_at_once(self, job: Started, row: LockedGrant) -> bool:
        """At `grace` the old token lives for seconds only: the first repeat goes at once."""
        return bool(row.grace) and guard.begins_doubt(job.started_at, row.doubt_since, row.grace)

    def _back_off(self, row: LockedGrant) -> timedelta:
        if row.failing_for >= self.settings.horizon:
            return timing.GAVE_UP_WAIT
        return timing.back_off(
            row.failures + 1,
            first=timedelta(seconds=self.settings.backoff_first_seconds),
            cap=timedelta(seconds=self.settings.backoff_cap_seconds),
            chance=random.random(),
        )

    def _wait_of_suspect(self, job: Started, row: LockedGrant) -> timedelta:
        if job.former_token_id is not None and row.suspect_at is None:
            return self._wait_after_former(row, was_tried=True)
        if row.suspect_at and row.untried_former_tokens > (job.former_token_id is not None):
            return timing.release_wait(random.random())
        return timing.quarter_of(row.life, at_most=self.settings.suspect_wait)

    def _given_up(self, row: LockedGrant, end: Failure) -> str | None:
        """The cause of a dead letter for a grant that has failed for as long as the horizon."""
        horizon, known = self.settings.horizon, self.refused.get(row.grant_id)
        failing = row.at - row.failing_since if row.failing_since else timedelta(0)
        match end:
            case NotUnderstood() if known is not None and refusal.is_hopeless(known, at=row.at, horizon=horizon):
                return Cause.REFUSED
            case _ if row.failing_for >= horizon:
                return Cause.GAVE_UP
            case NotUnderstood() if known is not None and not refusal.is_its_own(known) and failing >= horizon:
                return Cause.OUR_CONFIGURATION
            case NotUnderstood() | Refused() | NotNow() | NotSent() | Unknown():
                return None
            case _:
                assert_never(end)

    def _death(self, arrived: Arrived, row: LockedGrant) -> Verdict | None:
        """The verdict on a suspect whose *present* token was refused again; None: it waits."""
        job, around = arrived.attempt.job, self.around.get(row.grant_id)
        if row.suspect_at is None or around is None or job.former_token_id is not None:
            return None
        if row.status != GrantStatus.ACTIVE:  # a second look, or its end was asked for
            return None
        judged = verdict(
            Evidence(
                at=row.at,
                suspect_at=row.suspect_at,
                in_doubt=row.doubt_since is not None,
                journals_undrained=row.journals_undrained,
                untried_former_tokens=row.untried_former_tokens,
                witnessed=around.witnessed,
                access_expired=row.access_expires_at is None or row.access_expires_at <= row.at,
                access_rejected=row.access_rejected,
                suspects=around.suspects,
                asked=around.asked,
                deaths_accepted_at=around.deaths_accepted_at,
            )
        )
        if isinstance(judged, Wait):
            if judged.why == "the_mass_guard_is_off":
                self.made.deaths_held[row.client_id] = row.at
            return None
        return judged


def _is_in_its_word(row: LockedGrant, end: Failure) -> bool:
    """Whether a former token of one that is refused alone was refused as its own is: in another word it may be ours."""
    alike = isinstance(end, NotUnderstood) and not end.unknown and end.code == row.refused_code
    return alike and row.suspect_at is None and row.status == GrantStatus.ACTIVE


def _life(asked: Asked, token_set: TokenSet) -> timedelta:
    return timing.life(token_set.expires_in, default=timedelta(seconds=asked.provider.default_life_seconds))
