"""What an expression of Prometheus asks for: metrics and labels of ours, held against the page of metrics."""

import re

from tests.metrics_page import PAGE

ROW = re.compile(r"^\| `(evergrant_\w+)` \| (\w+) \|([\w, ]*)\|", re.MULTILINE)
SERIES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def on_the_page() -> dict[str, set[str]]:
    """Every series that a scrape may hold, with its labels."""
    known: dict[str, set[str]] = {}
    for name, kind, labels in ROW.findall(PAGE.read_text(encoding="utf-8")):
        for suffix in SERIES[kind]:
            more = {"le"} if suffix == "_bucket" else set()
            known[name + suffix] = {each.strip() for each in labels.split(",") if each.strip()} | more
    return known


def unknown(expression: str) -> list[str]:
    """What an expression names that no process of ours tells: series, and labels in their braces."""
    known = on_the_page()
    wrong = []
    for name, braces in re.findall(r"\b(evergrant_\w+)(?:\{([^}]*)\})?", expression):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', braces)))
        if name not in known:
            wrong.append(name)
        else:
            wrong += [f"{name}{{{label}}}" for label in sorted(labels - known[name] - {"instance", "job"})]
    return wrong
