"""`evergrant apps list`: list the applications and whose grants each may see."""

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

COLUMNS = [Column("name"), Column("client"), Column("created_at", spare=1), Column("created_by", spare=2)]


@click.command("list", cls=Command, changes=False, example="evergrant apps list --json")
@json_option
def list_(*, as_json: bool) -> None:
    """List the applications and whose grants each may see."""
    from models import application

    fields = [column.field for column in COLUMNS]
    with session.reading() as connection:
        records = [{field: row[field] for field in fields} for row in application.listed(connection)]
    shown = records if as_json else [each | {"client": each["client"] or "every client"} for each in records]
    nothing = "No application may use the token interface; let one with `evergrant apps add`."
    output.rows(shown, COLUMNS, as_json=as_json, nothing=nothing)
