"""Confirmations of a client, as far as anybody must know: that they fail, since when and why, and that they do no more.

They are no state of a grant: what fails is made up for by the next one. But it takes slots, and former refresh tokens
live on meanwhile, so it is written down as an event when it begins and when it ends.
"""

from sqlalchemy import Connection, RowMapping, text

from models.states.event import EventType

# The last word on it of a client, `e`; a client that was changed since may have another address.
LAST_WORD = """
    select e.type, e.reason, e.occurred_at from evergrant.events e
    where e.grant_id is null and e.client_id = c.id and e.type in ('client.unconfirmed', 'client.confirmed')
        and e.occurred_at > c.updated_at
    order by e.id desc limit 1"""

TELL = text(f"""
insert into evergrant.events (type, client_id, reason)
select :type, c.id, cast(:reason as text)
from evergrant.clients c
left join lateral ({LAST_WORD}) last on true
where c.id = :client_id
    and (coalesce(last.type, 'client.confirmed') <> :type or last.reason is distinct from :reason)
    and not (last.type is null and :type = 'client.confirmed')
""")  # noqa: S608  # constants

FAILING = text(f"""
select c.name as client, last.reason as code, last.occurred_at as since
from evergrant.clients c cross join lateral ({LAST_WORD}) last
where last.type = 'client.unconfirmed'
order by c.name
""")  # noqa: S608  # constants


def tell_failing(connection: Connection, client_id: int, *, code: str) -> None:
    """Note that confirmations of a client tell nothing, and why, unless that is the last that was noted."""
    connection.execute(TELL, {"client_id": client_id, "type": EventType.CLIENT_UNCONFIRMED, "reason": code})


def tell_answered(connection: Connection, client_id: int) -> None:
    """Note that they are answered again, where it was noted that they are not."""
    connection.execute(TELL, {"client_id": client_id, "type": EventType.CLIENT_CONFIRMED, "reason": None})


def failing(connection: Connection) -> list[RowMapping]:
    """The clients whose confirmations tell nothing, since when and why."""
    return list(connection.execute(FAILING).mappings())
