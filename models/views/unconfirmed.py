"""Unconfirmed: clients whose new access tokens nobody takes note of where they are presented, since when and why."""

from sqlalchemy import Connection, RowMapping, text

from models.predicates import LAST_CONFIRMATION

FAILING = text(f"""
select c.name as client, last.reason as code, last.occurred_at as since
from evergrant.clients c cross join lateral ({LAST_CONFIRMATION}) last
where last.type = 'client.unconfirmed'
order by c.name
""")  # noqa: S608  # constants


def failing(connection: Connection) -> list[RowMapping]:
    """The clients whose confirmations tell nothing, by name."""
    return list(connection.execute(FAILING).mappings())
