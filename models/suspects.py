"""Suspects: what the database knows of one: its witness, and how many share its fate."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The facts around one suspect; `asked` is counted no further than the mass guard needs."""

    witnessed: bool
    suspects: int
    asked: int
    deaths_accepted_at: datetime | None


# A witness is a success of *another* grant, begun after the first refusal and before the attempt that is judged, under
# the credentials that were refused. One begun later says nothing of the time of the refusals: a provider that refused
# everybody for a while may have become well since.
SURROUNDINGS = text("""
select
    exists (
        select from evergrant.grants w
        where w.client_id = :client_id and w.id <> :grant_id and w.refreshed_at > :suspect_at
            and w.refreshed_at <= :started_at and w.refreshed_credentials_no = :credentials_no
    ) as witnessed,
    s.suspects,
    (
        select count(*) from (
            select from evergrant.grants a
            where a.client_id = :client_id and a.status = 'active' and a.asked_at > :at - cast(:life as interval)
            limit 100 * s.suspects + 1
        ) asked
    ) as asked,
    v.deaths_accepted_at
from evergrant.clients c
join evergrant.valves v on v.client_id = c.id
cross join lateral (
    select count(*) as suspects from evergrant.grants g
    where g.client_id = c.id and g.status = 'active' and g.suspect_at is not null
) s
where c.id = :client_id
""")

# News once a day for as long as it lasts, and again when it happens again: to others than those held before.
HOLD = text("""
update evergrant.valves v set deaths_held_at = :at
where client_id = :client_id and (
    deaths_held_at is null or deaths_held_at <= :at - interval '1 day'
    or deaths_held_at < (
        select min(g.suspect_at) from evergrant.grants g
        where g.client_id = v.client_id and g.status = 'active' and g.suspect_at is not null
    )
)
returning client_id
""")


def surroundings(
    connection: Connection,
    *,
    client_id: int,
    grant_id: UUID,
    suspect_at: datetime,
    started_at: datetime,
    at: datetime,
    life: timedelta,
    credentials_no: int,
) -> Surroundings:
    """Read the facts around a suspect.

    `started_at`: of the attempt that is judged; `life` is that of one access token, the credentials those it was sent
    under.
    """
    parameters = {
        "client_id": client_id,
        "grant_id": grant_id,
        "suspect_at": suspect_at,
        "started_at": started_at,
        "at": at,
        "life": life,
        "credentials_no": credentials_no,
    }
    return Surroundings(**connection.execute(SURROUNDINGS, parameters).mappings().one())


def hold_deaths(connection: Connection, client_id: int, *, at: datetime) -> bool:
    """Note that verdicts of this client are held; returns whether that is news."""
    return connection.execute(HOLD, {"client_id": client_id, "at": at}).scalar() is not None
