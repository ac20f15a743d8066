"""`evergrant clients generate-key`: make a private key of ours, and show the public half to register."""

import json
import os
from pathlib import Path

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import json_option

# Of tasks/oauth/client_key.py, whose import would cost every completion the time of cryptography; a test compares.
ALGORITHMS = ("ES256", "RS256", "EdDSA")


@click.command(
    "generate-key",
    cls=Command,
    example="""
    evergrant clients generate-key --out bank.key > bank.jwks.json
    evergrant clients set-secret bank --private-key-file bank.key
    """,
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to make, mode 0600.")
@click.option(
    "--algorithm", type=click.Choice(ALGORITHMS), default="ES256", show_default=True, help="It signs as that."
)
@json_option
def generate_key(out: Path, algorithm: str, *, as_json: bool) -> None:
    """Make a private key in a file that only you can read, and print the public JWK set to register at the provider."""
    from tasks.oauth import client_key

    made = client_key.made(algorithm)
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise misuse(
            code="file_exists", message=f"{out} exists already", next_step="name another file, or use the key in it"
        ) from None
    with os.fdopen(handle, "w") as file:
        file.write(made.pem)
    jwks = {"keys": [made.public_jwk]}
    record = {"file": str(out), "key_id": made.key_id, "algorithm": algorithm, "jwks": jwks}
    output.done(record, json.dumps(jwks, indent=2), as_json=as_json)
