"""Ended attempts: what one that brought no token set means for its grant.

A judgement is written only by the attempt that still owns the claim, on the generation that it asked from.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from models.rows import arrays_of


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
# order in which its attempts ended, so earlier ones of the grant have been settled; a later one may be under way. Where
# the very attempt still stands in a row that was claimed anew meanwhile, whoever starts that notes no journal for it.
NOT_IN_JOURNAL = text("""
with ended as (
    select id, array_agg(started_at) as started
    from unnest(cast(:ids as uuid[]), cast(:started_at as timestamptz[])) as ended (id, started_at)
    group by id
)
update evergrant.grants g set
    doubt_journals = array_remove(g.doubt_journals, cast(:journal_id as bigint)),
    journal_id = case when g.started_at = any (e.started) then nullif(g.journal_id, :journal_id) else g.journal_id end
from ended e
where g.id = e.id and case
    when g.started_at is not null and g.journal_id = cast(:journal_id as bigint) then g.started_at = any (e.started)
    else cast(:journal_id as bigint) = any (g.doubt_journals)
end
""")

# Tried is not known dead: a provider that refuses everybody for a while refuses a living one, too, and a revocation
# would pass it by.
TRIED = text("""
update evergrant.former_tokens set tried_at = coalesce(:now, clock_timestamp()) where id = any (cast(:ids as bigint[]))
""")


def end(connection: Connection, attempts: Sequence[Ended], *, now: datetime | None = None) -> list[dict[str, Any]]:
    """End attempts that brought no token set; returns the rows whose claim was still ours."""
    if not attempts:
        return []
    arrays = arrays_of(attempts)
    rows = [dict(row) for row in connection.execute(END, {**arrays, "now": now}).mappings()]
    ours = {row["id"] for row in rows}
    tried = [attempt.former_token_id for attempt in attempts if attempt.grant_id in ours and attempt.former_token_id]
    if tried:
        connection.execute(TRIED, {"ids": tried, "now": now})
    return rows


def not_in_journal(connection: Connection, ended: Sequence[tuple[UUID, datetime]], *, journal_id: int) -> None:
    """Take a journal out of the doubt about grants whose attempts have just ended without a token set for it.

    `ended`: each grant, and when its attempt was started.
    """
    if ended:
        ids, started_at = map(list, zip(*ended, strict=True))
        connection.execute(NOT_IN_JOURNAL, {"ids": ids, "started_at": started_at, "journal_id": journal_id})
