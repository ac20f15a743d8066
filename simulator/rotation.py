"""Rotation: the six profiles, each as what it does to older tokens when one is refreshed, reused, used or revoked.

Every method tells the ledger which tokens end, at the time of the request that caused it.
"""

from simulator.habits import Habits, Profile
from simulator.ledger import Ledger, Pair
from simulator.traffic import Request


class Rotation:
    """What all profiles share; also the whole of `none`."""

    rotates = False

    def __init__(self, habits: Habits, ledger: Ledger) -> None:
        self._habits = habits
        self._ledger = ledger

    def refreshed(self, spent: Pair, fresh: Pair, request: Request) -> None:  # noqa: ARG002 (the profiles share one signature)
        """A refresh of `spent` was granted and made `fresh`."""
        if not self._habits.keeps_old_access_token:
            self._ledger.end_access(spent, request.at, f"replaced by request {request.number}")

    def _end_previous(self, spent: Pair, request: Request) -> None:
        """End what `spent` came of, where an earlier profile let it live until then."""
        if spent.previous is not None:
            why = f"its successor, pair {spent.number}, was refreshed by request {request.number}"
            self._ledger.end_refresh(spent.previous, request.at, why, request.number)
            spent.previous = None

    def reused(self, spent: Pair, request: Request) -> None:
        """A dead refresh token that had been refreshed before was sent again, by its own client."""
        self._ledger.refuse_reuse(spent)
        if self._habits.punishes_reuse:
            why = f"the spent refresh token of pair {spent.number} was used again by request {request.number}"
            self._ledger.end_grant(spent.grant, request.at, why, request.number)

    def used(self, pair: Pair, request: Request) -> None:
        """An access token was presented, living or not."""
        if pair.used_at is None:
            pair.used_at = request.at

    def revoked(self, pair: Pair, request: Request) -> None:
        """The client revoked a refresh token: the whole consent ends."""
        self._ledger.end_grant(pair.grant, request.at, f"revoked by request {request.number}", request.number)

    def access_revoked(self, pair: Pair, request: Request) -> None:
        """The client revoked an access token: only that one ends."""
        self._ledger.end_access(pair, request.at, f"revoked by request {request.number}")


class OnUse(Rotation):
    """Doorkeeper with `previous_refresh_token`: a pair ends when its direct successor is first used."""

    rotates = True

    def refreshed(self, spent: Pair, fresh: Pair, request: Request) -> None:  # noqa: ARG002 (the profiles share one signature)
        """Remember the predecessor; nothing ends yet."""
        fresh.previous = spent

    def used(self, pair: Pair, request: Request) -> None:
        """End the direct predecessor, even when the access token itself is dead; only the first use does so."""
        super().used(pair, request)
        if pair.previous is not None:
            why = f"its successor, pair {pair.number}, was used by request {request.number}"
            self._ledger.end(pair.previous, request.at, why, request.number)
            pair.previous = None

    def revoked(self, pair: Pair, request: Request) -> None:
        """End this pair alone: an unused pair's predecessor lives on."""
        self._ledger.end(pair, request.at, f"revoked by request {request.number}", request.number)

    def access_revoked(self, pair: Pair, request: Request) -> None:
        """End this pair alone."""
        self.revoked(pair, request)


class UntilNextRefresh(Rotation):
    """The old refresh token works until the one that came of it is used to refresh, or for so long at most."""

    rotates = True

    def refreshed(self, spent: Pair, fresh: Pair, request: Request) -> None:
        """End the refresh token that `spent` came of: this is the first use of its successor."""
        super().refreshed(spent, fresh, request)
        fresh.previous = spent
        self._end_previous(spent, request)
        if (lives := self._habits.until_next_seconds) is not None:
            why = f"{lives:g} s after request {request.number} are over"
            self._ledger.end_refresh(spent, request.at, why, request.number, after=lives)

    def revoked(self, pair: Pair, request: Request) -> None:
        """End this pair alone: the one before it lives on."""
        self._ledger.end(pair, request.at, f"revoked by request {request.number}", request.number)


class Immediate(Rotation):
    """Doorkeeper without the column: the old pair ends with the refresh."""

    rotates = True

    def refreshed(self, spent: Pair, fresh: Pair, request: Request) -> None:
        """End the old refresh token, and its access token unless that habit was changed."""
        super().refreshed(spent, fresh, request)
        self._end_previous(spent, request)
        self._ledger.end_refresh(spent, request.at, f"replaced by request {request.number}", request.number)

    def revoked(self, pair: Pair, request: Request) -> None:
        """End this pair; all older ones are dead already."""
        self._ledger.end(pair, request.at, f"revoked by request {request.number}", request.number)

    def access_revoked(self, pair: Pair, request: Request) -> None:
        """End this pair: at Doorkeeper both tokens are one row."""
        self.revoked(pair, request)


class Grace(Rotation):
    """The old refresh token works for some seconds more, and each use of it makes another pair."""

    rotates = True

    def refreshed(self, spent: Pair, fresh: Pair, request: Request) -> None:
        """Let the old refresh token end when the grace does; a repeat does not prolong it."""
        super().refreshed(spent, fresh, request)
        self._end_previous(spent, request)
        why = f"its grace after request {request.number} is over"
        self._ledger.end_refresh(spent, request.at, why, request.number, after=self._habits.grace_seconds)


class Family(Rotation):
    """The old refresh token ends with the refresh; its reuse ends the whole grant, the winner's tokens included."""

    rotates = True

    def refreshed(self, spent: Pair, fresh: Pair, request: Request) -> None:
        """End the old refresh token; the access token goes on to its end unless that habit was changed."""
        super().refreshed(spent, fresh, request)
        self._end_previous(spent, request)
        self._ledger.end_refresh(spent, request.at, f"replaced by request {request.number}", request.number)


_ROTATIONS: dict[Profile, type[Rotation]] = {
    Profile.NONE: Rotation,
    Profile.ON_USE: OnUse,
    Profile.UNTIL_NEXT_REFRESH: UntilNextRefresh,
    Profile.GRACE: Grace,
    Profile.IMMEDIATE: Immediate,
    Profile.FAMILY: Family,
}


def rotation_for(habits: Habits, ledger: Ledger) -> Rotation:
    """Make the rotation that the habits name."""
    return _ROTATIONS[habits.profile](habits, ledger)
