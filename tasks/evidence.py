"""Evidence: how far a grant's end is known once its branches were revoked, and why no further."""

from dataclasses import dataclass, field
from datetime import datetime

from models.revocation import Task
from models.states.revocation import Because, Evidence
from tasks.oauth.provider import Provider
from tasks.oauth.rotation import Rotation
from tasks.oauth.shapes import Reach


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How far a grant's end is known, and why no further."""

    evidence: Evidence
    because: list[Because] = field(default_factory=list)
    access_tokens_end_by: datetime | None = None  # those that no revocation of ours has reached


def concluded(provider: Provider, task: Task, *, all_seen: bool) -> Conclusion:
    """What is known once every branch was revoked; `all_seen`: each of them was seen to be dead."""
    older, left = _older_access_ends_at(provider, task), _access_left_alive(provider, task)
    doubts = {
        Because.OLDER_ACCESS_TOKENS: older is not None,
        Because.ACCESS_TOKENS_LIVE_ON: left is not None,
        Because.NO_WAY_TO_LOOK: not all_seen,
        Because.EVER_IN_DOUBT: task.ever_in_doubt,
        Because.PREDECESSORS_DROPPED: task.predecessors_dropped,
    }
    because = [name for name, applies in doubts.items() if applies]
    end_by = max(filter(None, (older, left)), default=None)
    return Conclusion(Evidence.ACCEPTED if because else Evidence.VERIFIED, because, end_by)


def _older_access_ends_at(provider: Provider, task: Task) -> datetime | None:
    """Until when an access token may live that a refresh replaced and no revocation reaches; None: none does.

    It is not kept, so it can be neither revoked nor looked at. Where one revocation kills the grant it is dead, and
    at `immediate` since the refresh; at `on_use` its pair is kept, and is a branch.
    """
    left_alone = provider.rotation not in (Rotation.ON_USE, Rotation.IMMEDIATE)
    return task.older_access_ends_at if left_alone and provider.revocation is not Reach.GRANT else None


def _access_left_alive(provider: Provider, task: Task) -> datetime | None:
    """Until when the access tokens held live on where a revocation kills refresh tokens alone; None: none does."""
    if provider.revocation is not Reach.REFRESH:
        return None
    ends = [each.access_expires_at for each in task.branches if each.access_expires_at and not each.expired]
    return max(ends, default=None)
