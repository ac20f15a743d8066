"""Reading: what the answers of a group mean, before anybody decides what they change for a row."""

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from models.attempt import Started
from models.client import Known
from models.locked_grant import LockedGrant
from models.sealing.keys import VaultError
from models.sealing.vault import Vault
from tasks.oauth.answer import Answer, HeldBack, NotSent, Response
from tasks.oauth.error_answers import UNRECOGNISED
from tasks.oauth.provider import Provider
from tasks.oauth.token_answer import untold_word
from tasks.policy.advice import UNPROVEN
from tasks.policy.kinds import of_kind
from tasks.policy.outcome import (
    GrantThrottled,
    NotNow,
    NotUnderstood,
    Outcome,
    Race,
    Refreshed,
    Refused,
    Unknown,
    outcome,
)
from tasks.policy.refusal import Refusals
from tasks.policy.valve import Sign
from tasks.runtime.attempt import Arrived

Ask = Callable[[Sequence[int]], Mapping[int, Known]]


@dataclass(frozen=True, slots=True)
class SecretsSent:
    """The secrets that a request carried; opened only by who looks at them, for most answers repeat nothing."""

    arrived: Arrived
    vault: Vault

    def __iter__(self) -> Iterator[str]:
        attempt = self.arrived.attempt
        sealed, grant_id = attempt.job.sealed_refresh_token, attempt.job.grant_id
        yield attempt.registered.registration.client_secret
        if sealed:
            try:
                yield self.vault.open(sealed, table="grants", row_id=grant_id, purpose="refresh")
            except VaultError:
                return  # then it was not sent either


def read(arrived: Arrived, *, proven: bool, vault: Vault) -> Outcome:
    """What an answer means; whatever it is, a value comes back."""
    job, provider = arrived.attempt.job, arrived.attempt.registered.provider
    try:
        end = outcome(
            arrived.answer,
            provider=arrived.attempt.registered.provider,
            proven=proven,
            wall_clock=arrived.received_at,
            hide=SecretsSent(arrived, vault),
        )
        ended = _has_ended(job, provider) and _is_json(arrived.answer)
        return of_kind(_shaped(end, arrived.answer, vault), provider.kind, token_ended=ended, proven=proven)
    except Exception as error:  # noqa: BLE001  # an answer that we cannot read is no verdict
        return Unknown(f"unread_{type(error).__name__}", None)


def _has_ended(job: Started, provider: Provider) -> bool:
    """Whether the access token held had ended when it was asked for; a life that is the file's may be a guess."""
    told = job.life != timedelta(seconds=provider.default_life_seconds)
    return told and job.access_expires_at is not None and job.access_expires_at <= job.started_at


def _is_json(answer: Answer) -> bool:
    """Whether a token endpoint speaks (RFC 6749 §5.2), and no page with a link that looks like a form."""
    body = answer.body if isinstance(answer, Response) else b""
    return body.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"[")


def _shaped(end: Outcome, answer: Answer, vault: Vault) -> Outcome:
    """An outcome with the shape of the word that may not be told: its length, and a keyed hash of it."""
    if end.code not in (UNRECOGNISED, UNRECOGNISED + UNPROVEN) or not isinstance(answer, Response):
        return end
    word = untold_word(answer.body)
    if word is None:
        return end
    return replace(end, shape=f"<string {len(word)} #{vault.mark(word)}>")


def read_all(group: Sequence[Arrived], known: Ask, vault: Vault) -> list[Outcome]:
    """What the answers of a group mean; a success among them proves its credentials for the others.

    Proven are the credentials that a request was sent under: they may have been replaced while it was under way.
    `known` is asked for the clients of those answers alone that mean one thing under good credentials and another
    under others: a word for a dead token, which may come as a success.
    """
    outcomes = [read(arrived, proven=False, vault=vault) for arrived in group]
    waiting = [_waits_for_proof(end) for end in outcomes]
    if not any(waiting):
        return outcomes
    ids = {arrived.attempt.job.client_id for arrived, waits in zip(group, waiting, strict=True) if waits}
    proven = {(client.id, client.credentials_no) for client in known(sorted(ids)).values() if client.proven}
    proven |= {
        _credentials(arrived) for arrived, end in zip(group, outcomes, strict=True) if isinstance(end, Refreshed)
    }
    return [
        read(arrived, proven=True, vault=vault) if waits and _credentials(arrived) in proven else end
        for arrived, end, waits in zip(group, outcomes, waiting, strict=True)
    ]


def _waits_for_proof(end: Outcome) -> bool:
    return isinstance(end, NotUnderstood) and end.waits_for_proof


def _credentials(arrived: Arrived) -> tuple[int, int]:
    return arrived.attempt.job.client_id, arrived.attempt.registered.known.credentials_no


def sign_of(end: Outcome) -> Sign | None:
    """What an outcome tells the client's valve; None: nothing was tried."""
    match end:
        case Refreshed():
            return Sign.GOOD
        case Refused() | GrantThrottled() | Race():
            return Sign.NEUTRAL
        case NotUnderstood():
            return Sign.REFUSED
        case NotNow():
            return Sign.NOT_NOW
        case HeldBack() | NotSent(is_of_its_address=True):
            return None
        case NotSent() | Unknown():
            return Sign.BAD
        case _:
            assert_never(end)


def read_refusals(
    group: Sequence[Arrived], outcomes: Sequence[Outcome], held: Mapping[UUID, LockedGrant]
) -> dict[UUID, Refusals]:
    """What is known of each grant of a group that was refused in words that nobody understands.

    Who succeeded beside it in the group is a witness as well as who did before.
    """
    if not any(isinstance(end, NotUnderstood) for end in outcomes):
        return {}
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
