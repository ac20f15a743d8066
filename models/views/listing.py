"""Listing: what the lists and the single records show people. Nothing here changes anything or opens a seal."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from models.errors import AmbiguousRef, UnknownClient, UnknownRef
from models.predicates import END_IS_ASKED_FOR, IS_ENDING, IS_NOT_RENEWED, IS_STILL_HELD, MAY_EXPIRE, WAITS_FOR_IT

# A list of a million grants is read as it is printed, not at once.
PAGE = 500


@dataclass(frozen=True)
class Located:
    """Where a ref was found."""

    id: UUID
    ref: str
    client: str
    client_id: int
    status: str
    generation: int


# An open revocation makes a grant revoking from its commit on, before beat has set the status.
STATUS = f"""
    case when g.status <> 'revoked' and {END_IS_ASKED_FOR} then 'revoking' else g.status end"""

# Its last error is a refusal that nobody understands, and others of its client are well.
IS_REFUSED_ALONE = """
        g.refusals > 0 and w.refused_since is null and coalesce(g.last_error_code = g.refused_code, false)
            and coalesce(g.refused_since > coalesce(g.refreshed_at, '-infinity'), false)"""

# Its user can be sent somewhere: there is a public listener, and the client's grants have users.
IS_ASKED_BY_LINK = """
        exists (select from evergrant.installation i where i.public_url is not null)
            and c.overrides ->> 'kind' is distinct from 'client_credentials'"""

GRANTS = f"""
    select g.id, g.ref, c.name as client, c.provider, {STATUS} as status, g.reason, g.generation, g.scope,
        g.labels, coalesce(g.keep, c.keep) as keep, g.access_expires_at, g.due_at,
        g.refresh_expires_at, g.consent_expires_at, g.failures, g.failing_since,
        g.last_error_code, g.last_error_http_status, g.last_error_at, g.last_error_rule, g.last_error_shape,
        g.created_at, g.refreshed_at,
        g.doubt_since, g.suspect_at,
        coalesce(g.claimed_at, g.started_at) is not null and g.due_at > clock_timestamp() as under_way,
        {IS_REFUSED_ALONE} as refused_alone, {IS_ASKED_BY_LINK} as asked_by_link
    from evergrant.grants g
    join evergrant.clients c on c.id = g.client_id
    left join evergrant.witnesses w on w.client_id = g.client_id"""  # noqa: S608  # constants

# How a list may be sorted, and what that is of a row; what has no such time comes last.
SORTS = {
    "due": "case when g.status = 'active' then g.due_at end nulls last",
    "expires": "g.access_expires_at nulls last",
    "failures": "g.failures desc",
    "created": "g.created_at desc",
}

EXPIRES_WITHIN = f"""{MAY_EXPIRE} and (
        g.consent_expires_at <= statement_timestamp() + :expiring_within
        or g.refresh_expires_at <= statement_timestamp() + :expiring_within and {IS_NOT_RENEWED}
    )"""

LOCATE = f"""
    select distinct on (g.ref, g.client_id) g.id, g.ref, c.name as client, g.client_id, {STATUS} as status,
        g.generation
    from evergrant.grants g join evergrant.clients c on c.id = g.client_id
    where g.ref = any(:refs) and (cast(:client as text) is null or c.name = :client)
    order by g.ref, g.client_id, {IS_ENDING}, g.created_at desc"""  # noqa: S608  # constants


def locate(connection: Connection, refs: Sequence[str], client: str | None) -> list[Located]:
    """Find the live row of each ref, or its newest ended one, in the order asked.

    Raises:
        UnknownClient: there is no client of that name.
        UnknownRef: names every ref that was not found.
        AmbiguousRef: more than one client has the ref and none was named.

    """
    if client is not None:
        client_by_name(connection, client)
    found: dict[str, list[Located]] = {}
    for row in connection.execute(text(LOCATE), {"refs": list(refs), "client": client}).mappings():
        found.setdefault(row["ref"], []).append(Located(**row))
    missing = [ref for ref in refs if ref not in found]
    if missing:
        raise UnknownRef(missing)
    for ref in refs:
        if len(found[ref]) > 1:
            raise AmbiguousRef(ref, [each.client for each in found[ref]])
    return [found[ref][0] for ref in refs]


def all_located(connection: Connection, ref: str, client: str | None) -> list[Located]:
    """The live row of a ref, or its newest ended one, of each client that has it."""
    rows = connection.execute(text(LOCATE), {"refs": [ref], "client": client}).mappings()
    return [Located(**row) for row in rows]


def known(connection: Connection, texts: Collection[str]) -> set[str]:
    """Which of these are a ref, or the name of a client or an application."""
    query = """
        select ref from evergrant.grants where ref = any(:texts)
        union select name from evergrant.clients where name = any(:texts)
        union select name from evergrant.applications where name = any(:texts)"""
    fit = [each for each in texts if "\x00" not in each and each.isprintable()]
    return set(connection.execute(text(query), {"texts": fit}).scalars())


def located_by_id(connection: Connection, ids: Sequence[UUID]) -> list[Located]:
    """Read where grants are now, by client and ref."""
    query = f"""
        select g.id, g.ref, c.name as client, g.client_id, {STATUS} as status, g.generation
        from evergrant.grants g join evergrant.clients c on c.id = g.client_id
        where g.id = any(:ids) order by c.name, g.ref"""  # noqa: S608  # a constant
    return [Located(**row) for row in connection.execute(text(query), {"ids": list(ids)}).mappings()]


def grants(
    connection: Connection,
    *,
    client: str | None = None,
    status: str | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    due_within: timedelta | None = None,
    expiring_within: timedelta | None = None,
    failing: bool = False,
    sort: str | None = None,
    limit: int | None = None,
) -> Iterator[RowMapping]:
    """Stream the grants that match everything given, by client and ref; without a status all but the revoked.

    `due_within` has also those that are in back-off: they are due, and wait. `sort`: a word of SORTS, over all clients.
    """
    conditions = {
        "g.status <> 'revoked'": status is None,
        f"{STATUS} = :status": status not in (None, "all"),
        "g.labels @> cast(:labels as jsonb)": labels,
        # One time for the whole statement: compared with a clock that goes on no index serves.
        "g.status = 'active' and (g.due_at <= statement_timestamp() + :within or g.failures > 0)": due_within
        is not None,
        "g.status = 'active' and g.failures > 0": failing,
    }
    conditions[EXPIRES_WITHIN] = expiring_within is not None
    wanted = [each for each, asked in conditions.items() if asked]
    values = {
        "status": status,
        "labels": json.dumps({key: list(values) for key, values in (labels or {}).items()}),
        "within": due_within,
        "expiring_within": expiring_within,
    }
    if sort is not None:
        if client is not None:
            wanted.append("c.name = :client")
        where = f"where {' and '.join(wanted)}" if wanted else ""
        query = f"{GRANTS} {where} order by {SORTS[sort]}, c.name, g.ref, g.created_at limit :limit"
        yield from _stream(connection, query, {**values, "client": client, "limit": limit})
        return
    query = (
        f"{GRANTS} where {' and '.join(['g.client_id = :client_id', *wanted])} order by g.ref, g.created_at limit :left"
    )
    # Client by client, in the order of an index: the first page of a million comes at once instead of after a sort.
    # What is due soon is mostly little: found by its time, and sorted.
    if due_within is None and expiring_within is None and not failing:
        connection.execute(text("set local cursor_tuple_fraction = 0.0001"))
    ids = text("select id from evergrant.clients where cast(:name as text) is null or name = :name order by name")
    for client_id in connection.execute(ids, {"name": client}).scalars().all():
        for row in _stream(connection, query, {**values, "client_id": client_id, "left": limit}):
            limit = None if limit is None else limit - 1
            yield row


def grant(connection: Connection, grant_id: UUID) -> RowMapping:
    """One grant with what hangs on it: open dead letters, former tokens, its revocation."""
    extra = f"""
        (select count(*) from evergrant.former_tokens f where f.grant_id = g.id and f.known_dead_at is null)
            as former_tokens,
        (select array_agg(d.id order by d.id) from evergrant.dead_letters d
            where d.grant_id = g.id and d.resolved_at is null) as dead_letters,
        (select r.id from evergrant.revocations r where r.grant_id = g.id) as revocation,
        (select min(h.id) from evergrant.held_revocations h where h.grant_id = g.id and {IS_STILL_HELD})
            as revocation_held,"""  # noqa: S608  # constants
    query = GRANTS.replace("select g.id,", f"select {extra} g.id,", 1) + " where g.id = :id"
    return connection.execute(text(query), {"id": grant_id}).mappings().one()


def client_by_name(connection: Connection, name: str) -> RowMapping:
    """One client and its valve.

    Raises:
        UnknownClient: there is none of that name.

    """
    for row in clients(connection):
        if row["name"] == name:
            return row
    raise UnknownClient(name, [row["name"] for row in clients(connection)])


def clients(connection: Connection) -> list[RowMapping]:
    """Every client with its valve and the number of its grants that are kept, by name."""
    query = f"""
        select c.id, c.name, c.provider, c.client_id, c.redirect_uri, c.scopes, c.keep, c.rotation, c.drift,
            c.rate_per_minute, c.burst, c.overrides, c.credentials_no, c.created_at, c.updated_at,
            c.return_to, coalesce(c.return_to_urls, array_remove(array[c.return_to], null)) as return_to_urls,
            c.title, c.logo_url, c.colour,
            c.sealed_client_secret is not null as has_secret,
            c.former_secret_at, c.secret_refused_at, c.secret_refused_code, c.revocation_limit,
            (select count(distinct h.grant_id) from evergrant.held_revocations h
                where h.client_id = c.id and {IS_STILL_HELD}) as revocations_held,
            v.paused_by_operator, v.paused_until, v.pause_reason, v.deaths_accepted_at,
            w.remaining, w.remaining_at, case when w.scarce_until > clock_timestamp() then w.scarce_until end
                as scarce_until,
            w.slowed_by, w.slowed_from, w.slowed_code,
            case when exists (
                select from evergrant.grants g
                where g.client_id = c.id and g.status = 'active' and g.suspect_at is not null
            ) then v.deaths_held_at end as deaths_held_at,
            (select count(*) from evergrant.grants g
                where g.client_id = c.id and g.status in ('active', 'paused', 'needs_consent')) as grants
        from evergrant.clients c
        left join evergrant.valves v on v.client_id = c.id
        left join evergrant.witnesses w on w.client_id = c.id
        order by c.name"""  # noqa: S608  # constants
    return list(connection.execute(text(query)).mappings())


COLUMNS_OF_REVOCATIONS = """
    select r.id, r.ref, c.name as client, r.reason, r.status, r.evidence, r.attempts, r.requested_at, r.done_at,
        r.requested_by, r.due_at, r.last_error_code, r.last_error_http_status, r.last_error_at, r.grant_id"""
REVOCATIONS = f"""{COLUMNS_OF_REVOCATIONS}
    from evergrant.revocations r join evergrant.clients c on c.id = r.client_id"""
# And those to be, which a limit holds.
ASKED_FOR = f"""{COLUMNS_OF_REVOCATIONS}
    from (
        select r.id, r.client_id, r.grant_id, r.ref, r.reason, r.status, r.evidence, r.attempts, r.requested_at,
            r.requested_by, r.due_at, r.done_at, r.last_error_code, r.last_error_http_status, r.last_error_at
        from evergrant.revocations r
        union all
        select h.id, h.client_id, h.grant_id, g.ref, h.reason, 'held', null, 0, h.requested_at, h.requested_by, null,
            null, null, null, null
        from evergrant.held_revocations h join evergrant.grants g on g.id = h.grant_id
        where {IS_STILL_HELD}
    ) r join evergrant.clients c on c.id = r.client_id"""  # noqa: S608  # constants


def revocations(
    connection: Connection, *, client: str | None = None, status: str | None = None
) -> Iterator[RowMapping]:
    """Stream the revocations, oldest first, with those that are held."""
    where = """
        where (cast(:client as text) is null or c.name = :client)
          and (cast(:status as text) is null or r.status = :status)
        order by r.id"""
    return _stream(connection, ASKED_FOR + where, {"client": client, "status": status})


def revocation(connection: Connection, revocation_id: int) -> RowMapping | None:
    """One revocation, or one that is held."""
    found = connection.execute(text(ASKED_FOR + " where r.id = :id"), {"id": revocation_id})
    return found.mappings().one_or_none()


def revocations_of(connection: Connection, grant_ids: Collection[UUID]) -> Sequence[RowMapping]:
    """The revocations of these grants."""
    found = connection.execute(text(REVOCATIONS + " where r.grant_id = any(:ids)"), {"ids": list(grant_ids)})
    return found.mappings().all()


DEAD_LETTERS = f"""
    select d.id, d.kind, d.ref, c.name as client, d.cause, d.detail, d.attempts, d.first_failed_at, d.dead_at,
        d.resolved_at, d.resolution, d.resolved_by, d.rule, d.generation, d.grant_id, d.revocation_id,
        d.looks, d.look_at,
        g.status as grant_status, {IS_ASKED_BY_LINK} as asked_by_link
    from evergrant.dead_letters d
    join evergrant.clients c on c.id = d.client_id
    join evergrant.grants g on g.id = d.grant_id"""  # noqa: S608  # a constant


def dead_letters(
    connection: Connection, *, client: str | None = None, cause: str | None = None, resolved: bool = False
) -> Iterator[RowMapping]:
    """Stream the open dead letters, oldest first; with `resolved` the closed ones as well."""
    where = """
        where (cast(:client as text) is null or c.name = :client)
          and (cast(:cause as text) is null or d.cause = :cause)
          and (:resolved or d.resolved_at is null)
        order by d.id"""
    return _stream(connection, DEAD_LETTERS + where, {"client": client, "cause": cause, "resolved": resolved})


def dead_letter(connection: Connection, letter_id: int) -> RowMapping | None:
    """One dead letter."""
    found = connection.execute(text(DEAD_LETTERS + " where d.id = :id"), {"id": letter_id})
    return found.mappings().one_or_none()


def journals(connection: Connection) -> list[RowMapping]:
    """Every journal of the register, and how many grants in doubt wait for it."""
    query = f"""
        select j.id, j.host, j.process, j.opened_at, j.seen_at, j.drained_at, j.abandoned_at, j.abandoned_by,
            j.damaged_at, j.damage,
            (select count(*) from evergrant.grants g
                where {WAITS_FOR_IT}) as grants_waiting
        from evergrant.journals j order by j.id"""  # noqa: S608  # constants
    return list(connection.execute(text(query)).mappings())


def _stream(connection: Connection, query: str, wanted: Mapping[str, Any]) -> Iterator[RowMapping]:
    found = connection.execute(text(query), wanted, execution_options={"yield_per": PAGE})
    return iter(found.mappings())
