"""Settle: answers that arrived together are journaled, read, and written, each grant by its generation.

    journal   every 2xx body, sealed and fsynced, before anybody parses it; in a thread of its own
    write     tasks/settling/write.py: one transaction for what they mean, decided under the rows' locks
    mark      in the journal: settled

While the database is away the write is repeated; the journal has the answers already. A group that the database
refuses is repeated row by row, so that a poisonous answer fails alone, and those whose row or valve somebody else has
locked are parked and wait alone: later answers of a grant wait behind it. Nobody else's answer waits for a stranger's
lock for longer than the waits below together.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from models import locked_grant
from models.database import AWAY, transaction
from tasks.runtime import lock_holders, retry
from tasks.runtime.attempt import Arrived
from tasks.runtime.journaling import write_down
from tasks.runtime.runtime import Runtime
from tasks.settling.write import write

log = structlog.get_logger()

LOCK_WAIT = timedelta(seconds=0.4)  # for any one lock: our own transactions are over by then
LOCK_WAIT_ALONE = timedelta(seconds=0.1)
LOCKED_ENOUGH = 3  # so many locked rows hold up the settling thread at a time, however many there are
PARKED_AT_ONCE = 200


def settle(runtime: Runtime, group: Sequence[Arrived]) -> None:
    """Settle a group of answers; returns when the database has taken all that it takes, or they are parked."""
    journal_answers(runtime, group)
    _settle_aside(runtime)
    for part in _once_each(group):
        free = [arrived for arrived in part if not runtime.answers.parked.add_behind(arrived)]
        try:
            left = _write_patiently(runtime, free)
        except Exception as error:
            if runtime.giving_up.is_set():
                raise
            log.warning("settle.group_refused", size=len(free), exc_info=not retry.is_locked(error))
            _settle_each(runtime, _unlocked(runtime, free) if retry.is_locked(error) else free)
        else:
            _mark_settled(runtime, [arrived for arrived in free if id(arrived) not in left])


def _once_each(group: Sequence[Arrived]) -> list[list[Arrived]]:
    """Parts in which each grant stands once: two answers of one grant are settled one after the other."""
    parts: list[dict[UUID, Arrived]] = []
    for arrived in group:
        grant_id = arrived.attempt.job.grant_id
        part = next((part for part in parts if grant_id not in part), None)
        if part is None:
            part = {}
            parts.append(part)
        part[grant_id] = arrived
    return [list(part.values()) for part in parts]


def _unlocked(runtime: Runtime, group: Sequence[Arrived]) -> list[Arrived]:
    """Settle at once those of a group that nobody else has locked, and park the others; returns what neither went for.

    Who has locked them is told.
    """
    runtime.later(lock_holders.tell)
    locked = _locked(group)
    for arrived in group:
        if arrived.attempt.job.grant_id in locked:
            log.warning("settle.row_locked", grant_id=str(arrived.attempt.job.grant_id))
            runtime.answers.parked.add(arrived)
    free = [arrived for arrived in group if arrived.attempt.job.grant_id not in locked]
    return [] if _settled_together(runtime, free) else free


def _locked(group: Sequence[Arrived]) -> set[UUID]:
    """Those grants of a group that somebody else has locked; all, where nobody can tell."""
    ids = [arrived.attempt.job.grant_id for arrived in group]
    try:
        with transaction() as connection:
            return locked_grant.locked(connection, ids, wait=LOCK_WAIT_ALONE)
    except AWAY:
        return set(ids)


def _settled_together(runtime: Runtime, group: Sequence[Arrived]) -> bool:
    try:
        left = _write_patiently(runtime, group, wait=LOCK_WAIT_ALONE)
    except Exception:  # each is tried by itself, and what is wrong with it told
        if runtime.giving_up.is_set():
            raise
        return False
    _mark_settled(runtime, [arrived for arrived in group if id(arrived) not in left])
    return True


def _settle_each(runtime: Runtime, group: Sequence[Arrived]) -> None:
    """Settle a refused group one by one; those whose rows are locked are parked, the rest with them if many are."""
    locked = 0
    for arrived in group:
        if locked >= LOCKED_ENOUGH or not _settle_alone(runtime, arrived, wait=LOCK_WAIT_ALONE):
            locked += 1
            runtime.answers.parked.add(arrived)


def _settle_aside(runtime: Runtime) -> None:
    """Try again what was parked, until what is left is locked still."""
    while (taken := runtime.answers.parked.take(PARKED_AT_ONCE)) and _settle_taken(runtime, taken):
        pass


def _settle_taken(runtime: Runtime, taken: Sequence[Arrived]) -> bool:
    """Settle those that nobody has locked any longer, together; alone, where that fails. Whether none is left."""
    locked = _locked(taken)
    if locked:
        runtime.later(lock_holders.tell)
    together = _settled_together(runtime, [each for each in taken if each.attempt.job.grant_id not in locked])
    failed = 0
    for arrived in taken:
        is_free = arrived.attempt.job.grant_id not in locked
        alone = is_free and not together and failed < LOCKED_ENOUGH
        if (is_free and together) or (alone and _settle_alone(runtime, arrived, wait=LOCK_WAIT_ALONE)):
            runtime.answers.parked.done(arrived)
        else:
            failed += is_free
            runtime.answers.parked.later(arrived)
    return not (locked or failed)


def _settle_alone(runtime: Runtime, arrived: Arrived, *, wait: timedelta) -> bool:
    """Settle one answer; one that the database refuses stays in the journal. False: somebody has locked its row."""
    try:
        left = _write_patiently(runtime, [arrived], wait=wait)
    except Exception as error:
        if retry.is_locked(error):
            log.warning("settle.row_locked", grant_id=str(arrived.attempt.job.grant_id))
            return False
        log.exception("settle.row_refused", grant_id=str(arrived.attempt.job.grant_id))
        if arrived.position is not None:
            runtime.answers.refused.add(arrived.attempt.job.grant_id)
        return True
    if not left:
        _mark_settled(runtime, [arrived])
    return True


def _mark_settled(runtime: Runtime, group: Sequence[Arrived]) -> None:
    runtime.journal.mark_settled([arrived.position for arrived in group if arrived.position is not None])


def journal_answers(runtime: Runtime, group: Sequence[Arrived]) -> None:
    """Journal every body that may hold tokens; where that fails the answer goes straight to the database.

    The journaling thread does so as answers arrive, so none waits for the database first; one that it has kept is not
    kept again.
    """
    holders = [arrived for arrived in group if arrived.may_hold_tokens and not arrived.journaled]
    positions = write_down(runtime.journal, [arrived.entry() for arrived in holders])
    for arrived in group:
        arrived.journaled = True
    for arrived, position in zip(holders, positions, strict=True):
        arrived.position = position


def _write_patiently(runtime: Runtime, group: Sequence[Arrived], *, wait: timedelta = LOCK_WAIT) -> set[int]:
    if not group:
        return set()
    return retry.while_database_away(
        lambda: write(runtime, group, wait=wait), give_up=runtime.giving_up, unless=retry.is_locked
    )
