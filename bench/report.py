"""What a benchmark leaves behind: plain lines, and a file of results with the machine and the command."""

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import machine

RESULTS = Path(__file__).with_name("results")


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, least and greatest of the runs."""
    found = sorted(values)
    return {"median": statistics.median(found), "least": found[0], "greatest": found[-1]}


def median(value: object) -> object:
    """The median of a spread; anything else as it is."""
    return value["median"] if isinstance(value, dict) else value


def say(*words: object) -> None:
    """Print a line at once."""
    print(*words, flush=True)


def table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as columns; numbers to the right."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    for line in [names, *cells]:
        say(
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
        )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def save(name: str, results: Any, *, begun: dict[str, Any], folder: Path | None, module: str | None = None) -> None:
    """Write the results with the machine, the command, and the load before and after."""
    folder = folder or RESULTS
    folder.mkdir(exist_ok=True)
    found = {
        "command": " ".join(["python", "-m", f"bench.{module or name}", *sys.argv[1:]]),
        "machine": {**begun, "load_after": machine.load()},
        "results": results,
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    say(f"\nwritten: {file}")
    try:
        from bench import plot
    except ImportError:
        say("no plot: matplotlib is missing, see bench/README.md")
    else:
        say(f"drawn: {plot.draw(file)}")
