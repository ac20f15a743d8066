"""Verdict: who is dead: a grant whose refresh token was refused again, and nothing else could explain it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tasks.oauth.rules import Reason

WITNESS_WAIT: Final = timedelta(hours=24)
MASS_LEAST: Final = 5
MASS_SHARE: Final = 0.01


class Death(StrEnum):
    """What a grant died of."""

    RESPONSE_LOST = "response_lost"  # an answer was lost, and with it the only copy of its refresh token
    REVOKED_OR_EXPIRED = "revoked_or_expired"  # the provider refuses its refresh token
    # As a rule of the provider's file says; each is a word of tasks/oauth/rules.py.
    REVOKED = "revoked"
    EXPIRED = "expired"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a reason
    ADMIN_POLICY = "admin_policy"
    APP_REMOVED = "app_removed"
    MFA_REQUIRED = "mfa_required"
    SIGN_IN_AGAIN = "sign_in_again"
    USER_GONE = "user_gone"
    SCOPE_CHANGED = "scope_changed"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a suspect at the instant `at` at which it was refused once more; `told`: why, by a rule."""

    at: datetime
    suspect_at: datetime
    in_doubt: bool
    journals_undrained: bool
    untried_former_tokens: int
    witnessed: bool
    access_expired: bool
    access_rejected: bool  # an application says so
    suspects: int
    asked: int
    deaths_accepted_at: datetime | None
    told: Reason | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """No verdict yet, because of `why`."""

    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The grant needs its user's consent again."""

    reason: Death


def journals_are_drained(known: Evidence) -> bool:
    """No journal that is not read to its end may still hold the answer that we missed."""
    return not (known.in_doubt and known.journals_undrained)


def former_tokens_were_tried(known: Evidence) -> bool:
    """Every pair that is not known dead had its one attempt."""
    return known.untried_former_tokens == 0


def has_a_witness(known: Evidence) -> bool:
    """Another grant succeeded under these credentials since; alone, the access token's end must do, or a day."""
    access_ended = known.access_expired or known.access_rejected
    return known.witnessed or access_ended or known.at - known.suspect_at >= WITNESS_WAIT


def the_mass_guard_is_off(known: Evidence) -> bool:
    """It is not half the fleet that is refused at once; or a human has looked and let it through."""
    if known.deaths_accepted_at is not None and known.suspect_at <= known.deaths_accepted_at:
        return True
    return not mass(suspects=known.suspects, asked=known.asked)


CHECKS: Final[tuple[Callable[[Evidence], bool], ...]] = (
    journals_are_drained,
    former_tokens_were_tried,
    has_a_witness,
    the_mass_guard_is_off,
)


def verdict(known: Evidence) -> Verdict | Wait:
    """Judge a suspect that was refused again: every check must hold."""
    for check in CHECKS:
        if not check(known):
            return Wait(check.__name__)
    return Verdict(_death(known))


def _death(known: Evidence) -> Death:
    """What it died of: a lost answer before all, for what the provider says then is of a token that we replaced."""
    if known.in_doubt:
        return Death.RESPONSE_LOST
    return Death.REVOKED_OR_EXPIRED if known.told is None else Death(known.told)


def mass(*, suspects: int, asked: int) -> bool:
    """More than five and more than 1 % of the grants asked are suspect, or all of two or more."""
    return suspects > max(MASS_LEAST, MASS_SHARE * asked) or (suspects >= 2 and suspects >= asked)  # noqa: PLR2004
