"""The ledger: every token pair ever issued, what became of it and why. It judges whoever uses the simulator.

The rest of the simulator tells the ledger what happens; nothing in here decides. Times are seconds since the epoch
(or of a virtual clock); `inf` means "not ended". Everything on the path of a refresh is a dict look-up.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf


@dataclass(slots=True, eq=False)
class Pair:
    """One answer of the token endpoint: an access token, its refresh token, and the end of each."""

    number: int
    grant: "Grant"
    parent: int | None  # number of the pair that was refreshed
    request: int | None  # number of the request that it answered; None: minted
    access_token: str
    refresh_token: str
    scope: str
    issued_at: float
    expires_at: float
    access_ended_at: float = inf  # when the access token was killed; expiry is apart
    access_why: str = ""
    refresh_ended_at: float = inf  # in the future while a grace runs
    refresh_why: str = ""
    previous: "Pair | None" = None  # at `on_use`: dies when this access token is first used
    used_at: float | None = None  # first use of the access token
    spent: int = 0  # refreshes answered with 200 for this refresh token
    counted: bool = True  # holds one of its grant's `live` refresh tokens
    undelivered: str = ""  # why its answer cannot have reached the client
    shares_refresh_token: bool = False  # at `none`: the refresh token belongs to the first pair
    tells_refresh_token: bool = True  # False: nobody outside knows that there is one

    def access_alive(self, now: float) -> bool:
        """Say whether the access token opens the API."""
        return now < self.access_ended_at and now <= self.expires_at

    def refresh_alive(self, now: float) -> bool:
        """Say whether the refresh token can be refreshed."""
        return now < self.refresh_ended_at


@dataclass(slots=True, eq=False)
class Grant:
    """One consent of one user at the simulated provider, and the pairs that came of it."""

    number: int
    ref: str
    client_id: str
    orgs: tuple[str, ...]
    lifetime: float | None  # of its first token, for ever; None: tokens do not expire
    opened_at: float
    pairs: dict[int, Pair] = field(default_factory=dict)
    live: int = 0  # living refresh tokens that the client can know
    refreshes: int = 0
    forgotten: int = 0  # pairs dropped by compacting
    grace_until: float = -inf  # an ended refresh token works until then
    revoked_at: float | None = None  # first time that somebody asked for its end
    revoked_by: str = ""
    lost_at: float | None = None
    lost_request: int | None = None
    lost_why: str = ""

    def lost(self, now: float) -> bool:
        """Say whether no refresh token is left that the client can know, though nobody revoked the grant."""
        return self.live == 0 and self.revoked_at is None and now >= self.grace_until

    def alive(self, now: float) -> bool:
        """Say whether the client can still refresh the grant, and nobody asked for its end."""
        return self.revoked_at is None and not self.lost(now)


class Ledger:
    """All grants and pairs of one simulated provider.

    `compact_after`: seconds after which a dead pair is forgotten (some stay twice as long); it stays counted. None
    keeps all. A spent refresh token that was forgotten is as good as unknown, so at `family` keep this longer than
    any repeat.
    """

    def __init__(self, *, compact_after: float | None = None) -> None:
        self.grants: dict[int, Grant] = {}
        self.by_access_token: dict[str, Pair] = {}
        self.by_refresh_token: dict[str, Pair] = {}
        self.by_ref: dict[str, list[Grant]] = {}
        self.pairs_issued = 0
        self.refreshes = 0
        self.reused_accepted = 0  # a spent refresh token answered with 200 again
        self.reused_refused = 0  # a spent refresh token answered with an error
        self.tokens_used_twice = 0  # refresh tokens seen again after they had been spent
        self._compact_after = compact_after
        self._ended: deque[tuple[float, Pair]] = deque()

    def open_grant(
        self, *, ref: str, client_id: str, orgs: tuple[str, ...], lifetime: float | None, now: float
    ) -> Grant:
        """Enter a new consent, still without tokens."""
        grant = Grant(len(self.grants) + 1, ref, client_id, orgs, lifetime, now)
        self.grants[grant.number] = grant
        self.by_ref.setdefault(ref, []).append(grant)
        return grant

    def issue(
        self,
        grant: Grant,
        *,
        access_token: str,
        refresh_token: str,
        scope: str,
        now: float,
        parent: Pair | None = None,
        request: int | None = None,
    ) -> Pair:
        """Enter a new pair; it counts as delivered until `withhold` says otherwise."""
        self.pairs_issued += 1
        pair = Pair(
            self.pairs_issued,
            grant,
            parent.number if parent else None,
            request,
            access_token,
            refresh_token,
            scope,
            now,
            now + grant.lifetime if grant.lifetime is not None else inf,
        )
        grant.pairs[pair.number] = pair
        self.by_access_token[access_token] = pair
        if parent is not None and refresh_token == parent.refresh_token:
            pair.shares_refresh_token, pair.counted, pair.refresh_ended_at = True, False, now
            self._bury(pair, pair.expires_at, now)
        else:
            self.by_refresh_token[refresh_token] = pair
            self._revive(grant)
        return pair

    def spend(self, pair: Pair, *, rotates: bool) -> None:
        """Enter that a refresh token was refreshed; a repeat counts as reuse only where refresh tokens rotate."""
        self.refreshes += 1
        pair.grant.refreshes += 1
        pair.spent += 1
        if rotates and pair.spent > 1:
            self.reused_accepted += 1
            self.tokens_used_twice += pair.spent == 2  # noqa: PLR2004 (the second time, once a token)

    def refuse_reuse(self, pair: Pair) -> None:
        """Enter that a spent refresh token was sent again and refused."""
        self.reused_refused += 1
        if pair.spent == 1:
            pair.spent += 1
            self.tokens_used_twice += 1

    def end(self, pair: Pair, now: float, why: str, request: int | None = None) -> None:
        """Enter the end of both tokens of a pair; what has ended already stays as it is."""
        self.end_access(pair, now, why)
        self.end_refresh(pair, now, why, request)

    def end_access(self, pair: Pair, now: float, why: str) -> None:
        """Enter the end of an access token."""
        if pair.access_ended_at > now:
            pair.access_ended_at, pair.access_why = now, why

    def end_refresh(self, pair: Pair, now: float, why: str, request: int | None = None, *, after: float = 0.0) -> None:
        """Enter the end of a refresh token, now or `after` seconds of grace."""
        if pair.refresh_ended_at <= now + after:
            return
        pair.refresh_ended_at, pair.refresh_why = now + after, why
        if after:
            pair.grant.grace_until = max(pair.grant.grace_until, now + after)
        self._uncount(pair, now, request, why)
        self._bury(pair, now + after, now)

    def end_grant(self, grant: Grant, now: float, why: str, request: int | None = None) -> None:
        """Enter the end of every token of a grant."""
        grant.grace_until = min(grant.grace_until, now)
        for pair in list(grant.pairs.values()):
            self.end(pair, now, why, request)

    def ask_end(self, grant: Grant, now: float, by: str) -> None:
        """Enter that somebody (`user` or `client`) asked for the end of a grant; it is never counted as lost then."""
        if grant.revoked_at is None:
            grant.revoked_at, grant.revoked_by = now, by

    def withhold(self, pair: Pair, now: float, why: str) -> None:
        """Enter that a pair's answer did not reach the client: its refresh token is of use to nobody."""
        pair.undelivered = why
        self._uncount(pair, now, pair.request, why)

    def present(self, pair: Pair) -> None:
        """Enter that the client sent one of a pair's tokens: so its answer did arrive, whatever we did to it."""
        if not pair.undelivered:
            return
        pair.undelivered = ""
        if pair.refresh_ended_at == inf and not pair.counted:
            pair.counted = True
            self._revive(pair.grant)

    def all_pairs(self) -> Iterator[Pair]:
        """Yield every pair that is not forgotten."""
        for grant in self.grants.values():
            yield from grant.pairs.values()

    def lost(self, now: float) -> list[Grant]:
        """List the grants that are lost."""
        return [grant for grant in self.grants.values() if grant.lost(now)]

    def _revive(self, grant: Grant) -> None:
        grant.live += 1
        if grant.lost_at is not None:
            grant.lost_at, grant.lost_request, grant.lost_why = None, None, ""

    def _uncount(self, pair: Pair, now: float, request: int | None, why: str) -> None:
        if not pair.counted:
            return
        pair.counted = False
        grant = pair.grant
        grant.live -= 1
        if grant.live == 0 and grant.revoked_at is None:
            grant.lost_at, grant.lost_request, grant.lost_why = now, request, why

    def _bury(self, pair: Pair, ended_at: float, now: float) -> None:
        if self._compact_after is None:
            return
        self._ended.append((ended_at, pair))
        horizon = now - self._compact_after
        while self._ended and self._ended[0][0] < horizon:
            _, old = self._ended.popleft()
            access_end = min(old.access_ended_at, old.expires_at)
            if access_end < horizon:
                self._forget(old)
            elif access_end < inf:
                self._ended.append((access_end, old))

    def _forget(self, pair: Pair) -> None:
        del pair.grant.pairs[pair.number]
        pair.grant.forgotten += 1
        del self.by_access_token[pair.access_token]
        if not pair.shares_refresh_token:
            del self.by_refresh_token[pair.refresh_token]
