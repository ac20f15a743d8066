"""`evergrant db roles`: least privilege for every process and application."""

from typing import TYPE_CHECKING

import click

from worker.cli import output, session
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import json_option

if TYPE_CHECKING:
    from models.application_role import OwnRole

MAY = (
    "read",
    "refresh",
    "revoke",
    "connect",
)  # of models/application_role.py, whose import would need the database's library; a test compares


class Rights(click.ParamType[tuple[str, ...], str]):
    """`read,refresh`: some of what an application may."""

    name = "rights"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        given = {each.strip() for each in str(value).split(",")}
        if not given <= {*MAY}:
            self.fail(f"{value!r} is not some of {','.join(MAY)}", param, ctx)
        return tuple(each for each in MAY if each in given)


@click.command(
    cls=Command,
    example="""
    evergrant db roles --apply
    evergrant db roles | psql "$OWNER_DSN"
    evergrant db roles --application billing --client temple --may read,refresh --login billing --apply
    """,
)
@click.option("--application", metavar="NAME", help="Make the role of one application instead: evergrant_app_NAME.")
@click.option("--client", "clients", multiple=True, metavar="NAME", help="Whose grants it may have; may be repeated.")
@click.option("--may", type=Rights(), metavar="read,refresh,revoke", help="What it may do with them; else all three.")
@click.option("--login", metavar="ROLE", help="Grant it to this login, with time-outs and a limit of connections.")
@click.option("--apply", is_flag=True, help="Carry it out, instead of printing it.")
@json_option
def roles(
    *,
    application: str | None,
    clients: tuple[str, ...],
    may: tuple[str, ...] | None,
    login: str | None,
    apply: bool,
    as_json: bool,
) -> None:
    """Print, or apply, the SQL that makes the five roles and gives each no more than it needs.

    With --application, that of a role which sees the grants of the named clients alone, in the view own_access_tokens
    and through the functions. Run it again to change it. The login is made by you, without a password in an argument.
    """
    from models import roles as privileges

    if application is None:
        _refuse_without_application(clients, may, login)
        sql, names = privileges.statements(), list(privileges.ROLES)
        told = f"The roles have what they need, and no more: {', '.join(names)}."
        told += " Grant one to each login: grant ROLE to LOGIN."
    else:
        own = _own_role(application, clients, may or MAY, login)
        sql, names, told = own.statements(), [own.name], _told(own)
    if apply:
        with session.transaction() as connection:
            privileges.carry_out(connection, sql)
    output.done({"roles": names, "applied": apply, "sql": sql}, told if apply else _script(sql), as_json=as_json)


def _refuse_without_application(clients: tuple[str, ...], may: tuple[str, ...] | None, login: str | None) -> None:
    if clients or may or login:
        raise misuse(
            message="--client, --may and --login speak of the role of one application",
            next_step="add --application NAME",
        )


def _own_role(application: str, clients: tuple[str, ...], may: tuple[str, ...], login: str | None) -> "OwnRole":
    from models.application_role import NAME, OwnRole, login_exists
    from models.views import listing

    if not NAME.fullmatch(application):
        raise misuse(
            message=f"{application!r} cannot be part of a role's name",
            next_step="use 1 to 40 of a-z, 0-9 and _, a letter first",
        )
    if not clients:
        raise misuse(
            message="An application's role is for the grants of some clients", next_step="add --client NAME, or several"
        )
    with session.reading() as connection:
        for each in clients:
            listing.client_by_name(connection, each)
        if login is not None and not login_exists(connection, login):
            raise misuse(
                message=f"There is no login {login!r}",
                next_step="make it in psql, `create role NAME login` and then `\\password NAME`, and run this again",
            )
    return OwnRole(application, sorted({*clients}), may, login)


def _script(sql: list[str]) -> str:
    return "\n".join(["begin;", *(f"{statement};" for statement in sql), "commit;"])


def _told(own: "OwnRole") -> str:
    whose = f"{own.name} may {', '.join(own.may)}: grants of {', '.join(own.clients)}, and no other"
    return f"{whose}; {own.login} has it." if own.login else f"{whose}. Grant it to a login: grant {own.name} to LOGIN."
