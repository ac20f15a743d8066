"""What the judge knows of each client's valve: when it shut, and which canaries left since; by its own arithmetic.

The rule: while a valve is shut one request may go, the canary, and the next one only after a back-off of
5 s that doubles to 5 min. Taken from what the provider sees, by the instants at which those requests were claimed: a
message may be late.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

from tests.simulation.network import Sent
from tests.simulation.statements.claims import has_due, is_due, is_under_way
from tests.simulation.tables import Row, Tables

FIRST, LONGEST, OFTEN = 5.0, 300.0, 6  # s, s, and how often the first doubles until it is longer
HURRIED = timedelta(seconds=1)  # where beat looks again so soon, it took repeats alone


@dataclass
class Shut:
    """A valve from the instant at which it shut."""

    since: datetime
    until: datetime
    canaries: list[datetime] = field(default_factory=list)  # claimed then; only those that the provider saw
    witnesses: int | None = None  # where everybody was refused: how many had succeeded last, each asked once first
    judged_with: int | None = None  # of those, when the canaries were judged last
    last: tuple[UUID, datetime] | None = None  # the canary that was claimed last and is not begun, and when that lapses
    last_until: datetime | None = None  # until when that one has shut it


class Breaker:
    """Invariant 12, as far as a valve is shut, and 11, as far as it is open."""

    def __init__(self, tables: Tables, fail: Callable[[str, str, str], None], *, word: str | None) -> None:
        self._tables = tables
        self._fail = fail
        self._word = word
        self.shut_by_deaths: list[int] = []  # how many canaries each valve needed that deaths have shut
        self._shut: dict[int, Shut] = {}
        self._claims: dict[UUID, tuple[int, datetime]] = {}  # of attempts: the claim number after start, claimed when
        self._taken: list[Row] = []  # canaries of the transaction that is looked at

    def rewound(self) -> None:
        """Commits are gone: what the rows say now counts."""
        now = self._tables.now
        self._claims.clear()
        self._shut = {
            client_id: Shut(now, row["paused_until"])
            for client_id, row in self._tables.valves.items()
            if row["paused_until"] is not None
        }

    # Commits: grants first, as the transaction found the valve

    def claimed(self, before: Row, after: Row) -> None:
        """A grant was claimed."""
        shut = self._shut.get(after["client_id"])
        if shut is None or self._repeats_in_grace(before):
            return
        self._taken.append(after)
        if shut.until > after["claimed_at"] and not self._was_never_sent(shut, after["claimed_at"]):
            self._fail("12", f"claimed while its valve is shut until {shut.until}", after["ref"])
        self._check_canary(before, after, shut.since)
        shut.last, shut.last_until = (after["id"], after["due_at"]), None

    def _was_never_sent(self, shut: Shut, at: datetime) -> bool:
        """The last canary's claim has lapsed, and nobody else has asked to wait since it was taken."""
        return shut.last is not None and shut.last[1] <= at and shut.until == shut.last_until

    def _check_canary(self, before: Row, after: Row, shut_since: datetime) -> None:
        """Invariant 17: the dead are no canaries while one that is due has failed since its last success in nothing."""
        failed_at, at = before["last_error_at"], after["claimed_at"]
        if before["failures"] == 0 or failed_at is None or failed_at < shut_since or after["status"] != "active":
            return
        well = [
            row for row in self._tables.of_client("grants", after["client_id"]) if self._is_well(row, at, shut_since)
        ]
        if well:
            told = f"a canary, though it failed since its valve was shut and {well[0]['ref']} is due and well"
            self._fail("17", told, after["ref"])

    def _is_well(self, row: Row, at: datetime, shut_since: datetime) -> bool:
        asked = row["started_at"] is not None or row["doubt_since"] is not None
        failed = row["failures"] > 0 or row["refusals"] > 0 or row["suspect_at"] is not None
        # What counts against no grant, as a 429, was a canary in vain all the same: whoever met it is asked in turn.
        failed |= row["last_error_at"] is not None and row["last_error_at"] >= shut_since
        return not asked and not failed and self._waits(row, at)

    def begun(self, before: Row, after: Row) -> None:
        """An attempt was begun."""
        shut = self._shut.get(after["client_id"])
        if shut is not None and shut.last is not None and shut.last[0] == after["id"]:
            shut.last = None
        if not self._repeats_in_grace(before):
            self._claims[after["id"]] = after["claim_no"], before["claimed_at"]

    def valve_changed(self, before: Row, after: Row) -> None:
        """A valve was written."""
        client_id, until = after["client_id"], after["paused_until"]
        if until is None:
            shut = self._shut.pop(client_id, None)
            if shut is not None and before["pause_reason"] == self._word:
                self.shut_by_deaths.append(len(shut.canaries))
        elif before["paused_until"] is None or before["changed_at"] != after["changed_at"]:
            self._shut[client_id] = Shut(after["changed_at"], until)
        elif client_id in self._shut:
            self._shut[client_id].until = until
        witness = self._tables.witnesses.get(client_id)
        if witness is not None and witness["refused_since"] is not None and client_id in self._shut:
            self._shut[client_id].witnesses = len(witness["witness_grant_ids"])

    def commit_ended(self) -> None:
        """A transaction was looked at: one that took a canary has moved the next one away."""
        for row in self._taken:
            shut = self._shut.get(row["client_id"])
            if shut is not None and shut.until < row["claimed_at"] + timedelta(seconds=FIRST):
                self._fail("12", "a canary was taken, and the next one may follow at once", row["ref"])
            if shut is not None:
                shut.last_until = shut.until
        self._taken.clear()

    def _repeats_in_grace(self, grant: Row) -> bool:
        """It goes ahead of the valve: its old refresh token lives for seconds."""
        in_doubt = grant["doubt_since"] is not None or grant["started_at"] is not None
        return in_doubt and self._tables.clients[grant["client_id"]]["rotation"] == "grace"

    # What the provider sees

    def asked(self, sent: Sent, ref: str) -> None:
        """A request leaves; those that were claimed before the valve shut are not counted."""
        assert sent.attempt is not None
        job = sent.attempt.job
        shut = self._shut.get(job.client_id)
        claim_no, at = self._claims.get(job.grant_id, (0, None))
        if shut is None or at is None or claim_no != job.claim_no or at < shut.since:
            return
        place = bisect_left(shut.canaries, at)
        if shut.canaries[place : place + 1] == [at]:
            return
        shut.canaries.insert(place, at)
        judged, shut.judged_with = shut.judged_with, shut.witnesses
        first = max(place - 1, 0) if place == len(shut.canaries) - 1 and judged == shut.witnesses else 0
        for number, (one, next_one) in enumerate(pairwise(shut.canaries[first:]), first):
            doubled = number if shut.witnesses is None else max(number - shut.witnesses, 0)
            if (gap := (next_one - one).total_seconds()) < min(FIRST * 2 ** min(doubled, OFTEN), LONGEST):
                self._fail("12", f"request {sent.number}: two canaries of one shut valve within {gap:.1f} s", ref)

    # Looks

    def looked(self, again_in: float) -> None:
        """A beat has looked, in one instant: what the open valve allows is claimed."""
        for client_id, valve in self._tables.valves.items():
            at, client = self._tables.now, self._tables.clients[client_id]
            if valve["paused_by_operator"] or valve["paused_until"] is not None or valve["next_slot_at"] > at:
                continue
            if client["rotation"] == "grace" and again_in < HURRIED.total_seconds():
                continue
            if not has_due(self._tables, client_id, at):
                continue
            under_way = sum(is_under_way(grant, at) for grant in self._tables.of_client("grants", client_id))
            due = next((each for each in self._tables.of_client("grants", client_id) if self._waits(each, at)), None)
            if due is not None and under_way < client["burst"]:
                told = f"due, {under_way} of {client['burst']} are under way, the valve is open: a look leaves it"
                self._fail("11", told, due["ref"])

    def _waits(self, grant: Row, at: datetime) -> bool:
        return is_due(grant, at) and grant["id"] not in self._tables.revocations
