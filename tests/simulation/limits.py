"""How often may be asked, how late, and with what: the limits of requests that the judge holds every one to."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from uuid import UUID

from simulator.ledger import Grant as LedgerGrant
from simulator.ledger import Pair
from tests.simulation.network import Sent
from tests.simulation.tables import Row, Tables
from tests.simulation.world import World

MINUTE, HOUR = 60.0, 3600.0
MOST_AN_HOUR = 150
HALF_AN_HOUR = timedelta(minutes=30)
BESIDE = 60  # of revocations under way, twenty at most, each may have three requests left for the pair it is about
EPSILON = 1e-6  # s: the rounding of a time of day
STILL_SERVES = timedelta(minutes=3)  # a minute is the rule, and a request may be under way for two


def _within(times: deque[float], now: float, span: float) -> int:
    """Count an instant, and how many lie within the span that ends now."""
    times.append(now)
    while times[0] <= now - span:
        times.popleft()
    return len(times)


class Limits:
    """Invariant 12, and what of 1 and of the rotation profile a single request shows."""

    def __init__(
        self, world: World, tables: Tables, consents: Mapping[UUID, LedgerGrant], fail: Callable[[str, str, str], None]
    ) -> None:
        self._world = world
        self._tables = tables
        self._consents = consents
        self._fail = fail
        self._rewound_at: float | None = None
        self._known = 0  # consents whose grant ids are kept
        self._ids: dict[int, list[UUID]] = {}  # by consent
        self._by_client: dict[str, deque[float]] = {}
        self._by_consent: dict[int, deque[float]] = {}

    def rewound(self) -> None:
        """Commits are gone."""
        self._rewound_at = self._world.seconds

    def check_lease_left(self, sent: Sent, ref: str) -> None:
        """Invariant 1: the answer, or the deadline, comes before somebody else may ask."""
        assert sent.attempt is not None
        deadline = sent.attempt.registered.times.deadline.total_seconds()
        if sent.lease_until is not None and self._world.seconds + deadline > sent.lease_until + EPSILON:
            self._fail("1", f"request {sent.number} left when its deadline lay behind the end of its lease", ref)

    def check_repeat(self, sent: Sent, pair: Pair, asked: Sequence[Sent], ref: str) -> None:
        """Where reuse kills a family, what is spent is not sent while its access token serves."""
        assert sent.attempt is not None
        job = sent.attempt.job
        row = self._tables.grants.get(job.grant_id)
        family = sent.attempt.registered.provider.rotation == "family"  # as it was when the attempt began
        if not family or not pair.spent or row is None or job.status == "revoking":
            return
        before = [each.at for each in asked if each.token == sent.token]
        # What commits that are gone knew nobody can know.
        unknowable = self._rewound_at is not None and before and before[-1] < self._rewound_at
        if not before or unknowable or row["suspect_at"] is not None:
            return
        if row["access_expires_at"] is not None and row["access_expires_at"] > self._world.now + STILL_SERVES:
            self._fail("doubt", f"request {sent.number} presents what is spent while its access token serves", ref)

    def check_storm(self, pair: Pair, ref: str) -> None:
        """Invariant 12: no grant is hammered, and no client beyond its rate and what may be under way."""
        now, name = self._world.seconds, pair.grant.client_id
        # Where a provider said that tokens live for a minute, a suspect is asked four times a minute.
        asked = _within(self._by_consent.setdefault(pair.grant.number, deque()), now, HOUR)
        rows = self._rows_of(pair)
        # A revocation asks for each of its pairs, and again where a provider says dead in a dialect.
        pairs = 1 + sum(len(self._tables.former_of(row["id"])) for row in rows if row["status"] == "revoking")
        if asked > MOST_AN_HOUR * pairs and all((row["life"] or HALF_AN_HOUR) >= HALF_AN_HOUR for row in rows):
            self._fail("12", f"more than {MOST_AN_HOUR} requests for one grant in an hour", ref)
        client = next(row for row in self._tables.clients.values() if row["client_id"] == name)
        if client["rate_per_minute"] is None or self._rewound_at is not None:
            return
        sent = _within(self._by_client.setdefault(name, deque()), now, MINUTE)
        if sent > client["rate_per_minute"] + max(client["burst"], BESIDE):
            self._fail("12", f"{sent} requests of {name} in a minute", ref)

    def _rows_of(self, pair: Pair) -> list[Row]:
        for grant_id, consent in islice(self._consents.items(), self._known, None):  # nobody's consent ever changes
            self._ids.setdefault(consent.number, []).append(grant_id)
        self._known = len(self._consents)
        ids = self._ids.get(pair.grant.number, ())
        return [self._tables.grants[each] for each in ids if each in self._tables.grants]
