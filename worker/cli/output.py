"""How results are printed: JSON for programs, a table on a terminal, plain aligned text in a pipe.

A record is a mapping of field to value. Every time in it is an aware datetime, printed as ISO 8601 in UTC.
"""

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from pathlib import Path
from shutil import get_terminal_size
from typing import IO, Any
from uuid import UUID

import click

from models.states.client import ClientState
from models.states.grant import GrantStatus
from models.states.revocation import Evidence, RevocationStatus
from worker.cli import audited
from worker.cli.failures import misuse
from worker.cli.started import as_started
from worker.cli.units import length

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

Record = Mapping[str, Any]

# Widths are found from this many rows at a time, so that a million rows are printed as they arrive.
PAGE = 500

# Members in which commands stand that somebody is to copy; data is never touched.
HINTS = frozenset({"next", "command", "remedy", "then", "why"})

# As the name of a file to make: standard output, for a program.
PIPE = Path("-")


@dataclass(frozen=True)
class Column:
    """One column of a table: the record's field, and how gladly it is given up on a narrow terminal.

    `spare` 0 is never left out; the highest number goes first. A `number` stands at the right.
    """

    field: str
    heading: str = ""
    spare: int = 0
    number: bool = False

    @property
    def title(self) -> str:
        """What stands above the column."""
        return self.heading or self.field.replace("_", " ")


