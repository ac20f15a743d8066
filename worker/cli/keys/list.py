"""`evergrant keys list`: list the keys that this machine holds or that sealed values need."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import keyrings, output, session
from worker.cli.commands import Command
from worker.cli.keyrings import SEALS, rings_of
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from models.sealing.keys import KeyRing

COLUMNS = [
    Column("ring"),
    Column("id"),
    Column("held", spare=2),
    Column("active"),
    Column("values", number=True),
    Column("seals", spare=1),
]


@click.command("list", cls=Command, changes=False, example="evergrant keys list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the keys that this machine holds or that sealed values need; the active one of a ring seals, all open.

    VALUES is how many sealed values in the database need the key. One with none may be retired.
    """
    from models.sealing import key_use

    vault = keyrings.vault()
    with session.reading() as connection:
        needed = key_use.counts(connection)
    records = [record for name, ring in rings_of(vault).items() for record in _records(name, ring, needed)]
    output.rows(records, COLUMNS, as_json=as_json, nothing="No key ring is set here; make one with `keys generate`.")


def _records(name: str, ring: "KeyRing", needed: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
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
