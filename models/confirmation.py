"""Confirmations of a client, as far as anybody must know: that they fail, since when and why, and that they do no more.

They are no state of a grant: what fails is made up for by the next one. But it takes slots, and former refresh tokens
live on meanwhile, so it is written down as an event when it begins and when it ends.
"""

from sqlalchemy import Connection, text

from models.predicates import LAST_CONFIRMATION
from models.states.event import EventType

TELL = text(f"""
insert into evergrant.events (type, client_id, reason)
select :type, c.id, cast(:reason as text)
from evergrant.clients c
left join lateral ({LAST_CONFIRMATION}) last on true
where c.id = :client_id
    and (coalesce(last.type, 'client.confirmed') <> :type or last.reason is distinct from :reason)
    and not (last.type is null and :type = 'client.confirmed')
""")  # noqa: S608  # constants


def tell_failing(connection: Connection, client_id: int, *, code: str) -> None:
    """Note that confirmations of a client tell nothing, and why, unless that is the last that was noted."""
    connection.execute(TELL, {"client_id": client_id, "type": EventType.CLIENT_UNCONFIRMED, "reason": code})


def tell_answered(connection: Connection, client_id: int) -> None:
    """Note that they are answered again, where it was noted that they are not."""
    connection.execute(TELL, {"client_id": client_id, "type": EventType.CLIENT_CONFIRMED, "reason": None})