def iso(value: datetime) -> str:
    """A time as users see it: `2026-11-24T07:20:53Z`."""
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """Make a value fit for JSON: times as text, enumerations by their value."""
    match value:
        case datetime():
            return iso(value)
        case Enum():
            return value.value
        case UUID():
            return str(value)
        case Mapping():
            return {key: as_started(item) if _hints(key, item) else plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def cell(value: Any) -> str:
    """A value as one line of text for a human; control characters from outside never reach the terminal."""
    match plain(value):
        case None | "":
            text = "-"
        case [] | dict() as empty if not empty:
            text = "-"
        case True | False as flag:
            text = "yes" if flag else "no"
        case dict() as items:
            text = " ".join(f"{key}={_joined(item)}" for key, item in items.items() if item is not None)
        case list() as items:
            text = _joined(items)
        case other:
            text = str(other)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _joined(value: Any) -> str:
    return ",".join(str(item) for item in value) if isinstance(value, list) else str(value)


def hint(value: Any) -> str:
    """A cell that tells what to do: what it says to type can be typed here."""
    return as_started(cell(value))


def _hints(field: object, value: object) -> bool:
    return field in HINTS and isinstance(value, str)


def _cell_of(record: Record, field: str) -> str:
    value = record.get(field)
    return hint(value) if _hints(field, value) else cell(value)


def on_terminal() -> bool:
    """Whether a human looks at standard output."""
    return sys.stdout.isatty()


def rows(records: Iterable[Record], columns: Sequence[Column], *, as_json: bool, nothing: str) -> int:
    """Print a list and return how many there were; `nothing` is the sentence for an empty one."""
    if as_json:
        return _json_lines(records)
    count, left_out = 0, dict[str, None]()
    for page in _pages(records):
        if on_terminal():
            left_out |= dict.fromkeys(_rich_table(page, columns))
        else:
            _plain_table(page, columns, heading=count == 0)
        count += len(page)
    if not count:
        click.echo(as_started(nothing), err=True)
    if left_out:
        click.echo(click.style(_no_room_for(left_out), dim=True), err=True)
    return count


def one(record: Record, *, as_json: bool) -> None:
    """Print one record: an object, or a line for each field that has a value."""
    if as_json:
        click.echo(json.dumps(plain(record)))
        return
    width = max(len(key) for key in record) + 2
    now = datetime.now(UTC)
    for key, value in record.items():
        text = relative(value, now) if on_terminal() and isinstance(value, datetime) else _cell_of(record, key)
        name = click.style(key.replace("_", " ").ljust(width), dim=True)
        click.echo("\n".join(folded(text, name, width)))


def relative(when: datetime, at: datetime) -> str:
    """A time beside how far it is away: `2026-03-01T14:02:00Z (in 24s)`."""
    return f"{iso(when)} ({away(when, at)})"


def away(when: datetime, at: datetime) -> str:
    """How far away a time is: `in 24s`, `4m 10s ago`."""
    seconds = (when - at).total_seconds()
    return f"in {length(seconds)}" if seconds >= 0 else f"{length(-seconds)} ago"


def folded(text: str, label: str = "", indent: int = 0) -> list[str]:
    """A text behind its label, `indent` wide as it is seen; on a terminal folded between words, and below itself.

    Not at hyphens: what is to be copied would be two words.
    """
    if not on_terminal():
        return [label + text]
    room = max(get_terminal_size().columns, 40) - indent
    lines = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [f"{label if not number else ' ' * indent}{line}" for number, line in enumerate(lines)]


def pipe(mode: str, *, what: str, example: str) -> IO[Any]:
    """Standard output as a file of its own, so that nothing else is written there and its end is seen at once.

    `what` is written there, as the beginning of a sentence, and `example` reads it.

    Raises:
        Failure: a person would read it.

    """
    if on_terminal():
        raise misuse(
            message=f"{what} not shown on a terminal", next_step=f"lead the output into a pipe, such as `| {example}`"
        )
    sys.stdout.flush()
    return os.fdopen(os.dup(sys.stdout.fileno()), mode)


def done(record: Record, sentence: str, *, as_json: bool, err: bool = False) -> None:
    """Tell that a change was made: the record for a program, a sentence for a human; the audit notes it first.

    `err`: on standard error, where standard output holds something else.
    """
    told = plain(record)
    audited.of_record(told)
    click.echo(json.dumps(told) if as_json else as_started(sentence), err=err)


def _json_lines(records: Iterable[Record]) -> int:
    count = 0
    for count, record in enumerate(records, start=1):  # noqa: B007 — the count is the result
        click.echo(json.dumps(plain(record)))
    return count


def _pages(records: Iterable[Record]) -> Iterator[list[Record]]:
    source = iter(records)
    while page := list(islice(source, PAGE)):
        yield page


def _plain_table(records: Sequence[Record], columns: Sequence[Column], *, heading: bool) -> None:
    lines = [[_cell_of(record, c.field) for c in columns] for record in records]
    if heading:
        lines.insert(0, [c.title.upper() for c in columns])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        placed = [_placed(text, width, column) for text, width, column in zip(line, widths, columns, strict=True)]
        click.echo("  ".join(placed).rstrip())


def _placed(text: str, width: int, column: Column) -> str:
    return text.rjust(width) if column.number else text.ljust(width)


def _rich_table(records: Sequence[Record], columns: Sequence[Column]) -> list[str]:
    """Print a table; returns the titles of the columns that say something and for which there is no room."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(table(records, columns, width=console.width))
    return _titles_left_out(records, columns, console.width)


def left_out(records: Sequence[Record], columns: Sequence[Column], *, width: int) -> str:
    """The sentence on the columns that say something and for which there is no room; empty where there is room."""
    titles = _titles_left_out(records, columns, width)
    return _no_room_for(titles) if titles else ""


def _no_room_for(titles: Iterable[str]) -> str:
    return f"No room for {', '.join(title.upper() for title in titles)}: widen the terminal, or add --json."


def _titles_left_out(records: Sequence[Record], columns: Sequence[Column], width: int) -> list[str]:
    cells = {c.field: [_cell_of(record, c.field) for record in records] for c in columns}
    shown = _fitting(columns, cells, width)
    return [c.title for c in columns if c not in shown and any(each != "-" for each in cells[c.field])]


def lines_of(renderable: Any, width: int) -> list[Any]:
    """What it draws, line by line, each to be drawn by itself."""
    from rich.console import Console
    from rich.segment import Segments

    console = Console(width=width, highlight=False, force_terminal=True)
    return [Segments(line) for line in console.render_lines(renderable, pad=False)]


def table(records: Sequence[Record], columns: Sequence[Column], *, width: int) -> Any:
    """A rich table that fits `width` by leaving out the columns that are spared most gladly."""
    from rich.table import Table
    from rich.text import Text

    cells = {c.field: [_cell_of(record, c.field) for record in records] for c in columns}
    shown = _fitting(columns, cells, width)
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in shown:
        made.add_column(
            column.title.upper(),
            no_wrap=column.spare == 0,
            overflow="fold",
            justify="right" if column.number else "left",
        )
    for row in zip(*(cells[c.field] for c in shown), strict=True):
        made.add_row(*(Text(text, style=STYLES.get(text, "")) for text in row))
    return made


def _fitting(columns: Sequence[Column], cells: Mapping[str, list[str]], width: int) -> list[Column]:
    needs = {c.field: max([len(c.title), *map(len, cells[c.field])]) + 2 for c in columns}
    shown = list(columns)
    while sum(needs[c.field] for c in shown) - 2 > width:
        spare = max(shown, key=lambda c: c.spare)
        if spare.spare == 0:
            break
        shown.remove(spare)
    return shown


STYLES = {
    GrantStatus.ACTIVE: "green",
    RevocationStatus.DONE: "green",
    Evidence.VERIFIED: "green",
    GrantStatus.PAUSED: "yellow",
    GrantStatus.REVOKING: "yellow",
    RevocationStatus.QUEUED: "yellow",
    RevocationStatus.WAITING: "yellow",
    GrantStatus.NEEDS_CONSENT: "red",
    ClientState.SHUT: "red",
    ClientState.HOLDING: "red",
    RevocationStatus.DEAD: "red",
    GrantStatus.REVOKED: "dim",
}
