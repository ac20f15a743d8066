"""`evergrant apps add`: let an application in, with a key of its own."""

import os
from pathlib import Path
from typing import IO

import click

from worker.cli import output, session
from worker.cli.arguments import NAME
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import json_option


@click.command(cls=Command, example="evergrant apps add billing --client temple --key-file billing.key")
@click.argument("name")
@click.option("--client", metavar="NAME", help="It sees the grants of this client alone; default: of every client.")
@click.option(
    "--key-file", type=click.Path(path_type=Path), required=True, help="The file to make for its key, mode 0600."
)
@json_option
def add(name: str, *, client: str | None, key_file: Path, as_json: bool) -> None:
    """Let an application use the token interface; its key is written to a new file and kept here as a hash only."""
    from models import application
    from models.views import listing

    if NAME.fullmatch(name) is None:
        raise misuse(
            code="application_name",
            message="An application's name is 1 to 63 letters, digits, dots, dashes or underscores",
            next_step="choose such a name",
        )
    settings = session.prepared()
    key = application.new_key()
    with _new_file(key_file) as file:
        try:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
            with session.transaction() as connection:
                client_id = None if client is None else listing.client_by_name(connection, client)["id"]
                application.add(connection, name, client_id=client_id, key=key, who=settings.who)
        except BaseException:
            key_file.unlink()
            raise
    record = {"name": name, "client": client, "key_file": str(key_file)}
    output.done(record, f"Added {name}; its key is in {key_file} and nowhere else.", as_json=as_json)


def _new_file(path: Path) -> IO[str]:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except FileExistsError:
        raise misuse(
            code="file_exists", message=f"{path} exists already", next_step="name a file that does not exist yet"
        ) from None
