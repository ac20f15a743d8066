"""Draw what was measured: one SVG beside each file of results.

python -m bench.plot
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Rows = list[dict[str, Any]]


def side_by_side(rows: Rows, where: str) -> Figure:
    """Refreshes a second, and CPU a refresh by part."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.5), width_ratios=(3, 2))
    names = list(dict.fromkeys(row["name"] for row in rows))
    delays = sorted({row["delay_ms"] for row in rows})
    for offset, delay in enumerate(delays):
        some = {row["name"]: row["per_second"] for row in rows if row["delay_ms"] == delay}
        places = [names.index(name) + (offset - (len(delays) - 1) / 2) * 0.27 for name in some]
        spreads = list(some.values())
        bars = left.barh(
            places,
            [each["median"] for each in spreads],
            height=0.25,
            xerr=[[e["median"] - e["least"] for e in spreads], [e["greatest"] - e["median"] for e in spreads]],
            label=f"answers after {delay} ms",
        )
        left.bar_label(bars, fmt="{:,.0f}", padding=6, fontsize=7)
    left.margins(x=0.1)
    _names(left, names)
    left.set_xlabel("refreshes a second (median, least to greatest)")
    left.legend(fontsize=8)
    delay = 50 if 50 in delays else delays[0]
    _stacked(right, names, {row["name"]: row["cpu_ms"] for row in rows if row["delay_ms"] == delay})
    right.set_xlabel(f"CPU ms a refresh, answers after {delay} ms")
    figure.suptitle(f"Refreshes side by side\n{where}", fontsize=10)
    return figure


def _names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()


def _stacked(axes: Axes, names: list[str], cpu: dict[str, dict[str, Any]]) -> None:
    left = [0.0] * len(names)
    for part in ("workers", "beat", "web", "reader", "postgres", "valkey", "provider"):
        if not any(part in found for found in cpu.values()):
            continue
        widths = [cpu.get(name, {}).get(part, {"median": 0.0})["median"] for name in names]
        axes.barh(range(len(names)), widths, left=left, label=part)
        left = [one + other for one, other in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(names)), [""] * len(names))
    axes.invert_yaxis()
    axes.legend(fontsize=8)


def fleet_size(rows: Rows, where: str) -> Figure:
    """What grows with the fleet, and what does not."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.5))
    sizes = [row["rows"] for row in rows]
    lines = {
        "claim, µs a token": [row["claim_us"]["median"] for row in rows],
        "idle look, CPU ms": [row["idle_look"]["cpu_ms"] + row["idle_look"]["postgres_cpu_ms"] for row in rows],
        "first claim of 500 after a mass change, ms": [row.get("first_after_mass_change_ms") for row in rows],
    }
    memory = {f"{name}, resident MB": [row["processes"][f"{name}_mb"] for row in rows] for name in ("beat", "worker")}
    disk = {
        "table, MB": [row["sizes_mb"]["table"] for row in rows],
        "indexes, MB": [sum(mb for name, mb in row["sizes_mb"].items() if name != "table") for row in rows],
    }
    for each, shown in zip(axes, (lines, memory, disk), strict=True):
        for name, values in shown.items():
            each.plot(sizes, values, marker="o", label=name)
        each.set_xscale("log")
        each.set_xlabel("grants")
        each.set_ylim(bottom=0)
        each.legend(fontsize=8)
    figure.suptitle(f"What the size of a fleet costs\n{where}", fontsize=10)
    return figure


def beats(rows: Rows, where: str) -> Figure:
    """Messages, or claimed rows, a second."""
    figure, axes = plt.subplots(figsize=(9, 4.5))
    names = list(dict.fromkeys(row["beat"] for row in rows))
    counts = sorted({row["entries"] for row in rows})
    for offset, count in enumerate(counts):
        found = {row["beat"]: row["per_second"]["median"] for row in rows if row["entries"] == count}
        places = [names.index(name) + (offset - (len(counts) - 1) / 2) * 0.4 for name in found]
        bars = axes.barh(places, [max(value, 0.1) for value in found.values()], height=0.38, label=f"{count:,} entries")
        axes.bar_label(bars, fmt="{:,.0f}", padding=4, fontsize=8)
    axes.set_xscale("log")
    _names(axes, names)
    axes.set_xlabel("messages a second (Evergrant: claimed and published rows)")
    axes.legend(fontsize=8)
    figure.suptitle(f"An entry a token, and all are due\n{where}", fontsize=10)
    return figure


def day(values: dict[str, Any], where: str) -> Figure:
    """Hour by hour: what a claim costs, what table and indexes hold, and how many updates touched no index."""
    hours = values["hours"]
    figure, axes = plt.subplots(1, 3, figsize=(13, 4))
    shown = (
        {"claim, CPU µs a token": "claim_cpu_us"},
        {"table, MB": "table_mb", "its indexes, MB": "indexes_mb", "index of due times, MB": "due_index_mb"},
        {"HOT updates, %": "hot_percent"},
    )
    for each, lines in zip(axes, shown, strict=True):
        for name, column in lines.items():
            _line_with_spread(each, [row["hour"] for row in hours], [row[column] for row in hours], name)
        each.set_xlabel("hour")
        each.set_ylim(bottom=0)
        each.legend(fontsize=8)
    figure.suptitle(f"A day of {values['grants']:,} grants\n{where}", fontsize=10)
    return figure


def _line_with_spread(axes: Axes, places: list[Any], spreads: Rows, name: str) -> None:
    """Medians as a line, least to greatest as a band around it."""
    axes.plot(places, [each["median"] for each in spreads], marker="o", label=name)
    axes.fill_between(places, [each["least"] for each in spreads], [each["greatest"] for each in spreads], alpha=0.2)


def machines(rows: Rows, where: str) -> Figure:
    """Refreshes a second by workers and beats, CPU a refresh, and what idling costs."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.5))
    for count in dict.fromkeys(row["workers"] for row in rows):
        some = [row for row in rows if row["workers"] == count]
        label = f"{count} worker{'s' * (count > 1)}"
        _line_with_spread(left, [row["beats"] for row in some], [row["per_second"] for row in some], label)
    left.set_xlabel("beats")
    left.set_xticks(sorted({row["beats"] for row in rows}))
    left.set_title("refreshes a second (median, least to greatest)", fontsize=9)
    left.set_ylim(bottom=0)
    left.legend(fontsize=8)
    names = [f"workers {row['workers']}, beats {row['beats']}" for row in rows]
    _names(middle, names)
    for axes, column, told in (
        (middle, "cpu_ms", "CPU ms a refresh"),
        (right, "idle_cpu_ms_a_second", "CPU ms a second while nothing is due"),
    ):
        _stacked(axes, names, {name: row[column] for name, row in zip(names, rows, strict=True)})
        axes.set_title(told, fontsize=9)
    _names(middle, names)
    figure.suptitle(f"More workers, more beats\n{where}", fontsize=10)
    return figure


