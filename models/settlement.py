"""Settling: what the ended attempts of a group change, in one transaction.

The lease decided who might send; the *generation* decides what is stored. A token set that was received is
stored or kept as surplus, whatever the claim number says; a judgement is written only by the attempt that
still owns the claim, on the generation that it asked from.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from models.predicates import A_JOURNAL_IS_UNDRAINED, REJECTION_IS_REPORTED
from models.rows import made_of


class LockedGrant(NamedTuple):
    """A locked grant row, as far as settling needs it."""

    grant_id: UUID
    client_id: int
    ref: str
    status: str
    generation: int
    claim_no: int
    refresh_fingerprint: bytes | None
    former_fingerprints: list[bytes]
    scope: str | None
    life: timedelta | None
    access_expires_at: datetime | None
    refresh_expires_at: datetime | None
    consent_expires_at: datetime | None
    created_at: datetime
    refreshed_at: datetime | None
    keep: str
    rotation: str
    grace: timedelta | None
    doubt_since: datetime | None
    journals_undrained: bool
    suspect_at: datetime | None
    failures: int
    attempts: int  # that ended without a token set since the last one
    failing_since: datetime | None
    failing_for: timedelta
    untried_former_tokens: int
    access_rejected: bool
    has_letter: bool  # an open dead letter of its refreshes
    refusals: int  # in one word that nobody understands, since its last success
    refused_since: datetime | None
    refused_code: str | None
    client_refused_since: datetime | None  # set: nobody of its client has succeeded since somebody was refused so
    witness_at: datetime | None  # start of the client's last refresh that succeeded
    credentials_proven: bool  # something has succeeded under the client's present ones
    was_well: bool  # its last request succeeded
    at: datetime
    spent_refused_at: datetime | None = None
    drift: dict[str, Any] | None = None  # of its client
    drift_watch: dict[str, Any] | None = None


class Stored(NamedTuple):
    """A token set to be stored as generation `generation + 1`; tokens are sealed already."""

    grant_id: UUID
    generation: int
    sealed_refresh_token: bytes | None
    sealed_access_token: bytes
    refresh_fingerprint: bytes | None
    scope: str | None
    life: timedelta
    started_at: datetime
    due_at: datetime
    credentials_no: int
    spent_refused_at: datetime | None  # the token that was sent had been refused then, before its time
    sent: bytes  # fingerprint of the refresh token that was presented
    is_former: bool  # the token presented, or the new one, is among the former ones
    ends_predecessor: bool  # the pair that the row's came of is dead by this: `until_next_refresh`
    is_crowded: bool  # a predecessor more may be one too many
    refresh_expires_at: datetime | None = None
    consent_expires_at: datetime | None = None


class Surplus(NamedTuple):
    """A token set for a generation that is stored already."""

    grant_id: UUID
    generation: int
    sealed_refresh_token: bytes
    sealed_access_token: bytes
    refresh_fingerprint: bytes
    access_expires_at: datetime


class Ended(NamedTuple):
    """An attempt without a token set: what it means for its grant, where the claim is still its own."""

    grant_id: UUID
    claim_no: int
    generation: int
    unknown: bool
    failed: bool
    suspect: bool
    refused: bool  # in words that nobody understands
    due_at: datetime
    code: str
    http_status: int | None
    reason: str | None  # set: the verdict
    former_token_id: int | None  # set: the former token that was presented, and refused
    rule: str | None  # of the provider's file, that read the answer
    shape: str | None  # of a word that may not be told


# A stranger's lock must not hold up the answers of other grants for as long as a transaction waits else. The time is
# set in the same statement: all that is joined is read before the first row is locked.
LOCK = text("""
with impatient as materialized (
    select set_config('lock_timeout', coalesce(cast(:wait as text), current_setting('lock_timeout')), true)
)
select g.id from impatient cross join evergrant.grants g
where g.id = any (cast(:ids as uuid[]))
order by g.id
for no key update of g
""")

# Those of whom nobody else holds the row nor the valve now: to find out who does, none is waited for.
FREE = text("""
with impatient as materialized (select set_config('lock_timeout', :wait, true))
select g.id from impatient cross join evergrant.grants g
join evergrant.valves v on v.client_id = g.client_id
where g.id = any (cast(:ids as uuid[]))
order by g.id
for no key update of g, v skip locked
""")
HERE = text("select id from evergrant.grants where id = any (cast(:ids as uuid[]))")

# Only once the rows are ours: a statement that had to wait for a lock sees other tables as they were before it waited.
READ = text(f"""
select g.id as grant_id, g.client_id, g.ref, g.status, g.generation, g.claim_no, g.refresh_fingerprint,
    former.fingerprints as former_fingerprints,
    g.scope, g.life, g.access_expires_at, g.refresh_expires_at, g.consent_expires_at, g.created_at, g.refreshed_at,
    coalesce(g.keep, c.keep) as keep, c.rotation, c.grace, g.doubt_since,
    {A_JOURNAL_IS_UNDRAINED} as journals_undrained,
    g.suspect_at, g.failures, g.attempts, g.failing_since, g.failing_for,
    former.untried as untried_former_tokens,
    g.rejected_at is not null or {REJECTION_IS_REPORTED} as access_rejected,
    exists (
        select from evergrant.dead_letters d
        where d.grant_id = g.id and d.kind = 'refresh' and d.resolved_at is null
    ) as has_letter,
    case when refused.still then g.refusals else 0 end as refusals,
    case when refused.still then g.refused_since end as refused_since, g.refused_code,
    -- Forgotten whenever a valve opens, but by the release before.
    case when v.paused_until is not null or v.changed_at is null or w.refused_since > v.changed_at
        then w.refused_since end as client_refused_since, w.witness_at,
    coalesce(v.credentials_proven_no = c.credentials_no, false) as credentials_proven,
    g.refreshed_at is not null and g.last_error_at is null as was_well,
    coalesce(:now, clock_timestamp()) as at,
    g.spent_refused_at, c.drift, c.drift_watch
