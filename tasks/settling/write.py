"""Write: what a group of answers means for its rows and its clients' valves, carried out in one transaction.

    lock      the rows, in order
    read      each answer: tasks/settling/reading.py
    decide    what it means for its row: tasks/settling/decide.py
    store     token sets, surplus, labels; end the attempts that brought none, with letters and events
    feed      the valves: locked last, in order

Afterwards it is counted and told, and what has no haste is done beside.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import Connection

from models import attempt as attempts
from models import client as clients
from models import (
    dead_letter,
    ended_attempt,
    event,
    label,
    locked_grant,
    operator_actions,
    suspects,
    token_set,
    witness,
)
from models.access_life import Question
from models.attempt import Started
from models.database import transaction
from models.locked_grant import LockedGrant
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
from tasks.runtime import clock, log_batch, spans, valves
from tasks.runtime.attempt import Arrived
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime
from tasks.settling import access_life, consent_replay, credentials, drift, metrics
from tasks.settling.confirm import confirm
from tasks.settling.decide import Decider, Decisions
from tasks.settling.failure import limited_since, may_be_its_own
from tasks.settling.reading import read_all, read_refusals, sign_of
from tasks.settling.strange import tell_once

log = structlog.get_logger()

ACTOR = "evergrant"


def write(runtime: Runtime, group: Sequence[Arrived], *, wait: timedelta) -> set[int]:
    """Carry out what a group of answers means, in one transaction; repeating it changes nothing.

    `wait`: for any one lock. Only our own short transactions should hold one. Returns `id()` of the answers that are
    left to a replay of the journal.
    """
    with transaction() as connection:
        held = locked_grant.lock(connection, [arrived.attempt.job.grant_id for arrived in group], wait=wait)
        told = credentials.heed(connection, group, read_all(group, partial(clients.known, connection), runtime.vault))
        outcomes = told.outcomes
        refused = read_refusals(group, outcomes, held)
        around = _around(connection, group, outcomes, held)
        decider = Decider(runtime.vault, runtime.settings, held, around, refused)
        for arrived, outcome in zip(told.group, outcomes, strict=True):
            decider.decide(arrived, outcome)
        write_token_sets(connection, decider.made)
        left = _make_missing(connection, runtime, group, outcomes, held)
        _write_ends(connection, runtime, decider.made, told.group)
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
        and consent_replay.make_missing(connection, runtime, arrived.entry()) in (None, "unchanged")
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
                started_at=arrived.attempt.job.started_at,
                at=row.at,
                # An imported grant that never answered has no life of its own yet.
                life=row.life or timedelta(seconds=registered.provider.default_life_seconds),
                credentials_no=registered.known.credentials_no,
            )
    return found


def write_token_sets(connection: Connection, made: Decisions) -> None:
    """Store what was decided to be stored, keep what is surplus, and tell of recoveries and changed scopes."""
    token_set.store(connection, made.stored)
    for each in made.strange:
        tell_once(*each)
    surplus = token_set.keep_surplus(connection, made.surplus)
    if surplus:
        log.warning("settle.surplus", grant_ids=[str(grant_id) for grant_id in surplus])
    label.keep(connection, made.kept)
    for grant_id in label.tell_refused(connection, made.refused_labels):
        log.warning("settle.label_refused", grant_id=str(grant_id), refused=dict(made.refused_labels[grant_id]))
    token_set.note_unplaced(connection, made.unplaced)
    token_set.reopen_revocations(connection, made.reopened)
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


def _write_ends(connection: Connection, runtime: Runtime, made: Decisions, group: Sequence[Arrived]) -> None:
    rows = {row["id"]: row for row in ended_attempt.end(connection, made.ended)}
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
    jobs = [*((ended.grant_id, ended.claim_no) for ended in made.ended), *(job[:2] for job in made.released)]
    started = {(job.grant_id, job.claim_no): job.started_at for job in (each.attempt.job for each in group)}
    empty = [(job[0], started[job]) for job in jobs if job[0] not in runtime.answers.refused]
    ended_attempt.not_in_journal(connection, empty, journal_id=runtime.journal_id)


def _detail(ended: ended_attempt.Ended) -> str:
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
                refused_since=_refused_since(job, refused, row, outcome),
                may_be_its_own=may_be_its_own(outcome),
                was_well=sign is Sign.REFUSED and row is not None and row.was_well and job.status == GrantStatus.ACTIVE,
                recovered_from=row.refused_code if sign is Sign.GOOD and row is not None and row.refusals else None,
            )
            results.setdefault(job.client_id, []).append(ended)
        if sign is Sign.GOOD:
            proven = arrived.attempt.registered.known.credentials_no
            credentials[job.client_id] = max(proven, credentials.get(job.client_id, proven))
    return results, credentials


def _refused_since(
    job: Started, refused: Mapping[UUID, Refusals], row: LockedGrant | None, end: Outcome
) -> datetime | None:
    """Since when a grant that was refused is refused alike; in whatever words a former token is, it is known to be.

    Of one that is asked to wait: when it last was.
    """
    if job.grant_id not in refused:
        return None if row is None else limited_since(row, end)
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
