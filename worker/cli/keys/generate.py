"""`evergrant keys generate`: make a key ring with one new key, in a file that only you can read."""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

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
    """,
)
@click.option("--ring", type=click.Choice(list(SEALS)), required=True, help="What the key will seal.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to make, mode 0600.")
@json_option
def generate(ring: str, out: Path, *, as_json: bool) -> None:
    """Make a key ring with one new key, in a file that only you can read; it must not exist yet."""
    from models.sealing.keys import VARIABLES, KeyRing

    key_id = f"{ring}-{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(2)}"
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise misuse(
            code="file_exists",
            message=f"{out} exists already, and its keys may seal tokens",
            next_step="name another file; to rotate, put the new line above the old ones",
        ) from None
    with os.fdopen(handle, "w") as file:
        file.write(KeyRing.generate_line(key_id) + "\n")
    record = {"ring": ring, "id": key_id, "file": str(out)}
    told = f"Made {key_id} in {out}. Back it up: without it no token opens. Set {VARIABLES[ring]}_FILE to it."
    output.done(record, told, as_json=as_json)
