"""The board of deploy/grafana: made by its script, shows each metric of ours and asks for no other."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.metrics_named import on_the_page, unknown

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana"
BOARD: dict[str, Any] = json.loads((FOLDER / "board.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
GENERAL = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
}


def queries() -> Iterator[str]:
    for panel in PANELS:
        yield from (target["expr"] for target in panel["targets"])


def test_the_board_is_what_its_script_makes() -> None:
    spec = importlib.util.spec_from_file_location("board", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.page()
    assert made == (FOLDER / "board.json").read_text(encoding="utf-8"), "run python deploy/grafana/generate.py"


@pytest.mark.parametrize("query", [*queries()])
def test_a_query_asks_for_what_we_tell(query: str) -> None:
    assert unknown(query) == []
    assert set(re.findall(r"\bprocess_\w+", query)) <= GENERAL


def test_every_metric_of_the_page_is_shown() -> None:
    asked = " ".join(queries())
    whole = {re.sub(r"_(bucket|sum|count)$", "", name) for name in on_the_page()}
    assert {name for name in whole if not re.search(rf"\b{name}(_bucket)?\b", asked)} == set()


def test_no_panel_lies_upon_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_each_panel_says_what_it_shows_and_has_a_number_of_its_own() -> None:
    assert all(panel["description"] and panel["targets"] for panel in PANELS)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
