"""`evergrant apps add`: let an application in, with a key of its own."""

from datetime import timedelta
from pathlib import Path

import click

from models.states.application import Right
from worker.cli import output, session
from worker.cli.apps.key_file import key_file_option, written
from worker.cli.apps.rights import Life, Rights, listed, until
from worker.cli.arguments import NAME
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import json_option


@click.command(
    cls=Command,
    example="evergrant apps add billing --client temple --may read,refresh --expires 90d --key-file billing.key",
)
@click.argument("name")
@click.option(
    "--client",
    "clients",
    metavar="NAME",
    multiple=True,
    help="It sees the grants of this client alone, or of these; default: of every client.",
)
@click.option(
    "--may",
    type=Rights(),
    metavar="RIGHTS",
    help=f"What its key may do, some of {','.join(Right)}; default: all of them.",
)
@click.option("--expires", type=Life(), help="How long its key lives; default: it has no end.")
@key_file_option
@json_option
def add(
    name: str,
    *,
    clients: tuple[str, ...],
    may: tuple[str, ...] | None,
    expires: timedelta | None,
    key_file: Path,
    as_json: bool,
) -> None:
    """Let an application use the token interface; its key is written to a new file and kept here as a hash only."""
    from models import application, application_key
    from models.views import listing

    if NAME.fullmatch(name) is None:
        raise misuse(
            code="application_name",
            message="An application's name is 1 to 63 letters, digits, dots, dashes or underscores",
            next_step="choose such a name",
        )
    settings = session.prepared()
    names, rights = tuple(dict.fromkeys(clients)), may or tuple(map(str, Right))
    key = application_key.new_key()
    with written(key_file, key), session.transaction() as connection:
        ids = [listing.client_by_name(connection, each)["id"] for each in names]
        expires_at = application.add(
            connection, name, client_ids=ids, key=key, who=settings.who, may=rights, expires_in=expires
        )
    record = {
        "name": name,
        "client": ",".join(names) or None,
        "key_file": str(key_file),
        "clients": list(names) or None,
        "may": list(rights),
        "expires_at": expires_at,
    }
    told = f"Added {name}; its key is in {key_file} and nowhere else. It may {listed(rights)}, and {until(expires_at)}."
    if may is None:
        told += " To let it do less, name what it may with --may."
    output.done(record, told, as_json=as_json)
