"""The page of the metrics, and a scrape, as what they have in common: name, type and labels of each metric."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"^\| `(evergrant_\w+)` \| (\w+) \|([\w, ]*)\| .+ \|.*\|$", re.MULTILINE)

Metric = tuple[str, str, frozenset[str]]


def on_the_page(part: str) -> set[Metric]:
    """What stands under a heading."""
    text = PAGE.read_text(encoding="utf-8").split(f"## Of {part}", 1)[1].split("\n## ", 1)[0]
    rows = ROW.findall(text)
    assert len(rows) == text.count("| `evergrant_"), "a row of the page is not of the form that this reads"
    return {(name, kind, frozenset(filter(None, labels.strip().split(", ")))) for name, kind, labels in rows}


def scraped(text: str) -> set[Metric]:
    """What a process tells, of ours."""
    found = set()
    for family in text_string_to_metric_families(text):
        if family.name.startswith("evergrant_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found.add((name, family.type, frozenset(labels)))
    return found
