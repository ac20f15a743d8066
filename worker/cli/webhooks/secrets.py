"""The secret that a webhook's letters are signed with, from a file."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli.arguments import read_secret
from worker.cli.failures import misuse

if TYPE_CHECKING:
    from models.sealing.vault import Vault

secret_file_option = click.option(
    "--secret-file",
    metavar="FILE",
    required=True,
    help="Holds the secret that its receiver knows, whsec_…; - for standard input.",
)


def secret_in(path: str) -> str:
    """The secret of a file.

    Raises:
        Failure: it holds none.

    """
    from tasks.telling.signature import BadSecret, key_of

    secret = read_secret(path, what="webhook secret")
    try:
        key_of(secret)
    except BadSecret as error:
        name = "standard input" if path == "-" else path
        raise misuse(
            code="webhook_secret",
            message=f"The webhook secret in {name} cannot be used: {error}",
            next_step="write whsec_ and the base64 of 24 to 64 random bytes: "
            "`echo whsec_$(head -c 32 /dev/urandom | base64) > webhook.secret`",
        ) from None
    return secret


def sealed(vault: "Vault", secret: str, webhook_id: int) -> bytes:
    """A secret as it is stored."""
    place: dict[str, Any] = {"table": "webhooks", "row_id": webhook_id, "purpose": "secret"}
    return vault.seal(secret, **place)