from evergrant.grants g
join evergrant.clients c on c.id = g.client_id
join evergrant.valves v on v.client_id = g.client_id
left join evergrant.witnesses w on w.client_id = g.client_id
-- A success by a worker of the release before leaves the columns as they were.
cross join lateral (select g.refused_since > coalesce(g.refreshed_at, '-infinity') as still) refused
cross join lateral (
    select coalesce(array_agg(t.refresh_fingerprint), '{{}}') as fingerprints,
        count(*) filter (where t.tried_at is null and t.known_dead_at is null) as untried
    from evergrant.former_tokens t where t.grant_id = g.id
) former
where g.id = any (cast(:ids as uuid[]))
""")  # noqa: S608  # constants

# A former token that was presented with success is the predecessor of what is stored now, or dead by that, or, where
# refresh tokens stay, a branch as before.
SPEND_FORMER = text("""
update evergrant.former_tokens t
set kind = case when c.rotation in ('on_use', 'until_next_refresh') then 'predecessor' else t.kind end,
    generation = case when c.rotation in ('on_use', 'until_next_refresh') then g.generation else t.generation end,
    known_dead_at = case
        when c.rotation in ('grace', 'immediate', 'family') then clock_timestamp() else t.known_dead_at
    end
from unnest(
    cast(:grant_id as uuid[]), cast(:sent as bytea[]), cast(:refresh_fingerprint as bytea[])
) as new (id, sent, fingerprint)
join evergrant.grants g on g.id = new.id
join evergrant.clients c on c.id = g.client_id
where t.grant_id = new.id and t.refresh_fingerprint = new.sent and new.fingerprint <> new.sent
""")

# At `until_next_refresh` the pair that the row's came of has died with the first use of the row's own refresh token:
# there is nothing left to keep. Any other may be the predecessor of a pair that was not used.
SPEND_PREDECESSOR = text("""
delete from evergrant.former_tokens t
using evergrant.grants g
where g.id = any (cast(:ids as uuid[])) and t.grant_id = g.id and t.kind = 'predecessor'
    and t.generation = g.generation - 1
