"""`evergrant keys list`: list the keys that sealed values need, and who holds each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from worker.cli import keyrings, output, session
from worker.cli.commands import Command
from worker.cli.keyrings import SEALS, rings_of, rings_of_process
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from models.sealing.keys import KeyRing

COLUMNS = [
    Column("ring"),
    Column("id"),
    Column("held", "held here", spare=2),
    Column("processes"),
    Column("active"),
    Column("values", number=True),
    Column("seals", spare=1),
]


@click.command("list", cls=Command, changes=False, example="evergrant keys list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the keys that this machine holds or that sealed values need; the active one of a ring seals, all open.

    HELD HERE is said of the environment of this command alone, PROCESSES of those that run and need the ring: how many
    of them hold the key (with --json `held_by` and `lacked_by` name them). VALUES is how many sealed values in the
    database need the key. One with none may be retired.
    """
    from models.sealing import key_use
    from models.views import fleet

    rings = rings_of(keyrings.vault())
    with session.reading() as connection:
        needed = key_use.counts(connection)
        processes = [row for row in fleet.processes(connection) if row["alive"]]
    records = [record for name in SEALS for record in _records(name, rings.get(name), needed, processes)]
    nothing = "No key ring is set here, and nothing is sealed yet; make one with `keys generate`."
    output.rows(records, COLUMNS, as_json=as_json, nothing=nothing)
    for each in [] if as_json else records:
        if each["values"] and each["lacked_by"]:
            click.echo(_step(each), err=True)


def _records(
    name: str,
    ring: "KeyRing | None",
    needed: dict[tuple[str, str], int],
    processes: "Sequence[RowMapping]",
) -> list[dict[str, Any]]:
    held = [] if ring is None else list(ring.ids)
    lacking = sorted(key_id for of, key_id in needed if of == name and key_id not in held)
    told = [(_name(row), ids) for row in processes if (ids := rings_of_process(row)[name]) is not None]
    return [
        {
            "ring": name,
            "id": each,
            "held": each in held,
            "active": ring is not None and each == ring.active.key_id,
            "values": needed.get((name, each), 0),
            "seals": SEALS[name],
            "processes": _share(each, [ids for _, ids in told]),
            "held_by": [process for process, ids in told if each in ids],
            "lacked_by": [process for process, ids in told if each not in ids],
        }
        for each in [*held, *lacking]
    ]


def _name(row: "RowMapping") -> str:
    return f"{row['kind']} {row['pid']} on {row['host']}"


def _share(key_id: str, rings: Sequence[Sequence[str]]) -> str:
    """How many of those who need the ring hold a key, as far as they say: `2 of 3`."""
    return f"{sum(key_id in ids for ids in rings)} of {len(rings)}"


def _step(record: dict[str, Any]) -> str:
    """What to do where a process lacks a key that it needs."""
    from models.sealing.keys import VARIABLES
    from tasks.policy.explanation.cause import listed

    who = listed(record["lacked_by"])
    lack = "lacks" if len(record["lacked_by"]) == 1 else "lack"
    return (
        f"{who} {lack} {record['id']}: put its line into {VARIABLES[record['ring']]}, or the file of that, in their own"
        " environment, and start them again. A new key opens nothing that is sealed already."
    )
