"""The key rings of a command: held by this machine, needed for what it does, missing for what is stored."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from models.states.process import ProcessKind
from worker.cli.failures import Failure
from worker.cli.session import prepared

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

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


def missing_keys_of(connection: "Connection", processes: "Sequence[RowMapping]") -> list[list[tuple[str, str]]]:
    """What the rings of each living process cannot open, as far as it says what it holds; each with its remedy."""
    from models.sealing import key_use

    looked: dict[tuple[Any, ...], list[Missing]] = {}
    found: list[list[tuple[str, str]]] = []
    for each in processes:
        rings = rings_of_process(each)
        if not each["alive"] or not any(ids is not None for ids in rings.values()):
            found.append([])
            continue
        key = tuple(None if ids is None else tuple(ids) for ids in rings.values())
        if key not in looked:
            looked[key] = key_use.lacking_now(connection, rings)
        name = f"{each['kind']} {each['pid']} on {each['host']}"
        found.append([lacking.lacked_by(name) for lacking in looked[key]])
    return found


def rings_of_process(row: "RowMapping") -> "dict[str, Sequence[str] | None]":
    """The ids of the rings that a process should hold; None where it needs none, or does not say."""
    return {
        "refresh": row["refresh_key_ids"] if row["kind"] == ProcessKind.WORKER else None,
        "access": row["access_key_ids"] if row["kind"] in (ProcessKind.WORKER, ProcessKind.WEB) else None,
    }


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
                next_step=_how_to_get(ring, f"{variable}_FILE"),
            )
    return vault


def _how_to_get(ring: str, variable: str) -> str:
    """How to come by a ring that is absent: a new one opens nothing that is sealed already, so that is asked first."""
    from sqlalchemy.exc import SQLAlchemyError

    from models.errors import Told
    from models.sealing import key_use
    from worker.cli import session

    new = f"make one with `evergrant keys generate --ring {ring}`"
    try:
        with session.reading() as connection:
            needed = {key_id: count for (of, key_id), count in key_use.counts(connection).items() if of == ring}
    except (SQLAlchemyError, Told):
        return f"set {variable} to the ring that the database's values are sealed with; where there are none, {new}"
    if not needed:
        return f"set {variable}, or {new}"
    keys, sealed = ", ".join(sorted(needed)), sum(needed.values())
    values = "1 value is" if sealed == 1 else f"{sealed} values are"
    return f"set {variable} to the ring that holds {keys}: {values} sealed with it, and a new one opens none of them"


def rings_of(vault: "Vault") -> "dict[str, KeyRing]":
    """The rings that are held here, by name."""
    return {name: ring for name, ring in (("refresh", vault.refresh), ("access", vault.access)) if ring is not None}
