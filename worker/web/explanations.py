"""Explanations for applications: why there is no token, in the words that operators are told as well.

Names of operators stay inside, and what to do on which machine: that is none of an application's business.
"""

import time
from collections import OrderedDict
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from settings import Settings
from tasks import explain
from tasks.policy.explanation.cause import Explanation, iso
from tasks.policy.explanation.faults import without_place
from tasks.policy.explanation.machinery import disk_is_full, open_transaction_holds_it, processes_cannot_work
from worker.web.database import Database, DatabaseSilent

log = structlog.get_logger()

AT_ONCE: Final = 2  # more than these who are refused at the same time are refused without: no reader waits for them
FRESH_SECONDS: Final = 1.0
KEPT: Final = 1000
OF_OUR_MACHINES: Final = frozenset(
    {disk_is_full.__name__, processes_cannot_work.__name__, open_transaction_holds_it.__name__}
)  # they name places


class Explanations:
    """Reads them, a grant once a second at most."""

    def __init__(self, settings: Settings, reads: Database) -> None:
        self._settings = settings
        self._reads = reads
        self._under_way = 0
        self._kept: OrderedDict[UUID, tuple[float, Explanation]] = OrderedDict()

    async def of(self, grant_id: UUID) -> dict[str, Any] | None:
        """Why a grant is as it is; None: too many ask just now, or the database does not answer."""
        kept = self._kept.get(grant_id)
        if kept is not None and time.monotonic() - kept[0] < FRESH_SECONDS:
            return _told(kept[1])
        if self._under_way >= AT_ONCE:
            return None
        self._under_way += 1
        try:
            found = await self._reads.run(
                lambda connection: explain.of_grant(connection, grant_id, settings=self._settings)
            )
        except (DBAPIError, DatabaseSilent) as error:
            log.warning("web.not_explained", grant_id=str(grant_id), error=type(error).__name__)
            return None
        finally:
            self._under_way -= 1
        self._kept[grant_id] = (time.monotonic(), found)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return _told(found)


def _told(found: Explanation) -> dict[str, Any]:
    return {
        "cause": found.cause,
        "headline": _outside(found.cause, found.headline),
        "since": None if found.since is None else iso(found.since),
        "chain": [
            {
                "cause": each.cause,
                "told": _outside(each.cause, each.told),
                "since": None if each.since is None else iso(each.since),
            }
            for each in found.chain
        ],
        "next": found.next,
        "token": found.token,
        "will_retry_at": None if found.will_retry_at is None else iso(found.will_retry_at),
        "command": found.command if (found.command or "").startswith("evergrant ") else None,
        "hopeless": found.hopeless,
        "well": found.well,
    }


def _outside(cause: str, told: str) -> str:
    """A sentence without the places that a process names in its fault."""
    return without_place(told) if cause in OF_OUR_MACHINES else told
