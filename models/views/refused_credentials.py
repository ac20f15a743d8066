"""Refused credentials: told of a client with one secret, too, and where it has too few grants for its valve to shut."""

from sqlalchemy import Connection, text

REFUSED = "invalid_client"  # RFC 6749 §5.2
CONFIRMED = 2  # refusals, of one grant or of several

# Once for each of its secrets, and again where one is refused that had succeeded since.
TELL = text("""
insert into evergrant.events (type, client_id, reason, data)
select 'client.secret_refused', c.id, :code,
    jsonb_build_object('grants', refused.grants, 'credentials_no', c.credentials_no)
from evergrant.clients c
join evergrant.valves v on v.client_id = c.id
cross join lateral (
    select count(*) as grants, sum(g.failures) as times, max(g.last_error_at) as at
    from evergrant.grants g
    where g.client_id = c.id and g.status = 'active' and g.failures > 0 and g.last_error_code = :code
) refused
where refused.times >= :confirmed and refused.at > coalesce(v.last_success_at, '-infinity')
    and not exists (
        select from evergrant.events e
        where e.grant_id is null and e.client_id = c.id and e.type = 'client.secret_refused'
            and (e.data ->> 'credentials_no')::bigint = c.credentials_no
            and e.occurred_at > coalesce(v.last_success_at, '-infinity')
    )
for no key update of v skip locked
""")


def tell_refused(connection: Connection) -> None:
    """Tell of clients whose secret was refused twice, with no success of theirs since."""
    connection.execute(TELL, {"code": REFUSED, "confirmed": CONFIRMED})
