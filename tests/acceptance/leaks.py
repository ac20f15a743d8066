"""What a machine holds: memory, descriptors and threads of each part, connections, rows and bytes of tables, files.

Counted once it is warm and once at the end, and told side by side: what only ever grows is a leak, however slow.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.meter import memory_mb
from tests.acceptance.one_machine import OneMachine
from worker.embedded import state

ROOM = {"MB": 40.0, "descriptors": 24.0, "threads": 20.0, "connections": 12.0}
"""How much more of each there may be at the end than when it was warm; tables and files are told, and not judged."""

TABLES = """
    select relname as name, pg_total_relation_size(oid) / 1e6 as megabytes from pg_class
    where relnamespace = 'evergrant'::regnamespace and relkind = 'r' order by 1
"""
CONNECTIONS = "select count(*) as n from pg_stat_activity where backend_type = 'client backend'"

Counted = tuple[str, str, float]  # what holds, what it holds, how much


@dataclass(frozen=True)
class Holdings:
    """What was counted at one time, in the order in which it is told."""

    counted: tuple[Counted, ...]

    def beside(self, before: "Holdings") -> str:
        """A table of both; what is nothing to speak of is left out."""
        then = {(who, what): amount for who, what, amount in before.counted}
        lines = [
            f"{who:<32} {what:<12} {then.get((who, what), 0):>12.1f} {amount:>12.1f}"
            for who, what, amount in self.counted
            if round(max(amount, then.get((who, what), 0)), 1)
        ]
        return "\n".join([f"{'held':<45} {'when warm':>12} {'at the end':>12}", *lines])

    def leaks(self, before: "Holdings") -> list[str]:
        """Name what has grown beyond its room."""
        then = {(who, what): amount for who, what, amount in before.counted}
        return [
            f"{who} holds {amount:.0f} {what}, and held {then[who, what]:.0f}"
            for who, what, amount in self.counted
            if (who, what) in then and amount > then[who, what] + ROOM.get(what, float("inf"))
        ]


def holdings(machine: OneMachine) -> Holdings:
    """Count what a machine holds now."""
    found = state.read(machine.home)
    assert found is not None
    counted: list[Counted] = []
    for name, process in sorted(found.processes.items()):
        if process.pid is not None:
            counted += _of_process(name, process.pid)
    counted.append(("PostgreSQL", "connections", float(machine.rows(CONNECTIONS)[0]["n"])))
    for table in machine.rows(TABLES):
        (row,) = machine.rows(f"select count(*) as n from evergrant.{table['name']}")  # noqa: S608
        counted += [(table["name"], "rows", float(row["n"])), (table["name"], "MB of disk", float(table["megabytes"]))]
    counted.append(("files of journals", "MB of disk", _megabytes(machine.home.path / "journals")))
    return Holdings(tuple(counted))


def _of_process(name: str, pid: int) -> list[Counted]:
    folder = Path(f"/proc/{pid}")
    with suppress(OSError):  # it may have just been killed
        return [
            (name, "MB", memory_mb([pid])),
            (name, "descriptors", float(len(list((folder / "fd").iterdir())))),
            (name, "threads", float(len(list((folder / "task").iterdir())))),
        ]
    return []


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
