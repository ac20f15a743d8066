"""`evergrant keys`: the two key rings that seal every token."""

import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from models.sealing import key_use
from models.sealing.keys import VARIABLES, KeyRing
from models.sealing.reseal import PLACES, batch
from models.sealing.vault import Vault
from worker.cli import keyrings, output, session
from worker.cli.arguments import confirm, timeout_option, yes_option
from worker.cli.commands import Command
from worker.cli.failures import Failure, misuse
from worker.cli.grant_work import ran_out
from worker.cli.key_retirement import file_of, remark, ring_of
from worker.cli.output import Column, json_option
from worker.cli.waiting import wait_until

COLUMNS = [
    Column("ring"),
    Column("id"),
    Column("held", spare=2),
    Column("active"),
    Column("values", number=True),
    Column("seals", spare=1),
]
SEALS = {"refresh": "refresh tokens and client secrets", "access": "access tokens"}


@click.group()
def keys() -> None:
    """The key rings that seal every token."""


@keys.command(
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


@keys.command("list", cls=Command, example="evergrant keys list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the keys that this machine holds or that sealed values need; the active one of a ring seals, all open.

    VALUES is how many sealed values in the database need the key. One with none may be retired.
    """
    vault = keyrings.vault()
    with session.reading() as connection:
        needed = key_use.counts(connection)
    records = [record for name, ring in rings_of(vault).items() for record in _records(name, ring, needed)]
    output.rows(records, COLUMNS, as_json=as_json, nothing="No key ring is set here; make one with `keys generate`.")


def rings_of(vault: Vault) -> dict[str, KeyRing]:
    """The rings that are held here, by name."""
    return {name: ring for name, ring in (("refresh", vault.refresh), ("access", vault.access)) if ring is not None}


def _records(name: str, ring: KeyRing, needed: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    lacking = sorted(key_id for of, key_id in needed if of == name and ring.get(key_id) is None)
    return [
        {
            "ring": name,
            "id": each,
            "held": each not in lacking,
            "active": each == ring.active.key_id,
            "values": needed.get((name, each), 0),
            "seals": SEALS[name],
        }
        for each in [*ring.ids, *lacking]
    ]


@keys.command(cls=Command, example="evergrant keys reseal --wait")
@click.option("--wait", is_flag=True, help="Go on until nothing needs another key, while workers are restarted.")
@timeout_option("60s")
@json_option
def reseal(*, wait: bool, timeout: timedelta, as_json: bool) -> None:
    """Seal what older keys have sealed anew, with the active key of each ring; refreshes go on meanwhile.

    It may be stopped and begun again at any time. Begin when every process has the new ring: one that has not seals
    with the old key again.
    """
    vault = keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    sealed = _seal_anew(vault)

    def nothing_left() -> bool:
        nonlocal sealed
        sealed += _seal_anew(vault)
        return not _left(vault)

    if wait and _left(vault) and not wait_until(nothing_left, timeout=timeout):
        raise ran_out(timeout, "the values that need another key", "evergrant keys list")
    left = _left(vault)
    told = f"Sealed {sealed} anew."
    if left:
        told += f" {sum(left.values())} need another key still: see `evergrant keys list`, then run it again."
    record = {"sealed": sealed, "left": [{"ring": of, "id": each, "values": n} for (of, each), n in left.items()]}
    output.done(record, told, as_json=as_json)


def _seal_anew(vault: Vault) -> int:
    sealed = 0
    for place in PLACES:
        after: object = None
        while True:
            with session.transaction() as connection:
                found = batch(connection, vault, place, after=after)
            sealed += found.sealed
            if (after := found.last) is None:
                break
    return sealed


def _left(vault: Vault) -> dict[tuple[str, str], int]:
    """What needs another key than the active one of its ring."""
    rings = rings_of(vault)
    with session.reading() as connection:
        return {
            (of, key_id): n
            for (of, key_id), n in key_use.counts(connection).items()
            if of in rings and key_id != rings[of].active.key_id
        }


@keys.command(cls=Command, example="evergrant keys retire refresh-20260101-ab12")
@click.argument("id")
@yes_option
@json_option
def retire(id: str, *, yes: bool, as_json: bool) -> None:  # noqa: A002  # the name that users see
    """Take a key that nothing needs any more out of this machine's ring; its line stays in the file as a remark.

    Backups and journals that were sealed with it need it still: to open those, take the remark away again.
    """
    ring = ring_of(id, rings_of(keyrings.vault()))
    with session.reading() as connection:
        needed = key_use.counts(connection).get((ring, id), 0)
    if needed:
        raise Failure(
            code="key_in_use",
            message=f"{needed} sealed {'value needs' if needed == 1 else 'values need'} the key {id}",
            next_step="run `evergrant keys reseal` first",
        )
    path = file_of(ring)
    confirm(f"Retire {id}? Journals and backups of before need it still; its line stays in {path}.", yes=yes)
    remark(path, id)
    told = f"Retired {id}: a remark in {path} now. Do the same on other machines, and restart what uses the ring."
    output.done({"ring": ring, "id": id, "file": str(path)}, told, as_json=as_json)
