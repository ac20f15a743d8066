"""Recover: after a restore or a fail-over that lost commits, replay every journal before anything is sent.

The database says that it is on another timeline, or lacks a tick that a journal noted: an incident. Claims and
starts stop in their own statements. Each worker replays its own journal, settled entries too, and those without an
owner on its disk. When every journal that is not marked drained was replayed, work goes on by itself; `db adopt`
goes on without a journal that is gone.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from uuid import UUID

import structlog

from models import erasure, installation, revocation, tick
from models import journal as register
from models.database import transaction
from models.sealing.keys import VaultError
from models.states.installation import DatabaseState
from tasks import journal
from tasks.journal import Journal, JournalHeld, JournalUnknown, Replayed
from tasks.runtime.runtime import Runtime
from tasks.settling import replay

log = structlog.get_logger()

TICK_MISSING = "tick_missing"
TIMELINE = "timeline"
ACTOR = "evergrant"


def look(runtime: Runtime, *, thoroughly: bool = False) -> str:
    """See whether commits are missing, and recover if so; returns the database's state.

    Args:
        runtime: whose journals are asked.
        thoroughly: ask every journal on this disk for the ticks that it noted, not only this process's memory; so does
            a process that has not worked with this database yet, for it may have been adopted just now.

    """
    noted = _noted(runtime) if thoroughly or runtime.tick is None else [runtime.tick]
    with transaction() as connection:
        lacking = bool(tick.missing(connection, noted))
        state = installation.state(connection, runtime.settings.environment)
        if state in (DatabaseState.FIT, DatabaseState.REWOUND) and (lacking or state == DatabaseState.REWOUND):
            incident_no = installation.raise_incident(connection, TICK_MISSING if lacking else TIMELINE)
            state = DatabaseState.REWOUND
    may_repeat = state == DatabaseState.REWOUND or not runtime.fit
    if state == DatabaseState.REWOUND:
        recover(runtime, incident_no)
        with transaction() as connection:
            state = installation.state(connection, runtime.settings.environment)
    if state == DatabaseState.FIT:
        if may_repeat:
            runtime.admission.forget()
        _note_tick(runtime)
    runtime.fit = state == DatabaseState.FIT
    return state


def recover(runtime: Runtime, incident_no: int) -> None:
    """Replay all that this disk has for an incident, and close it if that was the last of it.

    Each journal of a process that is gone is noted as soon as it was replayed: who is killed in the middle, and starts
    again, begins with the next one. The incident waits for this process's own, which comes last.
    """
    log.warning("recover.begins", incident_no=incident_no)
    with ExitStack() as closing_all:
        others = [closing_all.enter_context(closing(other)) for other in _others(runtime)]
        done = _begin([runtime.journal, *others], incident_no)
        for each in others:
            if each.journal_id not in done:
                _replay_other(runtime, each, incident_no)
        mine = _replay_whole(runtime, runtime.journal)
        # Ends after all entries: the row that one of them ends may stand in another journal.
        for each in (runtime.journal, *others):
            _end_again(each)
        if mine.drained:
            _note_replayed(runtime, runtime.journal, incident_no)
    with transaction() as connection:
        least = timedelta(seconds=runtime.settings.incident_seconds)
        if installation.close_incident(connection, least=least):
            log.warning("recover.done", incident_no=incident_no)


def _begin(journals: Sequence[Journal], incident_no: int) -> set[int]:
    """Let the incident wait for all of these journals; returns the ids of those that were replayed for it already."""
    ids = [each.journal_id for each in journals]
    with transaction() as connection:
        register.await_all(connection, ids, host=socket.gethostname(), process=str(os.getpid()))
        return register.replayed_already(connection, ids, incident_no=incident_no)


def _others(runtime: Runtime) -> Iterator[Journal]:
    """Every journal on this disk without an owner, drained or not; from now on it is ours."""
    folder = runtime.settings.home / "journals"
    for found in journal.left_behind(folder):
        try:
            quiet = found.journal_id in runtime.damaged_journals
            taken = journal.take_over(folder, found.journal_id, vault=runtime.vault, quiet=quiet)
        except (JournalHeld, JournalUnknown):
            continue
        except (VaultError, OSError) as error:
            # It stays undrained, and an incident stays open for it, until its key is back or it can be read.
            log.error("journal.cannot_open", journal_id=found.journal_id, reason=str(error))  # noqa: TRY400
            continue
        yield taken


def _replay_other(runtime: Runtime, kept: Journal, incident_no: int) -> None:
    """Replay the journal of a process that is gone, and note at once what became of it."""
    result = _replay_whole(runtime, kept)
    if result.drained:
        _end_again(kept)
        _note_replayed(runtime, kept, incident_no)
    elif result.damage is not None:
        _note_damaged(runtime, kept, result.damage)


def _replay_whole(runtime: Runtime, kept: Journal) -> Replayed:
    """Replay a journal from its first entry, the settled ones too."""
    result = journal.replay(kept, lambda items: replay.replay(runtime, items), everything=True)
    log.info("recover.replayed", journal_id=kept.journal_id, settled=result.settled, left=result.left)
    return result


def _end_again(kept: Journal) -> None:
    """End the grants whose ends a journal has noted and the database has forgotten; most have noted none."""
    if not (ends := list(kept.ends())):
        return
    with transaction() as connection:
        for end in ends:
            if end.erase:
                erasure.request(connection, UUID(end.grant_id), who=ACTOR)
            else:
                revocation.end_again(connection, UUID(end.grant_id), evidence=end.evidence, ended_at=end.ended_at)


def _note_replayed(runtime: Runtime, kept: Journal, incident_no: int) -> None:
    """Note that a journal was replayed; its ticks are put back, else the next to miss one would begin all over again.

    Nothing starts by that: claims and starts wait until the incident is closed.
    """
    mine = kept is runtime.journal
    warned = {_newest(kept), runtime.tick if mine else None} - {None}
    with transaction() as connection:
        tick.put_back(connection, [each for each in warned if each is not None])
        register.replayed(
            connection,
            kept.journal_id,
            host=socket.gethostname(),
            process=str(os.getpid()),
            incident_no=incident_no,
            drained=not mine,
        )


def _note_damaged(runtime: Runtime, kept: Journal, damage: str) -> None:
    """Note that a journal cannot be read to its end: the incident waits for it, until it can or is abandoned.

    What it tells of missing commits is heeded by now, as far as it can be.
    """
    newest = _newest(kept)
    with transaction() as connection:
        tick.put_back(connection, [] if newest is None else [newest])
        news = register.note_damage(connection, kept.journal_id, damage)
    if news:
        remedy = "see `evergrant journals list`"
        log.error("journal.damaged", journal_id=kept.journal_id, damage=damage, remedy=remedy)
    runtime.damaged_journals[kept.journal_id] = damage


def _noted(runtime: Runtime) -> list[UUID]:
    """The newest tick that each journal on this disk has noted."""
    newest = [_newest(runtime.journal)]
    for other in _others(runtime):
        with closing(other):
            newest.append(_newest(other))
    return [each for each in newest if each is not None]


def _newest(kept: Journal) -> UUID | None:
    last = max(kept.ticks(), key=lambda each: each.seen_at, default=None)
    return None if last is None else UUID(last.tick_id)


def _note_tick(runtime: Runtime) -> None:
    with transaction() as connection:
        found = tick.latest(connection)
    if found is not None and found[0] != runtime.tick:
        runtime.tick = found[0]
        runtime.journal.note_tick(str(found[0]), found[1])
