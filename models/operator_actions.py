"""Operator actions: clients and their pauses, grants' pauses and labels, revocations and refresh requests.

Each statement writes its event, with the actor, in the same transaction. Work itself is beat's: nothing here
writes `due_at`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from models import credentials, event
from models.errors import ClientExists
from models.predicates import END_IS_ASKED_FOR, REFRESH_IS_REQUESTED, of
from models.states.client import Keep
from models.states.event import EventType
from models.states.grant import GrantStatus


@dataclass(frozen=True)
class Registration:
    """A client as it is stored: what was said, and what statements need resolved from it."""

    provider: str
    overrides: Mapping[str, Any]
    client_id: str
    redirect_uri: str | None
    scopes: Sequence[str]
    return_to: str | None
    keep: str
    rotation: str
    rate_per_minute: float | None
    burst: int
    attempt_lease: timedelta
    grace: timedelta | None
    grant_interval: timedelta | None = None
    after_grace: str | None = None
    clears_drift: bool = False  # its rotation was said anew
    revocation_limit: int | None = None  # None: 100, or a tenth of its grants
    return_to_urls: Sequence[str] = ()
    title: str | None = None  # None: its name
    logo_url: str | None = None
    colour: str | None = None

    def row(self) -> dict[str, Any]:
        """The columns."""
        lists = {"scopes": list(self.scopes), "return_to_urls": list(self.return_to_urls)}
        return {**vars(self), "overrides": json.dumps(dict(self.overrides)), **lists}


INSERT_CLIENT = """
    insert into evergrant.clients (name, provider, overrides, client_id, redirect_uri, scopes, return_to, keep,
        rotation, rate_per_minute, burst, attempt_lease, grace, after_grace, grant_interval, revocation_limit,
        return_to_urls, title, logo_url, colour)
    values (:name, :provider, cast(:overrides as jsonb), :client_id, :redirect_uri, :scopes, :return_to, :keep,
        :rotation, :rate_per_minute, :burst, :attempt_lease, :grace, :after_grace, :grant_interval,
        :revocation_limit, :return_to_urls, :title, :logo_url, :colour)
    on conflict (name) do nothing returning id"""

# New credentials are proven by their first success: until then a refused token proves nothing about a grant. A secret
# that is kept beside the present one is another id's.
UPDATE_CLIENT = """
    update evergrant.clients set overrides = cast(:overrides as jsonb), redirect_uri = :redirect_uri,
        scopes = :scopes, return_to = :return_to, keep = :keep, rotation = :rotation,
        rate_per_minute = :rate_per_minute, burst = :burst, attempt_lease = :attempt_lease, grace = :grace,
        grant_interval = :grant_interval, after_grace = :after_grace, revocation_limit = :revocation_limit,
        return_to_urls = :return_to_urls, title = :title, logo_url = :logo_url, colour = :colour,
        drift = case when :clears_drift then null else drift end,
        drift_watch = case when :clears_drift then null else drift_watch end,
        credentials_no = credentials_no + (client_id <> :client_id)::int,
        sealed_former_secret = case when client_id = :client_id then sealed_former_secret end,
        former_secret_at = case when client_id = :client_id then former_secret_at end,
        secret_refused_at = case when client_id = :client_id then secret_refused_at end,
        secret_refused_code = case when client_id = :client_id then secret_refused_code end,
        client_id = :client_id, updated_at = clock_timestamp()
    where id = :id"""


# Whoever mends a client wants to see at once whether it is well: its canary need not wait for the back-off.
CANARY_NOW = text("""
update evergrant.valves set paused_until = least(paused_until, clock_timestamp()), pause_seconds = 0
where client_id = :id and paused_until is not null
""")


def add_client(connection: Connection, name: str, registration: Registration, *, who: str) -> int:
    """Store a client and its open valve; its secret follows, sealed for the id that this returns.

    Raises:
        ClientExists: the name is taken.

    """
    made = connection.execute(text(INSERT_CLIENT), {"name": name, **registration.row()}).scalar()
    if made is None:
        raise ClientExists(name)
    connection.execute(text("insert into evergrant.valves (client_id) values (:id)"), {"id": made})
    event.of_client(connection, made, EventType.CLIENT_ADDED, actor=who)
    return int(made)


def set_client(connection: Connection, client_id: int, registration: Registration, *, who: str) -> None:
    """Replace everything about a client but its name, provider and secret."""
    connection.execute(text(UPDATE_CLIENT), {"id": client_id, **registration.row()})
    connection.execute(CANARY_NOW, {"id": client_id})
    if registration.keep == Keep.WARM:
        connection.execute(WAKE, {"client_id": client_id, "grant_id": None, "who": who})
    event.of_client(connection, client_id, EventType.CLIENT_CHANGED, actor=who)


# Whoever slept is due in days: kept warm from now on, it is refreshed at once, and then in time by itself.
WAKE = text(f"""
insert into evergrant.refresh_requests (client_id, grant_id, generation, requested_by)
select g.client_id, g.id, g.generation, :who
from evergrant.grants g
join evergrant.clients c on c.id = g.client_id
where g.client_id = :client_id and (cast(:grant_id as uuid) is null or g.id = :grant_id)
    and g.status in ('active', 'paused') and coalesce(g.keep, c.keep) = 'warm' and g.due_at > g.access_expires_at
    and g.claimed_at is null and g.started_at is null and g.failures = 0
    and not {REFRESH_IS_REQUESTED}