""")

# What is stored in the row now is no former token any longer.
NO_LONGER_FORMER = text("""
delete from evergrant.former_tokens t
using evergrant.grants g
where g.id = any (cast(:ids as uuid[])) and t.grant_id = g.id and t.refresh_fingerprint = g.refresh_fingerprint
""")

PREDECESSORS_KEPT = 20
# One that falls out may live, whatever becomes of the others: that is noted for good.
DROP_OLDEST_PREDECESSORS = text("""
with dropped as (
    delete from evergrant.former_tokens t
    using (
        select id, row_number() over (partition by grant_id order by id desc) as place
        from evergrant.former_tokens
        where grant_id = any (cast(:ids as uuid[])) and kind = 'predecessor'
    ) ranked
    where t.id = ranked.id and ranked.place > :kept
    returning t.grant_id, t.known_dead_at
)
update evergrant.grants g set predecessors_dropped = true
where g.id in (select grant_id from dropped where known_dead_at is null)
""")

# A pair that was replaced may still live: at on_use until the access token of its direct successor is used, at
# until_next_refresh until its refresh token is, and at none for as long as it likes. And where another token than the
# row's was presented, the row's own pair is no predecessor but a branch of its own: a sibling of the one presented, so,
# like any surplus, of the generation that it was asked from. All parts of the statement see the row as it was; who
# listens is told at the commit.
#
# Where another attempt is under way, for this one was thought lost, the row stays as if claimed until that lease ends:
# a second request must not begin beside it (a revocation would at once). Nobody was told of that claim: it is one of
# 1970, which `start` refuses, whoever guesses its number.
#
# Each row is looked for once, by its id, and then taken by `ctid`, for the caller holds its lock. Asked apart from that
# which of them are under way, PostgreSQL reads the index of all that is (measured with 1 500 of them: 86 µs of CPU a
# token set, now 65).
STORE = text("""
with given as (
    select *, coalesce(:now, clock_timestamp()) as at from unnest(
        cast(:grant_id as uuid[]), cast(:generation as bigint[]), cast(:sealed_refresh_token as bytea[]),
        cast(:sealed_access_token as bytea[]), cast(:refresh_fingerprint as bytea[]), cast(:scope as text[]),
        cast(:life as interval[]), cast(:started_at as timestamptz[]), cast(:due_at as timestamptz[]),
        cast(:refresh_expires_at as timestamptz[]), cast(:consent_expires_at as timestamptz[]),
        cast(:credentials_no as integer[]), cast(:spent_refused_at as timestamptz[]), cast(:sent as bytea[])
    ) as answer (id, generation, sealed_refresh_token, sealed_access_token, refresh_fingerprint, scope, life,
        started_at, due_at, refresh_expires_at, consent_expires_at, credentials_no, spent_refused_at, sent)
),
answer as materialized (
    select given.*, g.ctid as place,
        coalesce(g.started_at is not null and g.due_at > given.at and g.started_at <> given.started_at, false) as beside
    from given join evergrant.grants g on g.id = given.id
),
former as (
    insert into evergrant.former_tokens
        (grant_id, kind, generation, sealed_refresh_token, sealed_access_token, refresh_fingerprint, access_expires_at)
    select g.id, case when new.sent = g.refresh_fingerprint then 'predecessor' else 'surplus' end,
        case when new.sent = g.refresh_fingerprint then g.generation else g.generation - 1 end,
        g.sealed_refresh_token, g.sealed_access_token, g.refresh_fingerprint, g.access_expires_at
    from evergrant.grants g
    join evergrant.clients c on c.id = g.client_id
    join answer new on new.place = g.ctid
    where g.sealed_refresh_token is not null and coalesce(new.refresh_fingerprint, new.sent) <> g.refresh_fingerprint
        and (
            new.refresh_fingerprint is not null
            or exists (
                select from evergrant.former_tokens t where t.grant_id = g.id and t.refresh_fingerprint = new.sent
            )
        )
        and (
            c.rotation in ('none', 'on_use', 'until_next_refresh')
            or (new.sent <> g.refresh_fingerprint and new.generation = g.generation)
        )
    on conflict (grant_id, refresh_fingerprint) do nothing
),
stored as (
    update evergrant.grants g set
        generation = answer.generation + 1,
        sealed_refresh_token = coalesce(answer.sealed_refresh_token, kept.sealed_refresh_token, g.sealed_refresh_token),
        sealed_access_token = answer.sealed_access_token,
        refresh_fingerprint = coalesce(answer.refresh_fingerprint, kept.refresh_fingerprint, g.refresh_fingerprint),
        access_expires_at = answer.started_at + answer.life,
        older_access_ends_at = greatest(g.older_access_ends_at, g.access_expires_at),
        refresh_expires_at = answer.refresh_expires_at, consent_expires_at = answer.consent_expires_at,
        life = answer.life,
        scope = coalesce(answer.scope, g.scope),
        status = case g.status when 'needs_consent' then 'active' else g.status end,
        reason = case g.status when 'needs_consent' then null else g.reason end,
        refreshed_at = answer.started_at, refreshed_credentials_no = answer.credentials_no,
        asked_at = answer.at, rejected_at = null, spent_refused_at = answer.spent_refused_at,
        due_at = case when answer.beside then g.due_at else answer.due_at end,
        claim_no = g.claim_no + 1, claimed_at = case when answer.beside then 'epoch'::timestamptz end,
        started_at = null, journal_id = null,
        ever_in_doubt = g.ever_in_doubt or g.doubt_since is not null,
        doubt_since = null, doubt_journals = '{}', doubt_repeated = false, suspect_at = null,
        failures = 0, attempts = 0, failing_since = null, failing_for = '0', refusals = 0, refused_since = null,
        refused_code = null, last_error_code = null, last_error_http_status = null, last_error_at = null,
        last_error_rule = null, last_error_shape = null
    from answer
    left join evergrant.former_tokens kept  -- where the answer names no refresh token the one that was sent stays
        on kept.grant_id = answer.id and kept.refresh_fingerprint = answer.sent and kept.sealed_refresh_token <> ''
    where g.ctid = answer.place and g.generation <= answer.generation
    returning g.id
)
select pg_notify('evergrant_token_set', id::text) from stored
""")

ADD_SURPLUS = text("""
insert into evergrant.former_tokens
    (grant_id, kind, generation, sealed_refresh_token, sealed_access_token, refresh_fingerprint, access_expires_at)
