"""`evergrant db roles`: least privilege for every process and application."""

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.output import json_option


@click.command(
    cls=Command,
    example="""
    evergrant db roles --apply
    evergrant db roles | psql "$OWNER_DSN"
    """,
)
@click.option("--apply", is_flag=True, help="Carry it out, instead of printing it.")
@json_option
def roles(*, apply: bool, as_json: bool) -> None:
    """Print, or apply, the SQL that makes the five roles and gives each no more than it needs."""
    from models import roles as privileges

    sql = privileges.statements()
    if apply:
        with session.transaction() as connection:
            privileges.apply(connection)
    record = {"roles": list(privileges.ROLES), "applied": apply, "sql": sql}
    output.done(record, _done() if apply else _script(sql), as_json=as_json)


def _script(sql: list[str]) -> str:
    return "\n".join(["begin;", *(f"{statement};" for statement in sql), "commit;"])


def _done() -> str:
    from models import roles as privileges

    names = ", ".join(privileges.ROLES)
    return f"The roles have what they need, and no more: {names}. Grant one to each login: grant ROLE to LOGIN."
