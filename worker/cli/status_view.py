"""How `evergrant status` looks: one page of rich, still or live; in a pipe the same without colour."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from models.states.grant import GrantStatus
from models.states.revocation import RevocationStatus
from worker.cli import output
from worker.cli.attention import many
from worker.cli.fitting import Fitted, Part
from worker.cli.output import Column, iso, lines_of, table
from worker.cli.started import as_started
from worker.cli.units import length

if TYPE_CHECKING:
    from worker.cli.watching import Renewals, Watched

Found = Mapping[str, Any]

PIPE_WIDTH = 160

CLIENTS = [
    Column("name", "client"),
    Column("state"),
    Column("active", number=True),
    Column("due", spare=1, number=True),
    Column("under_way", spare=4, number=True),
    Column("failing", spare=2, number=True),
    Column("needs_consent", spare=3, number=True),
    Column("lateness", "late by", spare=5),
    Column("runway", spare=6),
    Column("rate", spare=7),
    Column("pace", spare=10),
    Column("provider", spare=9),
    Column("reason", spare=8),
]
PROCESSES = [
    Column("kind", "process"),
    Column("host", spare=1),
    Column("pid", number=True),
    Column("alive"),
    Column("metrics_port", "metrics", spare=3),
    Column("seen"),
    Column("seen_at", spare=2),
]
_PLAIN = Console(file=StringIO(), color_system=None)  # folds as any other does


def rendered(found: Found) -> None:
    """Print one snapshot."""
    if output.on_terminal():
        console = Console(highlight=False)
        console.print(page(found, width=console.width))
        return
    console = Console(width=PIPE_WIDTH, highlight=False, file=StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(page(found, width=PIPE_WIDTH))
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def live(read: Callable[[], dict[str, Any]], *, pause: float) -> None:
    """Show snapshots on the whole screen until Ctrl-C."""
    from worker.cli import watching

    watching.watch(read, lambda watched, renewals: _live_page(watched, renewals, pause), pause=pause)


def page(found: Found, *, width: int) -> Group:
    """Everything, top down: what needs a human, the counts, the clients, the processes."""
    parts: list[Any] = [
        _title(found),
        _looked_at(found),
        Text(),
        *_attention(found, width=width),
        Text(),
        *_numbers(found, width=width),
    ]
    if found["clients"]:
        shown = _clients(found)
        parts += [Text(), table(shown, CLIENTS, width=width), *_left_out(shown, CLIENTS, width=width)]
    if found["processes"]:
        parts += [Text(), table(_processes(found), PROCESSES, width=width)]
    return Group(*parts)


class _LivePage:
    """The same and more, cut to the terminal as it is when it is drawn."""

    def __init__(self, watched: "Watched", renewals: "Renewals", pause: float) -> None:
        self._watched, self._renewals, self._pause = watched, renewals, pause

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Fitted(self._parts(options.max_width))

    def _parts(self, width: int) -> list[Part]:
        found = self._watched.fleet
        title = _title(found).append(f"  every {self._pause:g} s, Ctrl-C ends", style="dim")
        clients, processes = _clients(found), _processes(found)
        more = "  … {count} more: " + as_started("evergrant status")
        more_clients = "… {count} more: " + as_started("evergrant clients list")
        return [
            Part([_one_line(title, width)], least=1),
            Part(items=_attention(found, width=width), least=5, more=more),
            Part(items=_numbers(found, width=width), least=6, brief=_numbers(found, width=width, sparing=True)),
            _part_of(clients, CLIENTS, width, least=5, more=more_clients),
            self._renewed(width),
            self._happened(found["at"], width),
            _part_of(processes, PROCESSES, width, least=4, more=more, brief=[_counted(processes)]),
        ]

    def _renewed(self, width: int) -> Part:
        since = self._renewals.since
        title = Text.assemble(("Renewed", "bold")).append(
            "  cannot be heard of now" if since is None else f"  {self._renewals.count} since {clock_time(since)}",
            style="dim",
        )
        items = [_one_line(_renewal(each), width) for each in self._renewals.last]
        return Part([title], items, least=5, newest=True)

    def _happened(self, at: datetime, width: int) -> Part:
        items = [_one_line(_events(alike, at), width) for alike in _alike(self._watched.events)]
        heading = [Text.assemble(("Happened", "bold")).append("" if items else "  nothing yet", style="dim")]
        return Part(heading, items, least=5, newest=True)


def _live_page(watched: "Watched", renewals: "Renewals", pause: float) -> _LivePage:
    return _LivePage(watched, renewals, pause)


def _part_of(
    records: list[Found],
    columns: list[Column],
    width: int,
    *,
    least: int,
    more: str,
    brief: list[Text] | None = None,
) -> Part:
    """A table as a part: its heading stays, and each row is an item."""
    if not records:
        return Part()
    heading, *items = lines_of(table(records, columns, width=width), width)
    return Part([heading], items, least=least, more=more, brief=brief)


def _counted(processes: list[Found]) -> Text:
    """`alive   1 beat, 2 workers`, and how many are silent."""
    kinds = Counter(each["kind"] for each in processes if each["alive"])
    line = Text.assemble((f"{'alive':<8}", "bold"))
    line.append(", ".join(many(count, kind) for kind, count in kinds.items()) or "none", style="default")
    silent = sum(not each["alive"] for each in processes)
    return line.append(f"   silent {silent}", style="red") if silent else line


def _one_line(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text


def _renewal(row: Found) -> Text:
    """`12:00:04  customer-42 of temple, generation 5, lives 2h 0m`."""
    line = Text.assemble((f"{clock_time(row['at'])}  ", "dim"))
    line.append(output.cell(row["ref"]), style="green")
    ends = row["access_expires_at"]
    lives = f", lives {length((ends - row['at']).total_seconds())}" if ends is not None and ends > row["at"] else ""
    return line.append(f" of {row['client']}, generation {row['generation']}{lives}", style="default")


def _alike(events: Iterable[Found]) -> Iterable[list[Found]]:
    """Events in their order, those together that tell the same of one grant after the other."""
    return (list(same) for _, same in groupby(events, lambda each: (each["type"], each["client"], each["reason"])))


def _events(alike: list[Found], at: datetime) -> Text:
    """`12:00:04  4m 10s ago  grant.needs_consent  customer-42 and 2 more of temple  revoked_or_expired`."""
    record = alike[-1]
    ago = length(max((at - record["occurred_at"]).total_seconds(), 0))
    line = Text(f"{clock_time(record['occurred_at'])}  {f'{ago} ago':<12}", style="dim")
    line.append(record["type"], style="default")
    of = " of ".join(output.cell(record[name]) for name in ("ref", "client") if record[name])
    of = of.replace(" of ", f" and {len(alike) - 1} more of ", 1) if len(alike) > 1 else of
    line.append(f"  {of}" if of else "", style="default")
    return line.append(f"  {output.cell(record['reason'])}" if record["reason"] else "", style="dim")


def clock_time(when: datetime) -> str:
    """The time of day in UTC: what is watched is of today."""
    return f"{when.astimezone(UTC):%H:%M:%S}"


def _clients(found: Found) -> list[Found]:
    return [
        {**each, "lateness": length(each["lateness_seconds"]), "runway": length(each["runway_seconds"])}
        for each in found["clients"]
    ]


def _processes(found: Found) -> list[Found]:
    return [
        {**each, "seen": f"{length(max((found['at'] - each['seen_at']).total_seconds(), 0))} ago"}
        for each in found["processes"]
    ]


def _left_out(records: list[Found], columns: list[Column], *, width: int) -> list[Text]:
    told = output.left_out(records, columns, width=width)
    return [Text(told, style="dim")] if told else []


def _title(found: Found) -> Text:
    title = Text.assemble(("Evergrant", "bold"))
    title.append(f"  {found['environment'] or '-'}  {iso(found['at'])}", style="dim")
    return title


def _looked_at(found: Found) -> Text:
    where = f"home {found['home']}, database {found['database_name']} at {found['database_host']}"
    return Text(output.cell(where), style="dim")


def _attention(found: Found, *, width: int) -> list[Text]:
    """Each on as many lines as it needs, the second and all after it indented."""
    if not found["attention"]:
        return [Text("All is well.", style="green")]
    return [_told(each, width) for each in found["attention"]]


def _told(each: Found, width: int) -> Text:
    """On one line what it is and what to do, where that fits; else what to do stands below it."""
    mark, what = Text("! ", style="bold red"), Text(output.hint(each["what"]))
    step = Text(f"→ {output.hint(each['next'])}", style="dim")
    if len(what) + len(step) + 4 <= width:
        return Text.assemble(mark, what, "  ", step)
    below = [line for text in (what, step) for line in text.wrap(_PLAIN, max(width - 2, 1))]
    indents = [mark, *(Text("  ") for _ in below[1:])]
    return Text("\n").join(Text.assemble(*each) for each in zip(indents, below, strict=True))


def _numbers(found: Found, *, width: int, sparing: bool = False) -> list[Text]:
    """A line of each kind; `sparing`: without what is nought."""
    grants, revocations = found["grants"], found["revocations"]
    letters = sum(found["dead_letters"].values())
    facts = [
        (name, found[name]) for name in ("due", "under_way", "failing", "in_doubt", "suspect", "lapsed", "expiring")
    ]
    rows = [
        ("grants", list(grants.items())),
        ("now", facts),
        ("open", [("revocations", revocations[RevocationStatus.QUEUED]), ("dead letters", letters)]),
        (
            "time",
            [("late by", length(found["lateness_seconds"])), ("runway", length(found["runway_seconds"]))],
        ),
        # If the providers stopped now: so many access tokens that are kept warm will have ended.
        ("ending", [(f"in {within}", count) for within, count in found["ending"].items()]),
    ]
    if sparing:
        kept = [(name, [(what, value) for what, value in values if value]) for name, values in rows]
        return [_line(name, values, width=width) for name, values in kept if values]
    return [_line(name, values, width=width) for name, values in rows]


ALARMING = {GrantStatus.NEEDS_CONSENT, "failing", "in_doubt", "suspect", "lapsed", "expiring", "dead letters"}


def _line(name: str, values: list[tuple[str, Any]], *, width: int) -> Text:
    """One row of facts; where the terminal is narrow it goes on below, and no number is parted from its name."""
    line, used = Text.assemble((f"{name:<8}", "bold")), 8
    for what, value in values:
        label, shown = f"{what.replace('_', ' ')} ", f"{output.cell(value)}   "
        if used + len(label) + len(shown.rstrip()) > width:
            line.append("\n" + " " * 8)
            used = 8
        line.append(label, style="dim")
        line.append(shown, style="red" if what in ALARMING and value else "default")
        used += len(label) + len(shown)
    return line
