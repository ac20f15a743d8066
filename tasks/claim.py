"""Claim: what beat may take of one client now, within its valve, and in whose favour.

Of every four slots one is offered first to revocations, one first to failing grants, and refresh requests come first in
the other two; what one side cannot use the others get. A revocation that takes several slots leaves three to others for
each of them before the next has its turn. At `grace` a grant in doubt goes before all, whatever the valve
says: its old refresh token lives for seconds.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from models import claim as claims
from models import witness as witnesses
from models.claim import Job, Scope
from tasks.oauth.rotation import Rotation
from tasks.policy import quota
from tasks.policy import valve as policy
from tasks.policy.valve import Valve
from tasks.runtime import valves

MOST: Final = 500  # rows of one client in one transaction
SOON: Final = timedelta(milliseconds=50)


@dataclass(slots=True)
class Claimed:
    """Jobs of one client to publish; `again_in`: when to look again because more may be due than could be taken."""

    due: list[Job] = field(default_factory=list)
    requested: list[Job] = field(default_factory=list)
    revocations: list[Job] = field(default_factory=list)
    again_in: timedelta | None = None

    @property
    def count(self) -> int:
        """How many jobs were taken."""
        return len(self.due) + len(self.requested) + len(self.revocations)


def claim(
    connection: Connection, client_id: int, *, lease: timedelta, most: int = MOST, now: datetime | None = None
) -> Claimed:
    """Take what one client's valve lets through now; commit before publishing.

    Args:
        connection: in a short transaction, of its own or of a few clients.
        client_id: whose rows; skipped where another beat has the valve.
        lease: how long a claim waits for a worker, at most the client's attempt lease.
        most: rows at most.
        now: the database clock by default.

    """
    row = claims.lock_valve(connection, client_id, now=now)
    if row is None:
        # Another beat has it, or settled answers are being counted: for milliseconds.
        return Claimed(again_in=SOON)
    valve, at = valves.of_row(row), row["at"]
    if row["quota_is_scarce"]:
        valve = quota.at_share(valve, quota.SCARCE_SHARE)
    scope = Scope(client_id, at, min(lease, row["attempt_lease"]))
    may_repeat = row["rotation"] == Rotation.GRACE and not valve.paused_by_operator
    # A message that the broker loses must leave time for others before the grace is over.
    hurried = replace(scope, lease=min(lease, row["attempt_lease"] / 4))
    claimed = Claimed(due=claims.repeats(connection, hurried, most) if may_repeat else [])
    if claimed.count:
        valves.write(connection, client_id, policy.take(valve, at=at, count=claimed.count))
        claimed.again_in = SOON
        return claimed
    budget = policy.budget(valve, at=at, under_way=row["under_way"], most=most)
    if budget.canary:
        known = witnesses.read(connection, [client_id]).get(client_id)
        return _claim_canary(connection, scope, valves.of_row(row, known))
    if budget.count > 0:
        _claim_shares(connection, scope, claimed, row, budget.count)
    if claimed.count:
        after = policy.take(valve, at=at, count=claimed.count, revocations=len(claimed.revocations))
        valves.write(connection, client_id, after)
    if claimed.count >= budget.count:
        claimed.again_in = max(SOON, policy.interval(valve))
    return claimed


def _claim_shares(connection: Connection, scope: Scope, claimed: Claimed, row: dict[str, Any], count: int) -> None:
    if row["paused_by_operator"]:
        claimed.revocations += claims.revocations(connection, scope, count)
        return
    share = policy.shares(row["slot_no"], count)
    if row["revocations_wait"]:
        claimed.revocations += claims.revocations(connection, scope, share.revocations)
    if row["failing_wait"]:
        claimed.due += claims.failing(connection, scope, share.failing)
    if row["requests_wait"]:
        claimed.requested += claims.requested(connection, scope, share.requests)
    claimed.due += claims.due(connection, scope, count - claimed.count)
    if row["requests_wait"]:
        claimed.requested += claims.requested(connection, scope, count - claimed.count)
    if row["revocations_wait"]:
        claimed.revocations += claims.revocations(connection, scope, count - claimed.count)


def _claim_canary(connection: Connection, scope: Scope, valve: Valve) -> Claimed:
    """One request of any kind may go, and the next one only after the back-off."""
    claimed = Claimed()
    witness: list[Job] = []
    if not valve.paused_by_operator:
        witness = _witness(connection, scope, valve)
        claimed.due = witness or _canary(connection, scope, valve)
    if not claimed.count:
        claimed.revocations = claims.revocations(connection, scope, 1)
    if not claimed.count and not valve.paused_by_operator:
        claimed.requested = claims.requested(connection, scope, 1)
    for grant_id, _ in [*claimed.due, *claimed.revocations, *claimed.requested]:
        after = policy.take_canary(valve, at=scope.at, grant_id=grant_id, is_witness=bool(witness))
        valves.write(connection, scope.client_id, after)
    return claimed


def _witness(connection: Connection, scope: Scope, valve: Valve) -> list[Job]:
    """Where everybody seems to be refused: one that succeeded last and has not failed since, due or not.

    Never in another trouble: an answer that is lost may cost such a grant, and it need not be asked yet.
    """
    return claims.witness(connection, scope, valve.witness_grant_ids) if policy.is_shut_for_refusals(valve) else []


def _canary(connection: Connection, scope: Scope, valve: Valve) -> list[Job]:
    """A grant that is due, and has not failed since the valve was shut."""
    failed_since = min(filter(None, (valve.refused_since, valve.changed_at)), default=None)
    return claims.canary(connection, scope, last=valve.canary_grant_id, failed_since=failed_since)