""")  # noqa: S608  # constants


def set_client_secret(
    connection: Connection, client_id: int, sealed: bytes, *, who: str, at_once: bool = False
) -> bool:
    """Store a sealed client secret; from now on the credentials count as new.

    Returns whether the one before is kept until this one is proven; `at_once`: it is not.
    """
    kept = credentials.set_secret(connection, client_id, sealed, at_once=at_once)
    canary_now(connection, client_id)
    event.of_client(connection, client_id, EventType.CLIENT_SECRET_CHANGED, actor=who)
    return kept


def canary_now(connection: Connection, client_id: int) -> None:
    """Let the canary of a shut valve leave at once."""
    connection.execute(CANARY_NOW, {"id": client_id})


def pause_client(connection: Connection, client_id: int, *, who: str) -> None:
    """Stop everything that is sent for a client, revocations excepted."""
    query = "update evergrant.valves set paused_by_operator = true where client_id = :id"
    connection.execute(text(query), {"id": client_id})
    event.of_client(connection, client_id, EventType.CLIENT_PAUSED, actor=who)


def resume_client(connection: Connection, client_id: int, *, who: str) -> None:
    """Lift the operator's pause; a valve that shut by itself opens by its canary only."""
    query = "update evergrant.valves set paused_by_operator = false where client_id = :id"
    connection.execute(text(query), {"id": client_id})
    event.of_client(connection, client_id, EventType.CLIENT_RESUMED, actor=who)
    _wake(connection)


def is_paused(connection: Connection, client_id: int) -> bool:
    """Whether an operator has paused the client."""
    query = "select paused_by_operator from evergrant.valves where client_id = :id"
    return bool(connection.execute(text(query), {"id": client_id}).scalar())


def accept_deaths(connection: Connection, client_id: int, *, who: str) -> bool:
    """Let held verdicts through; False where none was held."""
    query = """
        update evergrant.valves set deaths_accepted_at = clock_timestamp(), deaths_held_at = null
        where client_id = :id and deaths_held_at is not null returning client_id"""
    held = connection.execute(text(query), {"id": client_id}).scalar() is not None
    if held:
        event.of_client(connection, client_id, EventType.CLIENT_DEATHS_ACCEPTED, actor=who)
        _wake(connection)
    return held


def pause_grants(connection: Connection, ids: Sequence[UUID], *, who: str) -> set[UUID]:
    """Pause those that are active; returns them."""
    change = {"before": GrantStatus.ACTIVE, "after": GrantStatus.PAUSED}
    return _set_status(connection, ids, **change, kind=EventType.GRANT_PAUSED, who=who)


