"""The result of a demo: what came of each side, as the provider's own ledger counts it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.database import transaction
from models.states.grant import GrantStatus
from models.views import listing
from worker.demo.plan import LEFT, OURS, USUAL
from worker.demo.sides import dead_at_provider
from worker.demo.story import Story, spent_pairs

DEAD_THERE = "dead at the provider"
GIVEN_UP = "given up, though the provider would still renew it"
# A refresh may be between the provider's act and the side's commit just when we look: then look again.
_LOOKS_AGAIN, _BETWEEN_SECONDS = 3, 0.7


@dataclass(frozen=True)
class SideResult:
    """One side's count."""

    lost: Mapping[str, str]  # ref: why
    given_up_rightly: int
    revoked_but_alive: int
    used_twice: int
    """Refresh tokens presented again after they were spent, where the provider is strict."""
    wrong_secret: int
    refreshes: int
    api_failed: int
    api_calls: int


@dataclass(frozen=True)
class Result:
    """The whole count, and Evergrant's dead letters."""

    sides: Mapping[str, SideResult]
    dead_letters: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ours_lost(self) -> int:
        """How many grants Evergrant lost."""
        return len(self.sides[OURS].lost)


def count(story: Story) -> Result:
    """Count what each side has lost, by what the ledger says of the tokens that it holds.

    Raises:
        OperationalError: the database is away.

    """
    twice = spent_pairs(story.provider, list(story.plan.lives), times=2)
    return Result(
        {side: _side(story, side, len(twice[side] - story.spent_before[side])) for side in (USUAL, OURS)},
        _dead_letters(),
    )


def _side(story: Story, side: str, twice: int) -> SideResult:
    summary, applications = story.provider.summary(side), story.applications
    needs_consent = {each.ref for each in story.watcher.held()[side] if each.status == GrantStatus.NEEDS_CONSENT}
    return SideResult(
        lost=lost(story, side),
        given_up_rightly=len(needs_consent & story.watcher.ended),
        revoked_but_alive=summary["grants"]["revoked_but_alive"],
        used_twice=twice,
        wrong_secret=story.wrong_secret[side],
        refreshes=summary["refreshes"],
        api_failed=applications.failed[side],
        api_calls=applications.failed[side] + applications.served[side],
    )


def lost(story: Story, side: str) -> dict[str, str]:
    """Grants that only their users can mend, though these never revoked them: ref and why."""
    found = _lost_now(story, side)
    for _ in range(_LOOKS_AGAIN):
        if not found:
            break
        story.installation.rest(_BETWEEN_SECONDS)
        # Dead in every look, or it was only under way in one of them.
        found = {ref: why for ref, why in _lost_now(story, side).items() if ref in found}
    return found


def _lost_now(story: Story, side: str) -> dict[str, str]:
    kept = [each for each in story.watcher.held()[side] if each.ref not in story.watcher.ended | set(LEFT)]
    dead = dict.fromkeys(dead_at_provider(story.provider, kept), DEAD_THERE)
    given_up = {each.ref: GIVEN_UP for each in kept if each.status != GrantStatus.ACTIVE}
    return given_up | dead


def _dead_letters() -> list[dict[str, Any]]:
    with transaction() as connection:
        return [{"ref": row["ref"], "cause": row["cause"]} for row in listing.dead_letters(connection)]
