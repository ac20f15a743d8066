"""`evergrant apps rotate`: give an application another key, and let the one before end a while later."""

from datetime import timedelta
from pathlib import Path

import click

from worker.cli import output, session
from worker.cli.apps.key_file import key_file_option, written
from worker.cli.apps.rights import LONGEST, Life, until
from worker.cli.arguments import Duration
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import json_option
from worker.cli.units import length


@click.command(cls=Command, example="evergrant apps rotate billing --key-file billing-2.key --overlap 24h")
@click.argument("name")
@key_file_option
@click.option(
    "--overlap", type=Duration(), default="24h", show_default=True, help="How long the key before opens as well."
)
@click.option(
    "--expires", type=Life(), help="How long the new key lives; default: as long as the one before was given."
)
@json_option
def rotate(name: str, *, key_file: Path, overlap: timedelta, expires: timedelta | None, as_json: bool) -> None:
    """Give an application another key; what it may stays as it is, and the key before ends after the overlap."""
    from models import application, application_key

    if overlap > LONGEST:
        raise misuse(
            message=f"The overlap is longer than {LONGEST.days} days", next_step="give the key before a sooner end"
        )
    settings = session.prepared()
    key = application_key.new_key()
    with written(key_file, key), session.transaction() as connection:
        expires_at = application.rotate(
            connection, name, key=key, overlap=overlap, expires_in=expires, who=settings.who
        )
    record = {
        "name": name,
        "key_file": str(key_file),
        "expires_at": expires_at,
        "overlap_seconds": overlap.total_seconds(),
    }
    ends = "ends now" if not overlap else f"opens for {length(overlap.total_seconds())} yet"
    told = f"{name} has another key, in {key_file} and nowhere else; {until(expires_at)}. The one before {ends}."
    output.done(record, told, as_json=as_json)
