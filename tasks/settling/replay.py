"""Replay: settle what journals still hold, by the same rule as a live answer (tasks/settling/decide.py).

A journal belongs to the process that holds its flock. Those of processes that are gone are taken over by whoever
shares their disk, at its start and every minute; once settled to its end a journal is *drained*, and no grant in
doubt waits for it any longer.
"""

from collections.abc import Container, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import journal as register
from models import locked_grant
from models.client import Known
from models.database import transaction
from models.locked_grant import LockedGrant
from tasks import journal
from tasks.journal import Entry, Kept, Position, Replayed
from tasks.oauth.kept import from_answer
from tasks.oauth.provider import Provider
from tasks.oauth.token_answer import TokenSet
from tasks.policy.kinds import held_of
from tasks.runtime import clock, retry
from tasks.runtime.attempt import Asked
from tasks.runtime.registration import resolve
from tasks.runtime.runtime import Runtime
from tasks.settling import consent_replay, drift
from tasks.settling.decide import Decider
from tasks.settling.write import write_token_sets

log = structlog.get_logger()

LEFT_FOR = timedelta(minutes=1)  # younger answers are still on their way through the settling thread


def drain_others(runtime: Runtime) -> list[Replayed]:
    """Settle and close every journal on this disk whose process is gone."""
    folder = runtime.settings.home / "journals"
    drained = journal.drain_held(
        folder,
        lambda kept: replay(runtime, kept),
        _record_drained,
        vault=runtime.vault,
        known=runtime.damaged_journals,
    )
    for result in drained:
        _tell(runtime, result)
    _record_forgotten([found.journal_id for found in journal.left_behind(folder) if found.drained])
    return drained


def _tell(runtime: Runtime, result: Replayed) -> None:
    """Say what became of a journal; that it is damaged once, and once more where that has changed."""
    with transaction() as connection:
        news = register.note_damage(connection, result.journal_id, result.damage)
    known = runtime.damaged_journals.get(result.journal_id)
    if result.damage is None or result.settled:
        log.info("journal.replayed", journal_id=result.journal_id, settled=result.settled, left=result.left)
    if result.damage is None:
        runtime.damaged_journals.pop(result.journal_id, None)
        return
    if news or known is None:
        remedy = "see `evergrant journals list`"
        log.error("journal.damaged", journal_id=result.journal_id, damage=result.damage, remedy=remedy)
    runtime.damaged_journals[result.journal_id] = result.damage


def settle_left(runtime: Runtime) -> None:
    """Settle what this process's own journal still holds: answers that the database refused when they came."""
    before = clock.wall() - LEFT_FOR
    refused = set(runtime.answers.refused)  # as of now: the settling thread may add to them at any moment
    journal.replay(
        runtime.journal, lambda kept: replay(runtime, [item for item in kept if item.entry.received_at < before])
    )
    if refused:
        runtime.answers.refused -= refused - {UUID(kept.entry.grant_id) for kept in runtime.journal.unsettled()}


def shred_old(runtime: Runtime) -> None:
    """Shred what was settled longer ago than journals are kept."""
    before = clock.wall() - timedelta(hours=runtime.settings.journal_hours)
    runtime.journal.shred(before)
    journal.delete_drained(runtime.settings.home / "journals", before=before)


def replay(runtime: Runtime, kept: Sequence[Kept]) -> list[Position]:
    """Settle journal entries, each grant at most once; returns the positions that are done with.

    A group that fails is repeated one by one: an entry that cannot be settled is left, and keeps no other back.

    Raises:
        OperationalError, InterfaceError: the database is away.

    """
    try:
        return _replay(runtime, kept) if kept else []
    except Exception as error:
        if retry.database_is_away(error):
            raise
        if len(kept) == 1:
            log.exception("journal.entry_refused", grant_id=kept[0].entry.grant_id)
            return []
    return [position for item in kept for position in replay(runtime, [item])]


def _replay(runtime: Runtime, kept: Sequence[Kept]) -> list[Position]:
    done: list[Position] = []
    with transaction() as connection:
        held = locked_grant.lock(connection, [UUID(item.entry.grant_id) for item in kept])
        known = clients.known(connection, [row.client_id for row in held.values()])
        decider = Decider(runtime.vault, runtime.settings, held, {}, {})
        for item in kept:
            grant_id = UUID(item.entry.grant_id)
            # An entry before it may just have made it, as the second grant of its consent.
            row = held.get(grant_id) or locked_grant.lock(connection, [grant_id]).get(grant_id)
            if row is None:
                is_done = consent_replay.make_missing(connection, runtime, item.entry) is not None
            else:
                client = known.get(row.client_id) or clients.known(connection, [row.client_id])[row.client_id]
                _settle_again(connection, runtime, item, client=client, row=row, decider=decider)
                is_done = True
            done += [item.position] if is_done else []
        write_token_sets(connection, decider.made)
        drift.heed(connection, runtime.settings, decider.made.seen)
    return done


def _settle_again(
    connection: Connection, runtime: Runtime, item: Kept, *, client: Known, row: LockedGrant, decider: Decider
) -> None:
    """Settle an entry whose grant has its row."""
    provider = resolve(client.provider, client.overrides, runtime.settings)
    answer = consent_replay.read(item.entry, provider)
    if isinstance(answer, TokenSet):
        held = held_of(answer, provider.kind)
        decider.token_set(_asked(item.entry, provider), row, held, settled_before=item.settled)
        if answer.second is not None and item.entry.kind == "exchange":
            consent_replay.replay_second(
                connection, item.entry, runtime.registrations.ready(client), vault=runtime.vault
            )


def _asked(entry: Entry, provider: Provider) -> Asked:
    return Asked(
        grant_id=UUID(entry.grant_id),
        generation=entry.generation,
        fingerprint=entry.fingerprint,
        started_at=entry.started_at,
        provider=provider,
        credentials_no=entry.credentials_no,
        # Against what the provider did not give: a restored row may lack what the grant had when it was asked.
        kept=from_answer(provider, entry.body, _without(entry.labels, provider.keep_from_answer)),
    )


def _without(labels: Mapping[str, list[str]], left_out: Container[str]) -> dict[str, list[str]]:
    return {label: values for label, values in labels.items() if label not in left_out}


def _record_drained(journal_id: int) -> None:
    with transaction() as connection:
        register.drained(connection, journal_id)


def _record_forgotten(journal_ids: Sequence[int]) -> None:
    """Record journals that say on this disk that they are drained, and whose end the database never heard of."""
    with transaction() as connection:
        forgotten = register.undrained(connection, journal_ids)
    for journal_id in forgotten:
        _record_drained(journal_id)
