"""Happenings: what the log of rows and the processes of the crash loop told, each with its instant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.crashes.evidence import ENDED_BY_SIGNAL, HALFWAY
from tests.crashes.fleet import Fleet
from tests.crashes.points import Act
from tests.crashes.processes import FAREWELL, Child
from tests.crashes.trace import Line

Json = dict[str, Any]
Lines = Sequence[tuple[Child, Line]]


@dataclass(order=True)
class Happening:
    """Something that a row or a process says, and when."""

    at: datetime
    number: int
    what: str = field(compare=False)
    of: Json = field(compare=False)


def of_rows(fleet: Fleet) -> Iterator[Happening]:
    """Changes; those of one grant in one transaction are one."""
    of_grants: dict[tuple[str, str], Json] = {}
    for row in fleet.rows("select * from traces.seen order by number"):
        if row["relation"] != "grants":
            yield Happening(row["at"], row["number"], row["relation"], row)
            continue
        key = row["tx"], (row["after"] or row["before"])["id"]
        first = of_grants.setdefault(key, row)
        of_grants[key] = {**row, "before": first["before"]}
    for row in of_grants.values():
        yield Happening(row["at"], row["number"], "grants", row)


class Processes:
    """What processes said; `stored`: marks of token sets that a row has held."""

    def __init__(self, lines: Lines, stored: set[str]) -> None:
        self._lines = lines
        self._stored = stored
        self._numbers: dict[str, int] = {}  # the journal of each process
        self._struck: dict[str, float] = {}
        self._said: set[tuple[str, str]] = set()  # what is written, by process
        for child, line in lines:
            self._look(child, line)

    def _look(self, child: Child, line: Line) -> None:
        if line["what"] == "journal":
            self._numbers[child.name] = line["number"]
        elif line["what"] == "strike" and line["act"] == Act.KILL:
            self._struck[child.name] = line["at"]
        elif line["what"] == "written":
            self._said.add((child.name, line["mark"]))

    def happenings(self) -> Iterator[Happening]:
        """All that is of a grant."""
        for number, (child, line) in enumerate(self._lines):
            what = line["what"]
            if what == "gone" and line["exit_code"] in ENDED_BY_SIGNAL:
                yield self._happening(_killed_at(child, line, self._struck), number, "killed", child, line)
            elif what == "writing" and self._was_cut_off(child, line):
                yield self._happening(line["at"], number, "written", child, line)
            elif what in ("sending", "sent", "written", "marking", "settled"):
                yield self._happening(line["at"], number, what, child, line)
            elif what == "struck" and line["point"] in HALFWAY and line["act"] == Act.FREEZE:
                yield self._happening(line["at"], number, "thawed", child, line)

    def _was_cut_off(self, child: Child, line: Line) -> bool:
        """Whether a process was killed when it had written an answer, before it could say so: it was replayed then."""
        return (child.name, line["mark"]) not in self._said and line["mark"] in self._stored

    def _happening(self, at: float, number: int, what: str, child: Child, line: Line) -> Happening:
        journal = self._numbers.get(child.name, 0)
        return Happening(datetime.fromtimestamp(at, UTC), number, what, {**line, "journal": journal})


def _killed_at(child: Child, gone: Line, struck: dict[str, float]) -> float:
    """The instant of a kill -9, which the process itself cannot tell."""
    if child.name in struck:
        return struck[child.name]
    asked_at: float | None = child.asked_to_end_at
    at: float = gone["at"]
    return at if asked_at is None or at - asked_at > FAREWELL / 2 else asked_at
