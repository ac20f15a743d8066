"""Token sets: what has arrived is stored by its generation, or kept as surplus, and never dropped.

The lease decided who might send; the *generation* decides what is stored, whatever the claim number says.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from models.rows import arrays_of


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

# A pair of this grant may live that no row knows: its end can be accepted, but not seen.
UNPLACED = text("""
update evergrant.grants set ever_in_doubt = true where id = any (cast(:ids as uuid[])) and not ever_in_doubt
""")
NOTIFY = text("select pg_notify('evergrant_token_set', id::text) from unnest(cast(:ids as uuid[])) as stored (id)")


def store(connection: Connection, answers: Sequence[Stored], *, now: datetime | None = None) -> None:
    """Store token sets in rows that the caller has locked and found fit for them, and tell those who listen.

    Most answers have nothing to do with former tokens but that the row's pair becomes one: they need one statement.
    """
    if not answers:
        return
    former = [answer for answer in answers if answer.is_former]
    crowded = [answer.grant_id for answer in answers if answer.is_crowded]
    if former:
        connection.execute(SPEND_FORMER, arrays_of(former))
    if spent := [answer.grant_id for answer in answers if answer.ends_predecessor]:
        connection.execute(SPEND_PREDECESSOR, {"ids": spent})
    connection.execute(STORE, {**arrays_of(answers), "now": now})
    if former:
        connection.execute(NO_LONGER_FORMER, {"ids": [answer.grant_id for answer in former]})
    if crowded:
        connection.execute(DROP_OLDEST_PREDECESSORS, {"ids": crowded, "kept": PREDECESSORS_KEPT})


def note_unplaced(connection: Connection, ids: Sequence[UUID]) -> None:
    """Note that a replay met pairs of these grants that were replaced, and may not be dead."""
    if ids:
        connection.execute(UNPLACED, {"ids": list(ids)})


def notify(connection: Connection, ids: Sequence[UUID]) -> None:
    """Tell those who listen, at the commit, which grants hold a token set that `store` did not store."""
    if ids:
        connection.execute(NOTIFY, {"ids": list(ids)})


def keep_surplus(connection: Connection, answers: Sequence[Surplus]) -> list[UUID]:
    """Record sets that arrived late, once each; returns the grants of those that were new."""
    if not answers:
        return []
    return list(connection.execute(ADD_SURPLUS, arrays_of(answers)).scalars())


def reopen_revocations(connection: Connection, ids: Sequence[UUID], *, now: datetime | None = None) -> list[UUID]:
    """Queue the revocations of these grants again: something of theirs lives."""
    if not ids:
        return []
    connection.execute(REOPEN_GRANTS, {"ids": list(ids)})
    return list(connection.execute(REOPEN, {"ids": list(ids), "now": now}).scalars())