select id, 'surplus', generation, refresh, access, fingerprint, expires_at
from unnest(
    cast(:grant_id as uuid[]), cast(:generation as bigint[]), cast(:sealed_refresh_token as bytea[]),
    cast(:sealed_access_token as bytea[]), cast(:refresh_fingerprint as bytea[]),
    cast(:access_expires_at as timestamptz[])
) as new (id, generation, refresh, access, fingerprint, expires_at)
on conflict (grant_id, refresh_fingerprint) do nothing
returning grant_id
""")

# A token set that arrived for a grant whose end was asked for must die, too. One that was given up stays so, for a
# human has it; but what it knew of the row's pair is no longer true. It keeps its place in the queue: behind a long one
# a pair that was refreshed to be revoked would expire once more, and then no revocation would ever end.
REOPEN = text("""
update evergrant.revocations
set status = case status when 'done' then 'queued' else status end,
    due_at = least(due_at, coalesce(:now, clock_timestamp())), done_at = null, evidence = null, current_dead_at = null
where grant_id = any (cast(:ids as uuid[]))
returning grant_id
""")
REOPEN_GRANTS = text("""
update evergrant.grants set status = 'revoking'
where id = any (cast(:ids as uuid[])) and status = 'revoked'
""")

# At `grace` an attempt that was sent when every earlier grace was over begins a doubt of its own (policy/guard.py).
END = text("""
with attempt as (
    select * from unnest(
        cast(:grant_id as uuid[]), cast(:claim_no as bigint[]), cast(:generation as bigint[]),
        cast(:unknown as boolean[]), cast(:failed as boolean[]), cast(:suspect as boolean[]),
        cast(:refused as boolean[]), cast(:due_at as timestamptz[]), cast(:code as text[]),
        cast(:http_status as integer[]), cast(:reason as text[]), cast(:rule as text[]),
        cast(:shape as text[])
    ) as attempt (id, claim_no, generation, unknown, failed, suspect, refused, due_at, code, http_status, reason, rule,
        shape)
),
judged as (
    select attempt.*, g.generation = attempt.generation and g.status = 'active' as may_judge,
        -- A second look that brings nothing changes nothing, and does not prolong how long the tokens are kept.
        g.status = 'needs_consent' as looked,
        -- of a grant whose end was asked for, too: else each refusal of it would be its first
        g.generation = attempt.generation and g.status <> 'needs_consent' as was_told,
        coalesce(:now, clock_timestamp()) as at,
        attempt.unknown and (g.doubt_since is null or g.started_at > g.doubt_since + 2 * c.grace) as begins_doubt,
        -- the client worked for others since the last failure: this time counts against the grant
        coalesce(v.last_success_at > g.last_error_at, false) as others_succeeded,
        -- a success by a worker of the release before leaves its columns as they were
        coalesce(g.refused_since > coalesce(g.refreshed_at, '-infinity') and g.refused_code = attempt.code, false)
            as was_refused_so
    from attempt
    join evergrant.grants g on g.id = attempt.id and g.claim_no = attempt.claim_no and g.started_at is not null
    join evergrant.clients c on c.id = g.client_id
    join evergrant.valves v on v.client_id = g.client_id
)
update evergrant.grants g set
    started_at = null, attempts = case when j.looked then g.attempts else g.attempts + 1 end,
    doubt_since = case when j.begins_doubt then g.started_at else g.doubt_since end,
    doubt_repeated = case when j.begins_doubt then false else g.doubt_since is not null end,
    asked_at = j.at,
    last_error_code = case when j.looked then g.last_error_code else j.code end,
    last_error_http_status = case when j.looked then g.last_error_http_status else j.http_status end,
    last_error_at = case when j.looked then g.last_error_at else j.at end,
    last_error_rule = case when j.looked then g.last_error_rule else j.rule end,
    last_error_shape = case when j.looked then g.last_error_shape else j.shape end,
    due_at = case when j.may_judge then j.due_at else g.due_at end,
    failures = case when j.may_judge and j.failed then g.failures + 1 else g.failures end,
    failing_since = case when j.may_judge and j.failed then coalesce(g.failing_since, j.at) else g.failing_since end,
    failing_for = case
        when j.may_judge and j.failed and j.others_succeeded
        then g.failing_for + (j.at - coalesce(g.last_error_at, j.at)) else g.failing_for
    end,
    refusals = case
        when not (j.was_told and j.refused) then g.refusals when j.was_refused_so then g.refusals + 1 else 1
    end,
    refused_since = case
        when not (j.was_told and j.refused) or j.was_refused_so then g.refused_since else j.at
    end,
    refused_code = case when j.was_told and j.refused then j.code else g.refused_code end,
    suspect_at = case when j.may_judge and j.suspect then coalesce(g.suspect_at, j.at) else g.suspect_at end,
    status = case when j.may_judge and j.reason is not null then 'needs_consent' else g.status end,
    reason = case when j.may_judge and j.reason is not null then j.reason else g.reason end
