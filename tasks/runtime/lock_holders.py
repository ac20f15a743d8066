"""Lock holders: who keeps rows of ours from us is told, once each, with what to do about it."""

import threading
from datetime import datetime, timedelta

import structlog

from models import lock_holder
from models.database import AWAY, Lane, transaction, using
from tasks.runtime import clock

log = structlog.get_logger()

APART = timedelta(seconds=1)  # between two looks, however many find a lock
REMEMBERED = 1000

_lock = threading.Lock()
_looked_at: list[timedelta] = []
_told: set[tuple[int, datetime | None]] = set()


def tell() -> None:
    """Tell who has held locks on our tables for longer than a second, or so many, where somebody has just met that."""
    if not _is_time():
        return
    try:
        with using(Lane.CHORES), transaction() as connection:
            holders = lock_holder.holders(connection)
    except AWAY as error:
        log.warning("lock.holder_unknown", error=type(error).__name__)
        return
    for holder in holders:
        if (holder.pid, holder.since) not in _told:
            _told.add((holder.pid, holder.since))
            log.warning(
                "lock.held",
                pid=holder.pid,
                user=holder.user_name,
                application=holder.application,
                tables=holder.tables,
                locks=holder.locks,
                seconds=holder.seconds,
                remedy=holder.remedy,
            )


def _is_time() -> bool:
    now = clock.boot()
    with _lock:
        if _looked_at and now - _looked_at[0] < APART:
            return False
        _looked_at[:] = [now]
        if len(_told) > REMEMBERED:
            _told.clear()
        return True
