"""`evergrant apps list`: list the applications, whose grants each may see, what its key may, and how long."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

COLUMNS = [
    Column("name"),
    Column("client"),
    Column("may"),
    Column("state"),
    Column("expires_at", "expires", spare=1),
    Column("used_at", "used", spare=2),
    Column("created_at", spare=3),
    Column("created_by", spare=4),
]


@click.command("list", cls=Command, changes=False, example="evergrant apps list --json")
@json_option
def list_(*, as_json: bool) -> None:
    """List the applications: whose grants each may see, what its key may do, when that ends and was used last.

    The state is that of its newest key: `opens`, `ends_soon` (within 14 days) or `ended`. When a key was used is known
    to a minute or so. With --json `keys` is how many open something: two while one takes over from the other.
    """
    from models import application

    with session.reading() as connection:
        records = [_record(row) for row in application.listed(connection)]
    shown = records if as_json else [each | {"client": each["client"] or "every client"} for each in records]
    nothing = "No application may use the token interface; let one with `evergrant apps add`."
    output.rows(shown, COLUMNS, as_json=as_json, nothing=nothing)


def _record(row: "RowMapping") -> dict[str, Any]:
    from models.application import FIRST_RIGHTS, in_order

    return {
        "name": row["name"],
        "client": ",".join(row["clients"]) if row["clients"] else None,
        "created_at": row["created_at"],
        "created_by": row["created_by"],
        "clients": row["clients"],
        "may": in_order(FIRST_RIGHTS if row["may"] is None else row["may"]),
        "state": row["state"],
        "expires_at": row["expires_at"],
        "used_at": row["used_at"],
        "keys": row["keys"],
    }