from judged j
where g.id = j.id
returning g.id, g.ref, g.client_id, g.generation, g.labels, g.status, g.reason, g.attempts, g.failing_since,
    g.failing_for, g.suspect_at, j.may_judge, j.at
""")

# We got no token set, so our journal cannot hold one: nobody needs to wait for it any longer. A process settles in the
# order in which its attempts ended, so earlier ones of the grant have been settled; a later one may be under way.
NOT_IN_JOURNAL = text("""
update evergrant.grants g set doubt_journals = array_remove(g.doubt_journals, cast(:journal_id as bigint))
where g.id = any (cast(:ids as uuid[])) and cast(:journal_id as bigint) = any (g.doubt_journals)
    and not (g.started_at is not null and g.journal_id = cast(:journal_id as bigint))
""")

# Tried is not known dead: a provider that refuses everybody for a while refuses a living one, too, and a revocation
# would pass it by.
TRIED = text("""
update evergrant.former_tokens set tried_at = coalesce(:now, clock_timestamp()) where id = any (cast(:ids as bigint[]))
""")


def lock(
    connection: Connection, ids: Sequence[UUID], *, wait: timedelta | None = None, now: datetime | None = None
) -> dict[UUID, LockedGrant]:
    """Lock the rows in the order of their ids (two groups cannot wait for each other) and read them.

    `wait`: for any one lock from now on in this transaction; None: as long as every transaction does.
    """
    limit = None if wait is None else f"{wait.total_seconds() * 1000:.0f}ms"
    in_order = sorted(set(ids), key=attrgetter("int"))  # as they compare themselves, without a call for each two
    connection.execute(LOCK, {"ids": in_order, "wait": limit})
    rows = made_of(connection.execute(READ, {"ids": in_order, "now": now}), LockedGrant)
    return {row.grant_id: row for row in rows}


def locked(connection: Connection, ids: Sequence[UUID], *, wait: timedelta) -> set[UUID]:
    """Those of these grants whose row, or whose client's valve, somebody else has locked now.

    `wait`: for the whole tables. A row that is not there is nobody's.
    """
    limit = f"{wait.total_seconds() * 1000:.0f}ms"
    free = set(connection.execute(FREE, {"ids": sorted(set(ids)), "wait": limit}).scalars())
    return set(connection.execute(HERE, {"ids": list(ids)}).scalars()) - free


def store(connection: Connection, answers: Sequence[Stored], *, now: datetime | None = None) -> None:
    """Store token sets in rows that the caller has locked and found fit for them, and tell those who listen.

    Most answers have nothing to do with former tokens but that the row's pair becomes one: they need one statement.
    """
    if not answers:
        return
    former = [answer for answer in answers if answer.is_former]
    crowded = [answer.grant_id for answer in answers if answer.is_crowded]
    if former:
        connection.execute(SPEND_FORMER, _arrays(former))
    if spent := [answer.grant_id for answer in answers if answer.ends_predecessor]:
        connection.execute(SPEND_PREDECESSOR, {"ids": spent})
    connection.execute(STORE, {**_arrays(answers), "now": now})
    if former:
        connection.execute(NO_LONGER_FORMER, {"ids": [answer.grant_id for answer in former]})
    if crowded:
        connection.execute(DROP_OLDEST_PREDECESSORS, {"ids": crowded, "kept": PREDECESSORS_KEPT})


# A pair of this grant may live that no row knows: its end can be accepted, but not seen.
UNPLACED = text("""
update evergrant.grants set ever_in_doubt = true where id = any (cast(:ids as uuid[])) and not ever_in_doubt
""")


def note_unplaced(connection: Connection, ids: Sequence[UUID]) -> None:
    """Note that a replay met pairs of these grants that were replaced, and may not be dead."""
    if ids:
        connection.execute(UNPLACED, {"ids": list(ids)})


NOTIFY = text("select pg_notify('evergrant_token_set', id::text) from unnest(cast(:ids as uuid[])) as stored (id)")


def notify(connection: Connection, ids: Sequence[UUID]) -> None:
    """Tell those who listen, at the commit, which grants hold a token set that `store` did not store."""
    if ids:
        connection.execute(NOTIFY, {"ids": list(ids)})


def keep_surplus(connection: Connection, answers: Sequence[Surplus]) -> list[UUID]:
    """Record sets that arrived late, once each; returns the grants of those that were new."""
    if not answers:
        return []
    return list(connection.execute(ADD_SURPLUS, _arrays(answers)).scalars())


def reopen_revocations(connection: Connection, ids: Sequence[UUID], *, now: datetime | None = None) -> list[UUID]:
    """Queue the revocations of these grants again: something of theirs lives."""
    if not ids:
        return []
    connection.execute(REOPEN_GRANTS, {"ids": list(ids)})
    return list(connection.execute(REOPEN, {"ids": list(ids), "now": now}).scalars())


def end(connection: Connection, attempts: Sequence[Ended], *, now: datetime | None = None) -> list[dict[str, Any]]:
    """End attempts that brought no token set; returns the rows whose claim was still ours."""
    if not attempts:
        return []
    arrays = _arrays(attempts)
    rows = [dict(row) for row in connection.execute(END, {**arrays, "now": now}).mappings()]
    ours = {row["id"] for row in rows}
    tried = [attempt.former_token_id for attempt in attempts if attempt.grant_id in ours and attempt.former_token_id]
    if tried:
        connection.execute(TRIED, {"ids": tried, "now": now})
    return rows


def not_in_journal(connection: Connection, ids: Sequence[UUID], *, journal_id: int) -> None:
    """Take a journal out of the doubt about grants whose attempts have just ended without a token set for it."""
    if ids:
        connection.execute(NOT_IN_JOURNAL, {"ids": list(ids), "journal_id": journal_id})


def _arrays(rows: Sequence[Stored | Surplus | Ended]) -> dict[str, list[Any]]:
    """Turn rows into one array a column, for `unnest`."""
    return dict(zip(rows[0]._fields, map(list, zip(*rows, strict=True)), strict=True))
