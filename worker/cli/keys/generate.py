"""`evergrant keys generate`: make a key ring with one new key, in a file that only you can read."""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.keyrings import SEALS
from worker.cli.output import json_option


@click.command(
    cls=Command,
    example="""
    evergrant keys generate --ring refresh --out refresh.keys
    export EVERGRANT_REFRESH_TOKEN_KEYS_FILE=$PWD/refresh.keys
    evergrant keys generate --ring refresh --out - | age -r "$RECIPIENT" -o refresh.keys.age
    """,
)
@click.option("--ring", type=click.Choice(list(SEALS)), required=True, help="What the key will seal.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    required=True,
    metavar="FILE",
    help="The file to make, mode 0600; - writes to standard output, into a pipe.",
)
@json_option
def generate(ring: str, out: Path, *, as_json: bool) -> None:
    """Make a key ring with one new key, in a file that only you can read; it must not exist yet."""
    from models.sealing.keys import VARIABLES, KeyRing

    key_id = f"{ring}-{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(2)}"
    with _made(out) as file:
        file.write(KeyRing.generate_line(key_id) + "\n")
    record = {"ring": ring, "id": key_id, "file": str(out)}
    where = "in the pipe" if out == output.PIPE else f"in {out}"
    told = f"Made {key_id} {where}. Back it up: without it no token opens."
    if out != output.PIPE:
        told += f" Set {VARIABLES[ring]}_FILE to it."
    output.done(record, told, as_json=as_json, err=out == output.PIPE)


def _made(out: Path) -> IO[str]:
    if out == output.PIPE:
        return output.pipe("w", what="A key is", example="age -r RECIPIENT -o FILE")
    try:
        return os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except FileExistsError:
        raise misuse(
            code="file_exists",
            message=f"{out} exists already, and its keys may seal tokens",
            next_step="name another file; to rotate, put the new line above the old ones",
        ) from None
