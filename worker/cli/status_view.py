"""How `evergrant status` looks: one page of rich, still or live; in a pipe the same without colour."""

import time
from collections.abc import Callable
from io import StringIO
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from models.states.grant import GrantStatus
from models.states.revocation import RevocationStatus
from worker.cli import output
from worker.cli.failures import ExitCode
from worker.cli.output import Column, iso, table
from worker.cli.translations import translate
from worker.cli.units import length

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
    Column("seen_at", spare=2),
]


def rendered(found: dict[str, Any]) -> None:
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
    """Show snapshots on the whole screen until Ctrl-C, which is the usual way to end it."""
    console = Console(highlight=False)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as screen:
            while True:
                screen.update(_looked(read, console.width), refresh=True)
                time.sleep(pause)
    except KeyboardInterrupt:
        return


def _looked(read: Callable[[], dict[str, Any]], width: int) -> Group | Text:
    """The page; or, while the database is away, that it is: whoever watches an outage wants to see its end."""
    try:
        return page(read(), width=width)
    except Exception as error:
        failure = translate(error)
        if failure.exit_code is not ExitCode.TRY_AGAIN:
            raise
        return Text(failure.sentence(), style="red")


def page(found: dict[str, Any], *, width: int) -> Group:
    """Everything, top down: what needs a human, the counts, the clients, the processes."""
    parts: list[Any] = [_title(found), Text(), *_attention(found), Text(), *_numbers(found, width=width)]
    if found["clients"]:
        shown = [each | {"lateness": length(each["lateness_seconds"])} for each in found["clients"]]
        shown = [each | {"runway": length(each["runway_seconds"])} for each in shown]
        parts += [Text(), table(shown, CLIENTS, width=width)]
    if found["processes"]:
        parts += [Text(), table(found["processes"], PROCESSES, width=width)]
    return Group(*parts)


def _title(found: dict[str, Any]) -> Text:
    title = Text("Evergrant", style="bold")
    title.append(f"  {found['environment'] or '-'}  {iso(found['at'])}", style="dim")
    return title


def _attention(found: dict[str, Any]) -> list[Text]:
    if not found["attention"]:
        return [Text("All is well.", style="green")]
    lines = []
    for each in found["attention"]:
        line = Text("! ", style="bold red")
        line.append(output.hint(each["what"]), style="default")
        line.append(f"  → {output.hint(each['next'])}", style="dim")
        lines.append(line)
    return lines


def _numbers(found: dict[str, Any], *, width: int) -> list[Text]:
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
    return [_line(name, values, width=width) for name, values in rows]


ALARMING = {GrantStatus.NEEDS_CONSENT, "failing", "in_doubt", "suspect", "lapsed", "expiring", "dead letters"}


def _line(name: str, values: list[tuple[str, Any]], *, width: int) -> Text:
    """One row of facts; where the terminal is narrow it goes on below, and no number is parted from its name."""
    line, used = Text(f"{name:<8}", style="bold"), 8
    for what, value in values:
        label, shown = f"{what.replace('_', ' ')} ", f"{output.cell(value)}   "
        if used + len(label) + len(shown.rstrip()) > width:
            line.append("\n" + " " * 8)
            used = 8
        line.append(label, style="dim")
        line.append(shown, style="red" if what in ALARMING and value else "default")
        used += len(label) + len(shown)
    return line
