"""Expiring: grants that work today, and whose refresh token or consent ends soon unless somebody does something.

A renewal puts off the end of most refresh tokens, so a grant that is renewed is never told about. Only a consent that
ends whatever is done, and a refresh token that nobody renews.
"""

from sqlalchemy import Connection, RowMapping, text

from models.predicates import (
    CONSENT_ENDS_SOON,
    END_IS_ASKED_FOR,
    IS_NOT_RENEWED,
    MAY_EXPIRE,
    REFRESH_TOKEN_ENDS_SOON,
    ends_soon_at,
)

MOST = 1000  # in one transaction: until its end nothing else is written to these grants

# Once for each end: one that moves is another one. Those left out that somebody has, so that what is told of one grant
# is told in the order in which it was.
EXPIRING = text(f"""
insert into evergrant.events (type, client_id, grant_id, ref, generation, labels, data)
select 'grant.expiring', g.client_id, g.id, g.ref, g.generation, g.labels,
    jsonb_build_object('what', near.what, 'at', near.ends_at)
from evergrant.grants g
cross join lateral (
    select 'consent' as what, g.consent_expires_at as ends_at where {CONSENT_ENDS_SOON}
    union all
    select 'refresh_token', g.refresh_expires_at where {REFRESH_TOKEN_ENDS_SOON}
) near
where {MAY_EXPIRE} and (g.consent_expires_at is not null or g.refresh_expires_at is not null)
    and not {END_IS_ASKED_FOR}
    and not exists (
        select from evergrant.events e
        where e.grant_id = g.id and e.type = 'grant.expiring' and e.data ->> 'what' = near.what
            and (e.data ->> 'at')::timestamptz = near.ends_at
        offset 0  -- asked of the few that come near, by index: by its guess the planner would read all events
    )
limit :most
for no key update of g skip locked
""")  # noqa: S608  # constants

# The first that ends, by name.
FIRST = text(f"""
select n.ref, n.client, case when n.ends_at = n.consent_expires_at then 'consent' else 'refresh_token' end as what,
    n.ends_at as at
from (
    select g.ref, c.name as client, g.consent_expires_at, {ends_soon_at(not_renewed=IS_NOT_RENEWED)} as ends_at
    from evergrant.grants g join evergrant.clients c on c.id = g.client_id
    where {MAY_EXPIRE} and (g.consent_expires_at is not null or g.refresh_expires_at is not null)
        and not {END_IS_ASKED_FOR}
) n
where n.ends_at is not null
order by n.ends_at, n.client, n.ref
limit 1
""")  # noqa: S608  # constants


def first(connection: Connection) -> RowMapping | None:
    """The grant that ends first of those that end soon: its ref and client, what of it ends, and when."""
    return connection.execute(FIRST).mappings().one_or_none()


def tell_expiring(connection: Connection) -> bool:
    """Tell of grants whose refresh token or consent ends soon, once for each end; whether there may be more."""
    return connection.execute(EXPIRING, {"most": MOST}).rowcount >= MOST
