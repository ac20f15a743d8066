"""The order of the causes, and the one function that explains: the outermost obstacle is the headline.

What must be out of the way first comes first: what has ended, whether this is the right database, what somebody has
decided, whether anybody works, what the provider does to all of a client, what it does to this grant; then what is by
design. All that hold make the chain. Only where none of them holds it is told what the grant is about.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from tasks.policy.explanation import decided, itself, machinery, outside
from tasks.policy.explanation.cause import Cause, Explanation, Link, iso, length
from tasks.policy.explanation.facts import ACTIVE, PAUSED, Facts

Check = Callable[[Facts], Cause | None]

OBSTACLES: Final[tuple[Check, ...]] = (
    decided.grant_is_revoked,
    machinery.environment_is_another,
    machinery.database_takes_no_write,
    machinery.database_is_unfit,
    decided.consent_is_needed,
    decided.grant_is_handed_over,
    decided.grant_is_paused,
    decided.revocation_has_failed,
    decided.client_is_paused,
    decided.grant_is_being_revoked,
    machinery.disk_is_full,
    machinery.no_beat_is_alive,
    machinery.no_worker_is_alive,
    machinery.processes_are_foreign,
    machinery.processes_cannot_work,
    machinery.key_is_missing,
    machinery.provider_file_is_unusable,
    machinery.refresh_token_is_missing,
    machinery.workers_are_deaf,
    outside.credentials_are_refused,
    outside.nothing_has_succeeded_yet,
    outside.valve_is_shut,
    outside.verdicts_are_held,
    itself.a_journal_is_awaited,
    itself.answer_was_lost,
    itself.grant_is_suspect,
    itself.guard_holds_it,
    itself.grant_is_refused_alone,
    itself.grant_is_failing,
    itself.grant_is_throttled,
    itself.grant_was_renewed_too_lately,
    machinery.open_transaction_holds_it,
    outside.rate_is_used_up,
    machinery.some_workers_lack_a_key,
    outside.secret_was_refused,
    outside.client_is_slowed,
    outside.confirmations_fail,
    decided.revocation_is_held,
    itself.grant_ends_soon,
)
RESTS: Final[tuple[Check, ...]] = (
    itself.request_is_under_way,
    itself.grant_is_handed_out,
    itself.grant_is_due,
    itself.grant_sleeps,
    itself.grant_is_well,
)
CHECKS: Final = OBSTACLES + RESTS
# Somebody has decided it, so to wait is vain until somebody decides otherwise.
DECIDED: Final = frozenset(
    check.__name__
    for check in (
        decided.grant_is_revoked,
        decided.consent_is_needed,
        decided.grant_is_handed_over,
        decided.grant_is_paused,
        decided.revocation_has_failed,
        decided.client_is_paused,
        decided.grant_is_being_revoked,
    )
)
FINAL: Final = frozenset({decided.grant_is_revoked.__name__})  # nothing else matters any more


def explain(now: Facts) -> Explanation:
    """Tell why a grant is as it is: the first cause that holds is the headline, the others are its chain."""
    found = [(check.__name__, cause) for check in OBSTACLES if (cause := check(now)) is not None]
    found = found or [next((check.__name__, cause) for check in RESTS if (cause := check(now)) is not None)]
    (word, first), *others = found
    if word in FINAL:
        others = []
    helps = next((cause for _, cause in found if cause.command or cause.remedy), first)
    hopeless = any(cause.stops for _, cause in found)
    retry = next((cause.retry_at for _, cause in found if cause.retry_at is not None), None)
    return Explanation(
        cause=word,
        headline=f"{first.told}.",
        since=first.since,
        by_whom=first.by_whom,
        chain=tuple(_link(each, cause) for each, cause in others),
        next=f"{first.then or 'Nothing changes by itself'}.",
        token=_token(now),
        will_retry_at=None if hopeless and not _asks_itself(first) else retry or _due(now),
        remedy=helps.remedy,
        command=helps.command,
        hopeless=hopeless,
        decided=word in DECIDED,
        well=first.rests,
    )


def _asks_itself(first: Cause) -> bool:
    """Whether what stops all else is looked at again by itself, as one that died is."""
    return first.stops and first.retry_at is not None


def _token(now: Facts) -> str:
    """What there is to hand out, whatever holds the grant up."""
    ends = now.grant.access_expires_at
    if now.grant.status not in (ACTIVE, PAUSED):
        return "No token of it is handed out."
    if ends is None or now.grant.access_key_id is None:
        return "It holds no access token."
    if ends <= now.at:
        return f"Its access token ended {length(now.at - ends)} ago."
    return f"Its access token lives until {iso(ends)}, for {length(ends - now.at)} yet."


def _due(now: Facts) -> datetime | None:
    return now.grant.due_at if now.grant.status == ACTIVE else None


def _link(word: str, cause: Cause) -> Link:
    return Link(word, f"{cause.told}.", cause.since, cause.by_whom, cause.remedy, cause.command)