def resume_grants(connection: Connection, ids: Sequence[UUID], *, who: str) -> set[UUID]:
    """Resume those that are paused, and only those; returns them."""
    change = {"before": GrantStatus.PAUSED, "after": GrantStatus.ACTIVE}
    done = _set_status(connection, ids, **change, kind=EventType.GRANT_RESUMED, who=who)
    _wake(connection)
    return done


def paused_grants(connection: Connection, client_id: int) -> list[UUID]:
    """Every paused grant of a client but those that another home keeps by now."""
    query = """
        select id from evergrant.grants
        where client_id = :id and status = 'paused' and reason is distinct from 'handed_over' order by id"""
    return list(connection.execute(text(query), {"id": client_id}).scalars())


SET_GRANT = text("""
update evergrant.grants set keep = coalesce(:keep, keep), labels = (
    select coalesce(jsonb_object_agg(key, value), '{}')
    from jsonb_each(labels || cast(:labels as jsonb)) where value <> '[]')
where id = :id returning client_id
""")


def set_grant(connection: Connection, grant_id: UUID, *, labels: Mapping[str, Any], keep: str | None, who: str) -> None:
    """Merge labels into a grant's own (an empty list takes one away) and say how it is kept."""
    wanted = {"id": grant_id, "labels": json.dumps(labels), "keep": keep}
    client_id = connection.execute(SET_GRANT, wanted).scalar_one()
    if keep == Keep.WARM:
        connection.execute(WAKE, {"client_id": client_id, "grant_id": grant_id, "who": who})
    event.of_grants(connection, [grant_id], EventType.GRANT_CHANGED, actor=who)


REQUEST_REFRESH = f"""
    with held as (
        select id, client_id, generation, coalesce(
            refreshed_at > clock_timestamp() - least(interval '60 seconds', life / 4), false) as fresh
        from evergrant.grants where id = :id
    ), request as (
        insert into evergrant.refresh_requests (client_id, grant_id, generation, requested_by)
        select client_id, id, generation, :who from held where not fresh and not {of("held", REFRESH_IS_REQUESTED)}
    )
    select case when fresh then generation else generation + 1 end from held"""  # noqa: S608  # constants


def request_refresh(connection: Connection, grant_id: UUID, *, who: str) -> int:
    """Ask for an early refresh; returns the generation to wait for, the present one where it is fresh enough."""
    awaited = connection.execute(text(REQUEST_REFRESH), {"id": grant_id, "who": who}).scalar_one()
    _wake(connection)
    return int(awaited)


REQUEST_REVOCATION = text("""
insert into evergrant.revocations (client_id, grant_id, ref, reason, requested_by)
select client_id, id, ref, :reason, :who from evergrant.grants where id = :id
on conflict do nothing
""")


def request_revocation(connection: Connection, grant_id: UUID, *, reason: str | None, who: str) -> RowMapping:
    """Ask for a grant to be killed; the revocation that was there already stays as it is."""
    connection.execute(REQUEST_REVOCATION, {"id": grant_id, "reason": reason, "who": who})
    _wake(connection)
    found = "select id, status, evidence, ref from evergrant.revocations where grant_id = :id"
    return connection.execute(text(found), {"id": grant_id}).mappings().one()


SET_STATUS = text(f"""
update evergrant.grants g set status = :after, reason = null where g.id = any(:ids) and g.status = :before
    and not {END_IS_ASKED_FOR}
returning g.id
""")  # noqa: S608  # constants


def _set_status(
    connection: Connection, ids: Sequence[UUID], *, before: str, after: str, kind: str, who: str
) -> set[UUID]:
    wanted = {"ids": list(ids), "before": before, "after": after}
    done = set(connection.execute(SET_STATUS, wanted).scalars())
    event.of_grants(connection, sorted(done), kind, actor=who)
    return done


def _wake(connection: Connection) -> None:
    """Tell beat at once; it would see the row by itself within a second."""
    connection.execute(text("notify evergrant_work"))