def reads(rows: Rows, where: str) -> Figure:
    """Reads a second, on a logarithmic scale, and CPU a read by part."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 0.3 * len(rows) + 1.5), width_ratios=(3, 2))
    names = [f"{row['name']}, {row['grants']:,} grants, {row['askers']} at once" for row in rows]
    rates = [row["per_second"] for row in rows]
    bars = left.barh(
        range(len(rows)),
        [rate["median"] for rate in rates],
        xerr=[[e["median"] - e["least"] for e in rates], [e["greatest"] - e["median"] for e in rates]],
    )
    left.bar_label(bars, fmt="{:,.0f}", padding=6, fontsize=7)
    left.set_xscale("log")
    _names(left, names)
    left.set_xlabel("reads a second (median, least to greatest)")
    _stacked(right, names, {name: row["cpu_us"] for name, row in zip(names, rows, strict=True)})
    right.set_xlabel("CPU µs a read")
    figure.suptitle(f"Access tokens read\n{where}", fontsize=10)
    return figure


def figures(values: dict[str, Any], where: str) -> Figure:
    """One bar a figure, for results that are mere figures."""
    shown = {name: value for name, value in values.items() if isinstance(value, dict)}
    figure, axes = plt.subplots(figsize=(9, 0.4 * len(shown) + 1.5))
    bars = axes.barh(range(len(shown)), [max(value["median"], 1e-3) for value in shown.values()])
    axes.bar_label(bars, labels=[f"{value['median']:,.3g}" for value in shown.values()], padding=4, fontsize=8)
    axes.set_xscale("log")
    _names(axes, [name.replace("_", " ") for name in shown])
    figure.suptitle(where, fontsize=10)
    return figure


DRAWN: dict[str, Callable[[Any, str], Figure]] = {
    "side_by_side": side_by_side,
    "fleet_size": fleet_size,
    "beats": beats,
    "importing": figures,
    "bad_day": figures,
    "steady": figures,
    "revocations": figures,
    "day": day,
    "machines": machines,
    "reads": reads,
}


def draw(file: Path) -> Path | None:
    """Draw a file of results; None: nobody knows how."""
    drawn = next((DRAWN[name] for name in DRAWN if file.stem.startswith(name)), None)
    if drawn is None:
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    machine = found["machine"]
    told = f"{machine['at'][:16]}Z, {machine['cores']} cores, {machine['processor']}, load {machine['load']}"
    where = f"{found['command']} — {told}"
    figure = drawn(found["results"], where)
    figure.tight_layout()
    target = file.with_suffix(".svg")
    # No date and no random ids inside: the same results give the same file.
    mpl.rcParams["svg.hashsalt"] = "evergrant"
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)
    return target


def main() -> None:
    """Draw all."""
    for file in sorted(Path(__file__).with_name("results").glob("*.json")):
        print(draw(file) or f"{file}: no plot")


if __name__ == "__main__":
    main()
