"""Settle: answers that arrived together are journaled, read, and written, each grant by its generation.

    journal   every 2xx body, sealed and fsynced, before anybody parses it; in a thread of its own
    decide    tasks/settling/decide.py: what each answer means for its row, under the row's lock
    write     one transaction: token sets, surplus, ended attempts, dead letters, events, valves
    mark      in the journal: settled

While the database is away the write is repeated; the journal has the answers already. A group that the database
refuses is repeated row by row, so that a poisonous answer fails alone, and those whose row or valve somebody else has
locked are parked and wait alone: later answers of a grant wait behind it. Nobody else's answer waits for a stranger's
lock for longer than the waits below together.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import Connection

from models import attempt as attempts
from models import client as clients
from models import dead_letter, event, label, operator_actions, settlement, suspects, witness
from models.access_life import Question
from models.attempt import Started
from models.database import AWAY, transaction
from models.settlement import LockedGrant
from models.states.dead_letter import LetterKind, Resolution
from models.states.event import EventType
from models.states.grant import GrantStatus
from models.suspects import Surroundings
from tasks.oauth.answer import HeldBack
from tasks.oauth.rotation import Rotation
from tasks.policy import quota
from tasks.policy.introspection import asks_for_life
from tasks.policy.outcome import Outcome, Refreshed, Refused
from tasks.policy.refusal import Refusals
from tasks.policy.valve import Result, Sign
from tasks.runtime import clock, lock_holders, log_batch, retry, spans, valves
from tasks.runtime.attempt import Arrived
from tasks.runtime.journaling import write_down
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime
from tasks.settling import access_life, consent, credentials, drift, metrics
from tasks.settling.confirm import confirm
from tasks.settling.decide import Decider, Decisions
from tasks.settling.reading import read_all, read_refusals, sign_of
from tasks.settling.strange import tell_once

log = structlog.get_logger()

ACTOR = "evergrant"

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
            return settlement.locked(connection, ids, wait=LOCK_WAIT_ALONE)
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


def write(runtime: Runtime, group: Sequence[Arrived], *, wait: timedelta = LOCK_WAIT) -> set[int]:
    """Carry out what a group of answers means, in one transaction; repeating it changes nothing.

    `wait`: for any one lock. Only our own short transactions should hold one. Returns `id()` of the answers that are
    left to a replay of the journal.
    """
    with transaction() as connection:
        held = settlement.lock(connection, [arrived.attempt.job.grant_id for arrived in group], wait=wait)
        told = credentials.heed(connection, group, read_all(group, partial(clients.known, connection), runtime.vault))
        outcomes = told.outcomes
        refused = read_refusals(group, outcomes, held)
        around = _around(connection, group, outcomes, held)
        decider = Decider(runtime.vault, runtime.settings, held, around, refused)
        for arrived, outcome in zip(told.group, outcomes, strict=True):
            decider.decide(arrived, outcome)
        write_token_sets(connection, decider.made)
        left = _make_missing(connection, runtime, group, outcomes, held)
        _write_ends(connection, runtime, decider.made)
        drift.heed(connection, runtime.settings, decider.made.seen)
        results, numbers = _results(told.group, outcomes, refused, held)
        # Their valves are locked with the others, in order.
        shut = valves.feed(connection, {**{each: [] for each in told.fallen}, **results}, numbers)
        for client_id in told.fallen:
            operator_actions.canary_now(connection, client_id)
            shut[client_id] = None
        _note_quotas(connection, group)
        _hold_deaths(connection, decider.made)
    for client_id, shut_for in shut.items():
        runtime.admission.note_valve(client_id, shut_for)
    _confirm(runtime, group, {row.grant_id for row in decider.made.stored})
    _learn_lives(runtime, told.group, outcomes, decider.made)
    metrics.count_refreshes(group, outcomes, held)
    spans.settled(group, outcomes)
    with log_batch.together():
        for arrived, outcome in zip(group, outcomes, strict=True):
            _tell(arrived, outcome)
    return left


def _make_missing(
    connection: Connection,
    runtime: Runtime,
    group: Sequence[Arrived],
    outcomes: Sequence[Outcome],
    held: Mapping[UUID, LockedGrant],
) -> set[int]:
    """Make the rows that token sets tell of and the database lacks, unless their end is noted: commits are missing.

    Returns `id()` of the answers that a replay must see to: their client is missing as well, or a replay was faster.
    """
    missing = [
        arrived
        for arrived, outcome in zip(group, outcomes, strict=True)
        if isinstance(outcome, Refreshed) and arrived.attempt.job.grant_id not in held
    ]
    ended = {end.grant_id for end in runtime.journal.ends()} if missing else set()
    for arrived in missing:
        log.warning("settle.row_missing", grant_id=str(arrived.attempt.job.grant_id))
    return {
        id(arrived)
        for arrived in missing
        if str(arrived.attempt.job.grant_id) not in ended
        and consent.make_missing(connection, runtime, arrived.entry()) in (None, "unchanged")
    }


def _confirm(runtime: Runtime, group: Sequence[Arrived], stored: set[UUID]) -> None:
    """Let the predecessors of what was stored die, where the provider has a place for it."""
    by_client: dict[int, tuple[Registered, list[UUID]]] = {}
    for arrived in group:
        registered, grant_id = arrived.attempt.registered, arrived.attempt.job.grant_id
        provider = registered.provider
        if grant_id in stored and provider.rotation is Rotation.ON_USE and provider.confirm_url is not None:
            by_client.setdefault(registered.known.id, (registered, []))[1].append(grant_id)
    for registered, grant_ids in by_client.values():
        runtime.later(partial(confirm, runtime, registered, grant_ids))


def _learn_lives(runtime: Runtime, group: Sequence[Arrived], outcomes: Sequence[Outcome], made: Decisions) -> None:
    """Ask how long what was stored lives, where its answer did not say so and an introspection does."""
    stored = {row.grant_id: row for row in made.stored}
    by_client: dict[int, tuple[Registered, list[Question]]] = {}
    for arrived, end in zip(group, outcomes, strict=True):
        registered, row = arrived.attempt.registered, stored.get(arrived.attempt.job.grant_id)
        if row is not None and isinstance(end, Refreshed) and asks_for_life(registered.provider, end.token_set):
            question = Question(row.grant_id, row.generation + 1, row.due_at)
            by_client.setdefault(registered.known.id, (registered, []))[1].append(question)
    for registered, questions in by_client.values():
        runtime.later(partial(access_life.learn_later, runtime, registered, questions))


def _around(
    connection: Connection, group: Sequence[Arrived], outcomes: Sequence[Outcome], held: Mapping[UUID, LockedGrant]
) -> dict[UUID, Surroundings]:
    """The facts around each suspect that was refused again."""
    found: dict[UUID, Surroundings] = {}
    for arrived, outcome in zip(group, outcomes, strict=True):
        row = held.get(arrived.attempt.job.grant_id)
        if row is not None and isinstance(outcome, Refused) and row.suspect_at is not None:
            registered = arrived.attempt.registered
            found[row.grant_id] = suspects.surroundings(
                connection,
                client_id=row.client_id,
                grant_id=row.grant_id,
                suspect_at=row.suspect_at,
                at=row.at,
                # An imported grant that never answered has no life of its own yet.
                life=row.life or timedelta(seconds=registered.provider.default_life_seconds),
                credentials_no=registered.known.credentials_no,
            )
    return found


def write_token_sets(connection: Connection, made: Decisions) -> None:
    """Store what was decided to be stored, keep what is surplus, and tell of recoveries and changed scopes."""
    settlement.store(connection, made.stored)
    for each in made.strange:
        tell_once(*each)
    surplus = settlement.keep_surplus(connection, made.surplus)
    if surplus:
        log.warning("settle.surplus", grant_ids=[str(grant_id) for grant_id in surplus])
    label.keep(connection, made.kept)
    for grant_id in label.tell_refused(connection, made.refused_labels):
        log.warning("settle.label_refused", grant_id=str(grant_id), refused=dict(made.refused_labels[grant_id]))
    settlement.note_unplaced(connection, made.unplaced)
    settlement.reopen_revocations(connection, made.reopened)
    recovered = set(made.recovered)
    if made.letters_to_close:
        recovered |= dead_letter.close(
            connection,
            made.letters_to_close,
            kind=LetterKind.REFRESH,
            resolution=Resolution.RECOVERED,
            resolved_by=ACTOR,
        )
    event.of_grants(connection, sorted(recovered), EventType.GRANT_RECOVERED)
    for grant_id, change in made.scope_changes.items():
        event.of_grants(connection, [grant_id], EventType.GRANT_SCOPE_CHANGED, data=change)


def _write_ends(connection: Connection, runtime: Runtime, made: Decisions) -> None:
    rows = {row["id"]: row for row in settlement.end(connection, made.ended)}
    for ended in made.ended:
        row, cause = rows.get(ended.grant_id), made.letters.get(ended.grant_id)
        if row is None or cause is None or not row["may_judge"]:
            continue
        new = dead_letter.write(
            connection,
            ended.grant_id,
            kind=LetterKind.REFRESH,
            cause=cause,
            detail=_detail(ended),
            attempts=row["attempts"],
            first_failed_at=row["failing_since"] or row["suspect_at"],
            rule=ended.rule,
            look_in=made.looks.get(ended.grant_id),
        )
        if new and ended.reason is not None:
            event.of_grants(connection, [ended.grant_id], EventType.GRANT_NEEDS_CONSENT, reason=ended.reason)
    if made.released:
        attempts.release(connection, made.released)
    # Where the claim has moved on meanwhile (a process that was frozen) the next attempt waits for our journal, which
    # holds nothing of these: but for those whose earlier answers the database refused.
    ended_ids = [*(ended.grant_id for ended in made.ended), *(grant_id for grant_id, *_ in made.released)]
    empty = [grant_id for grant_id in ended_ids if grant_id not in runtime.answers.refused]
    settlement.not_in_journal(connection, empty, journal_id=runtime.journal_id)


def _detail(ended: settlement.Ended) -> str:
    word = ended.code if ended.shape is None else f"{ended.code} {ended.shape}"
    return word if ended.http_status is None else f"{word} (HTTP {ended.http_status})"


def _note_quotas(connection: Connection, group: Sequence[Arrived]) -> None:
    """Note what providers said of the requests left: of a group the newest word counts. The valves are locked."""
    told: dict[int, tuple[datetime, int, int]] = {}
    for arrived in group:
        provider, answer = arrived.attempt.registered.provider, arrived.answer
        remaining = quota.left(getattr(answer, "headers", {}), provider.remaining_header)
        if remaining is not None:
            newest = (arrived.received_at, remaining, provider.remaining_least)
            client_id = arrived.attempt.job.client_id
            told[client_id] = max(told.get(client_id, newest), newest)
    for client_id, (_, remaining, least) in sorted(told.items()):
        scarce = quota.scarce_for(remaining, least=least)
        witness.note_quota(connection, client_id, remaining=remaining, scarce_for=scarce)


def _hold_deaths(connection: Connection, made: Decisions) -> None:
    """Tell that verdicts are held; after the valves were locked in order, lest two groups wait for each other."""
    for client_id, at in made.deaths_held.items():
        if suspects.hold_deaths(connection, client_id, at=at):
            event.of_client(connection, client_id, EventType.CLIENT_DEATHS_HELD)


def _results(
    group: Sequence[Arrived],
    outcomes: Sequence[Outcome],
    refused: Mapping[UUID, Refusals],
    held: Mapping[UUID, LockedGrant],
) -> tuple[dict[int, list[Result]], dict[int, int]]:
    """How the group's requests ended, and the newest credentials under which one succeeded, by client."""
    results: dict[int, list[Result]] = {}
    credentials: dict[int, int] = {}
    for arrived, outcome in zip(group, outcomes, strict=True):
        job, sign = arrived.attempt.job, sign_of(outcome)
        row = held.get(job.grant_id)
        if job.status == GrantStatus.NEEDS_CONSENT and sign in (Sign.NEUTRAL, Sign.REFUSED):
            continue  # of a second look: no news of anybody
        if sign is not None:
            ended = Result(
                job.grant_id,
                job.started_at,
                sign,
                outcome.code,
                outcome.retry_after,
                refreshed=isinstance(outcome, Refreshed),
                refused_since=_refused_since(job, refused, row),
                was_well=sign is Sign.REFUSED and row is not None and row.was_well and job.status == GrantStatus.ACTIVE,
                recovered_from=row.refused_code if sign is Sign.GOOD and row is not None and row.refusals else None,
            )
            results.setdefault(job.client_id, []).append(ended)
        if sign is Sign.GOOD:
            proven = arrived.attempt.registered.known.credentials_no
            credentials[job.client_id] = max(proven, credentials.get(job.client_id, proven))
    return results, credentials


def _refused_since(job: Started, refused: Mapping[UUID, Refusals], row: LockedGrant | None) -> datetime | None:
    """Since when a grant that was refused is refused alike; in whatever words a former token is, it is known to be."""
    if job.grant_id not in refused:
        return None
    of_former = job.former_token_id is not None and job.status == GrantStatus.ACTIVE
    return row.refused_since if of_former and row is not None else refused[job.grant_id].since


def _tell(arrived: Arrived, outcome: Outcome) -> None:
    job = arrived.attempt.job
    by_rule = {} if outcome.rule is None else {"rule": outcome.rule}
    by_rule |= {} if outcome.shape is None else {"shape": outcome.shape}
    log.info(
        "refresh.held_back" if isinstance(outcome, HeldBack) else "refresh",
        client=arrived.attempt.registered.known.name,
        ref=job.ref,
        grant_id=str(job.grant_id),
        claim_no=job.claim_no,
        generation=job.generation,
        outcome=outcome.code,
        http_status=outcome.http_status,
        duration_ms=round((clock.boot() - arrived.attempt.begun).total_seconds() * 1000),
        **by_rule,
    )
