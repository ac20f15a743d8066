"""The key rings of a command: held by this machine, needed for what it does, missing for what is stored."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from worker.cli.failures import Failure
from worker.cli.session import prepared

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.sealing.key_use import Missing
    from models.sealing.keys import KeyRing
    from models.sealing.vault import Vault

SEALS = {"refresh": "refresh tokens and client secrets", "access": "access tokens"}


def vault() -> "Vault":
    """The key rings of this process.

    Raises:
        KeysError: a ring cannot be used.

    """
    from models.sealing.vault import Vault
    from worker import core_dumps

    core_dumps.forbid()
    return Vault.from_settings(prepared())


def missing_keys(
    connection: "Connection", look: "Callable[[Connection, Vault], list[Missing]]"
) -> list[tuple[str, str]]:
    """What the rings of this machine cannot open, by a look of models/sealing/key_use.py; each with its remedy."""
    from models.sealing.vault import KeysError

    try:
        return [(each.what, each.remedy) for each in look(connection, vault())]
    except KeysError as error:
        return [(str(error), "mend that key ring")]


def keys_needed(vault: "Vault", *rings: str) -> "Vault":
    """Return the vault where it holds every ring named.

    Raises:
        Failure: a ring is absent.

    """
    for ring in rings:
        if getattr(vault, ring) is None:
            variable = f"EVERGRANT_{ring.upper()}_TOKEN_KEYS"
            raise Failure(
                code="keys",
                message=f"This command needs the {ring} key ring",
                next_step=f"set {variable}_FILE, or make one with `evergrant keys generate --ring {ring}`",
            )
    return vault


def rings_of(vault: "Vault") -> "dict[str, KeyRing]":
    """The rings that are held here, by name."""
    return {name: ring for name, ring in (("refresh", vault.refresh), ("access", vault.access)) if ring is not None}
