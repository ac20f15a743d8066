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

from models.ended_attempt import Ended
from models.locked_grant import LockedGrant
from models.sealing.vault import Vault
from models.states.client import Keep
from models.states.grant import GrantStatus
from models.suspects import Surroundings
from models.token_set import PREDECESSORS_KEPT, Stored, Surplus
from settings import Settings
from tasks.oauth.answer import HeldBack, NotSent
from tasks.oauth.rotation import KEEP_PREDECESSORS, Rotation
from tasks.oauth.token_answer import TokenSet, scope_set, tokens_of, told_scope
from tasks.policy import drift, timing
from tasks.policy.drift import Drift, Seen, Sighting
from tasks.policy.ends import Before, Ends, access_life, ends
from tasks.policy.outcome import GrantThrottled, NotNow, NotUnderstood, Outcome, Race, Refreshed, Refused, Unknown
from tasks.policy.refusal import Refusals
from tasks.policy.second_look import first_look
from tasks.policy.verdict import Evidence, Verdict, Wait, verdict
from tasks.runtime.attempt import Arrived, Asked
from tasks.settling.drift import answered, habit
from tasks.settling.failure import Failure, Patience, is_in_its_word, not_too_soon
from tasks.settling.reading import SecretsSent

ENDING = (GrantStatus.REVOKING, GrantStatus.REVOKED)


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
    kept: dict[UUID, Mapping[str, str]] = field(default_factory=dict)  # labels that the provider gave anew
    refused_labels: dict[UUID, Mapping[str, str]] = field(default_factory=dict)  # and what cannot be one, with its code
    deaths_held: dict[int, datetime] = field(default_factory=dict)
    strange: set[tuple[int, str, str]] = field(default_factory=set)  # client, provider, and what made no sense
    seen: dict[int, list[Sighting]] = field(default_factory=dict)  # what speaks against a client's profile


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
        case GrantThrottled() | Race():
            return Meaning()
        case NotSent() | Unknown():
            return Meaning(failed=True)
        case _:
            assert_never(end)


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
        self.patience = Patience(settings, refused)
        self.held = held
        self.around = around
        self.made = Decisions()

    def decide(self, arrived: Arrived, end: Outcome) -> None:
        """Add what one answer changes."""
        row = self.held.get(arrived.attempt.job.grant_id)
        if row is None:
            return
        match end:
            case Refreshed(token_set=token_set):
                self.token_set(arrived.asked._replace(sent=SecretsSent(arrived, self.vault)), row, token_set)
            case HeldBack(wait=wait):
                self._release(arrived, wait)
            case Refused() | NotUnderstood() | NotNow() | NotSent() | GrantThrottled() | Race() | Unknown():
                self._end(arrived, row, end)
            case _:
                assert_never(end)

    # A token set

    def token_set(self, asked: Asked, row: LockedGrant, token_set: TokenSet, *, settled_before: bool = False) -> None:
        """Add what a token set changes, whether it arrived just now or was found in a journal.

        `settled_before`: the journal says so, and it is read once more because commits may be missing. What an answer
        to the same question has displaced just now is surplus; what else has no place was replaced long since.
        """
        if asked.started_at > row.at:  # the database's clock was set back since
            asked = asked._replace(started_at=row.at)
        mine = asked.fingerprint in (row.refresh_fingerprint, *row.former_fingerprints)
        if row.generation < asked.generation or (row.generation == asked.generation and mine):
            if token_set.scope != row.scope:
                token_set = told_scope(token_set, asked.sent, asked=asked.provider.scopes)
            self._store(asked, row, token_set, again=settled_before)
        elif token_set.refresh_token is None or self._is_held(row, token_set.refresh_token):
            return
        elif settled_before and (row.generation != asked.generation + 1 or row.status in ENDING):
            # It may live on as a predecessor, and its place among them is lost.
            self.made.unplaced += [row.grant_id] if row.rotation in KEEP_PREDECESSORS else []
            return
        else:
            self.made.surplus.append(self._surplus(asked, token_set, token_set.refresh_token))
        if row.status in ENDING:
            self.made.reopened.append(row.grant_id)

    def _store(self, asked: Asked, row: LockedGrant, token_set: TokenSet, *, again: bool) -> None:
        token = token_set.refresh_token
        fingerprints = [] if token is None else self.vault.fingerprints(token)
        reckoned = self._ends(asked, row, token_set)
        came = answered(asked, row, token_set, fingerprints=fingerprints, life=reckoned.life, again=again)
        by_habit = habit(asked.provider, row)
        spent_refused_at = drift.spent_refused_at(came, by_habit)
        self.made.stored.append(
            self._stored(asked, row, token_set, reckoned, fingerprints=fingerprints, spent_refused_at=spent_refused_at)
        )
        self._keep(asked, token_set)
        self._see(row, drift.seen_in(came, by_habit))
        if row.status == GrantStatus.NEEDS_CONSENT:
            self.made.recovered.append(row.grant_id)
        if row.has_letter:
            self.made.letters_to_close.append(row.grant_id)
        if _is_another_scope(row.scope, token_set.scope):
            self.made.scope_changes[row.grant_id] = {"before": row.scope, "after": token_set.scope}

    def _keep(self, asked: Asked, token_set: TokenSet) -> None:
        """Add the labels that came with a token set: of one that is surplus they are as old as it is."""
        kept = asked.kept.without(asked.sent, tokens=tokens_of(token_set))
        if kept.values:
            self.made.kept[asked.grant_id] = kept.values
        if kept.refused:
            self.made.refused_labels[asked.grant_id] = kept.refused

    def _is_held(self, row: LockedGrant, refresh_token: str) -> bool:
        known = {row.refresh_fingerprint, *row.former_fingerprints}
        return not known.isdisjoint(self.vault.fingerprints(refresh_token))

    def _see(self, row: LockedGrant, sightings: Sequence[Sighting]) -> None:
        for each in sightings:
            if each.seen is Seen.NO_NEW_REFRESH_TOKEN and row.drift and Drift.NO_NEW_REFRESH_TOKEN in row.drift:
                continue  # it was told; every answer says it
            self.made.seen.setdefault(row.client_id, []).append(each)

    def _ends(self, asked: Asked, row: LockedGrant, token_set: TokenSet) -> Ends:
        reckoned = ends(
            token_set,
            asked.provider,
            grant_id=asked.grant_id,
            started_at=asked.started_at,
            on_demand=row.keep == Keep.ON_DEMAND and asked.provider.may_rest,
            before=_before(row),
        )
        if reckoned.strange:
            self.made.strange |= {(row.client_id, asked.provider.name, each) for each in reckoned.strange}
        return reckoned

    def _stored(
        self,
        asked: Asked,
        row: LockedGrant,
        token_set: TokenSet,
        reckoned: Ends,
        *,
        fingerprints: Sequence[bytes],
        spent_refused_at: datetime | None,
    ) -> Stored:
        """`fingerprints`: of the refresh token that came, under each key, the active one first."""
        token = token_set.refresh_token
        fingerprint = fingerprints[0] if fingerprints else None
        return Stored(
            grant_id=asked.grant_id,
            generation=asked.generation,
            sealed_refresh_token=None if token is None else self._seal(asked.grant_id, token, "refresh"),
            sealed_access_token=self._seal(asked.grant_id, token_set.access_token, "access"),
            refresh_fingerprint=fingerprint,
            scope=token_set.scope,
            life=reckoned.life,
            started_at=asked.started_at,
            due_at=max(reckoned.due_at, asked.started_at + asked.provider.grant_interval),
            refresh_expires_at=reckoned.refresh_expires_at,
            consent_expires_at=reckoned.consent_expires_at,
            credentials_no=asked.credentials_no,
            spent_refused_at=spent_refused_at,
            sent=asked.fingerprint,
            is_former=not {asked.fingerprint, fingerprint}.isdisjoint(row.former_fingerprints),
            ends_predecessor=_ends_predecessor(asked, row),
            is_crowded=len(row.former_fingerprints) >= PREDECESSORS_KEPT,
        )

    def _surplus(self, asked: Asked, token_set: TokenSet, refresh_token: str) -> Surplus:
        return Surplus(
            grant_id=asked.grant_id,
            generation=asked.generation,
            sealed_refresh_token=self._seal(asked.grant_id, refresh_token, "refresh"),
            sealed_access_token=self._seal(asked.grant_id, token_set.access_token, "access"),
            refresh_fingerprint=self.vault.fingerprint(refresh_token),
            access_expires_at=asked.started_at + access_life(token_set, asked.provider, asked.started_at),
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
        death = self._death(arrived, row, end) if isinstance(end, Refused) else None
        self.made.ended.append(
            Ended(
                grant_id=job.grant_id,
                claim_no=job.claim_no,
                generation=job.generation,
                unknown=end.unknown,
                failed=told.failed,
                suspect=told.suspect and (not of_former or row.suspect_at is not None),
                refused=told.refused and not of_former,
                due_at=not_too_soon(
                    arrived,
                    row.at,
                    timing.before_the_end(self.patience.wait(job, row, end), row.at, row.refresh_expires_at),
                ),
                code=end.code,
                http_status=end.http_status,
                reason=death.reason if death else None,
                # Only a definite answer is a try: one that was lost, or never sent, must not cost a living pair.
                former_token_id=job.former_token_id if told.suspect or is_in_its_word(row, end) else None,
                rule=end.rule,
                shape=end.shape,
            )
        )
        if death is not None and row.spent_refused_at is not None and row.doubt_since is None:
            self._see(row, [Sighting(Seen.WINNER_DIED, row.grant_id)])
        cause = death.reason if death else self.patience.given_up(row, end) if told.failed else None
        if cause is not None:
            self.made.letters[job.grant_id] = cause
        if death is not None and (look := first_look(death.reason, row.rotation)) is not None:
            self.made.looks[job.grant_id] = look

    def _death(self, arrived: Arrived, row: LockedGrant, end: Refused) -> Verdict | None:
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
                told=end.reason,
            )
        )
        if isinstance(judged, Wait):
            if judged.why == "the_mass_guard_is_off":
                self.made.deaths_held[row.client_id] = row.at
            return None
        return judged


def _before(row: LockedGrant) -> Before:
    return Before(
        row.created_at,
        row.refreshed_at,
        row.access_expires_at,
        row.refresh_expires_at,
        row.consent_expires_at,
        row.life,
    )


def _is_another_scope(before: str | None, after: str | None) -> bool:
    """Whether an answer tells another scope than the row's; nearly all repeat it to the letter."""
    return bool(before) and after not in (None, before) and scope_set(after) != scope_set(before)


def _ends_predecessor(asked: Asked, row: LockedGrant) -> bool:
    """Whether a success with the row's own refresh token has killed the one that it came of."""
    last = row.rotation == Rotation.UNTIL_NEXT_REFRESH and bool(row.former_fingerprints)
    return last and row.generation == asked.generation and row.refresh_fingerprint == asked.fingerprint
