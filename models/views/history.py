"""History: what happened to grants, as far as any table tells: events, dead letters, revocations, former tokens.

A refresh that went well leaves no row of its own: known are the last one, and those whose pair is still kept.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

# Every part: at, what, grant_id, generation, reason, data, actor.
PARTS = """
    select g.created_at as at, 'grant.created' as what, g.id as grant_id, null::bigint as generation,
        null as reason, '{}'::jsonb as data, null as actor from grants g
    union all
    select g.refreshed_at, 'token_set.stored', g.id, g.generation, null, '{}', null from grants g
    union all
    select g.doubt_since, 'grant.in_doubt', g.id, g.generation, null,
        jsonb_build_object('journals', g.doubt_journals), null from grants g
    union all
    select g.suspect_at, 'grant.suspect', g.id, g.generation, null, '{}', null from grants g
    union all
    select g.last_error_at, 'refresh.failed', g.id, g.generation, g.last_error_code,
        jsonb_build_object('http_status', g.last_error_http_status, 'failures', g.failures,
            'rule', g.last_error_rule), null from grants g
    union all
    select t.stored_at, case t.kind when 'surplus' then 'token_set.surplus' else 'token_set.replaced' end,
        t.grant_id, t.generation, null, '{}', null
    from evergrant.former_tokens t join grants g on g.id = t.grant_id
    union all
    select t.tried_at, 'token_set.tried', t.grant_id, t.generation, null, '{}', null
    from evergrant.former_tokens t join grants g on g.id = t.grant_id
    union all
    select t.known_dead_at, 'token_set.dead', t.grant_id, t.generation, null, '{}', null
    from evergrant.former_tokens t join grants g on g.id = t.grant_id
    union all
    select w.requested_at, 'refresh.requested', w.grant_id, w.generation, null, '{}', w.requested_by
    from evergrant.refresh_requests w join grants g on g.id = w.grant_id
    union all
    select d.dead_at, 'dead_letter.written', d.grant_id, d.generation, d.cause,
        jsonb_build_object('id', d.id, 'kind', d.kind, 'detail', d.detail, 'attempts', d.attempts, 'rule', d.rule), null
    from evergrant.dead_letters d join grants g on g.id = d.grant_id
    union all
    select d.resolved_at, 'dead_letter.closed', d.grant_id, d.generation, d.resolution,
        jsonb_build_object('id', d.id), d.resolved_by
    from evergrant.dead_letters d join grants g on g.id = d.grant_id
    union all
    select r.requested_at, 'revocation.requested', r.grant_id, null, r.reason, jsonb_build_object('id', r.id),
        r.requested_by
    from evergrant.revocations r join grants g on g.id = r.grant_id
    union all
    select h.requested_at, 'revocation.held', h.grant_id, null, h.reason, jsonb_build_object('id', h.id), h.requested_by
    from evergrant.held_revocations h join grants g on g.id = h.grant_id
    union all
    select r.last_error_at, 'revocation.failed', r.grant_id, null, r.last_error_code,
        jsonb_build_object('id', r.id, 'http_status', r.last_error_http_status, 'attempts', r.attempts), null
    from evergrant.revocations r join grants g on g.id = r.grant_id
    union all
    select r.current_dead_at, 'token_set.dead', r.grant_id, g.generation, null, '{}', null
    from evergrant.revocations r join grants g on g.id = r.grant_id
    union all
    select e.requested_at, 'erasure.requested', e.grant_id, null, null, '{}', e.requested_by
    from evergrant.erasures e join grants g on g.id = e.grant_id
    union all
    select v.occurred_at, v.type, v.grant_id, v.generation, v.reason, v.data, v.actor
    from evergrant.events v join grants g on g.id = v.grant_id"""

HISTORY = f"""
    with grants as (
        select id, created_at, refreshed_at, generation, doubt_since, doubt_journals, suspect_at, failures,
            last_error_at, last_error_code, last_error_http_status, last_error_rule
        from evergrant.grants where id = any(:ids)
    ), parts as ({PARTS})
    select p.at, p.what, p.grant_id, p.generation, p.reason, jsonb_strip_nulls(p.data) as data, p.actor from parts p
    where p.at is not null and p.at >= coalesce(cast(:since as timestamptz), '-infinity')
    order by p.at, p.what"""  # noqa: S608  # constants


def of_grants(connection: Connection, ids: Sequence[UUID], *, since: datetime | None = None) -> Iterator[RowMapping]:
    """What happened to these grants, the oldest first: `at, what, grant_id, generation, reason, data, actor`."""
    return iter(connection.execute(text(HISTORY), {"ids": list(ids), "since": since}).mappings())


def grants_of(connection: Connection, client_id: int, ref: str) -> list[UUID]:
    """Every grant that a ref of a client has ever had."""
    query = "select id from evergrant.grants where client_id = :client_id and ref = :ref order by created_at"
    return list(connection.execute(text(query), {"client_id": client_id, "ref": ref}).scalars())


def end(connection: Connection, grant_id: UUID) -> tuple[list[str], datetime | None]:
    """Why a grant's end is no better known than its evidence says, and until when older access tokens may live.

    Nothing and None where all is known, or the end has not come.
    """
    query = """
        select data -> 'because' as because, cast(data ->> 'access_tokens_end_by' as timestamptz) as end_by
        from evergrant.events where grant_id = :id and type = 'grant.revoked' order by id desc limit 1"""
    told = connection.execute(text(query), {"id": grant_id}).one_or_none()
    return ([], None) if told is None else (list(told.because or []), told.end_by)


def pairs(connection: Connection, grant_id: UUID) -> dict[str, int]:
    """How many pairs of a grant are known, and how many of them are known dead."""
    query = """
        select count(*) as known, count(*) filter (where dead) as dead from (
            select known_dead_at is not null as dead from evergrant.former_tokens where grant_id = :id
            union all
            select g.status = 'revoked' or r.current_dead_at is not null
            from evergrant.grants g left join evergrant.revocations r on r.grant_id = g.id where g.id = :id
        ) pairs"""
    return dict(connection.execute(text(query), {"id": grant_id}).mappings().one())
