"""The page that says which test proves what: every fault and every invariant is on it, and every test exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "fault-matrix.md").read_text(encoding="utf-8")

# Each fault that must cost nothing, in the words of the page's first column.
FAULTS = (
    "kill -9 at every step",
    "SIGSTOP past the lease, then resume",
    "broker: FLUSHALL, kill, restart",
    "PostgreSQL: immediate stop and restart at every step",
    "PostgreSQL: away for longer than every lease",
    "COMMIT answered by a reset",
    "fail-over that lost commits",
    "restore of an older copy, with the journals",
    "connections cut at byte k, both directions",
    "clock of a worker jumps ±1 h",
    "clock of the database was 3 h ahead and is set back",
    "429 and 503 with seconds, dates and absurd Retry-After",
    "time-out before and after the provider acted",
    "an hour of 504 after commit",
    "truncated, HTML, huge, dripping answers",
    "redirects",
    "broken TLS",
    "a provider that hangs beside one that is well",
    "duplicates, ten of each message",
    "forged messages",
    "two beats, three beats",
    "no beat for a while",
    "no worker for a while",
    "poison rows",
    "poison answers",
    "disk full for the journal, before the answer",
    "disk full for the journal, after the answer",
    "mass `invalid_client`",
    "a wrong client secret is stored",
    "a private key replaced under load",
    "mass `invalid_grant`",
    "100 000 grants with one expiry",
    "re-consent and re-import racing a refresh",
    "pause and revoke racing a refresh",
    "redrive racing a refresh",
    "reads over HTTP racing revocations and new token sets",
    "a broker that hangs",
    "a worker's broker connection that goes nowhere",
    "a kill while a customer connects",
    "the database away while a customer connects",
    "a worker without the key of what a customer brought",
    "a provider that answers a code after 40 s",
    "a collector of traces that is away or mute",
    "key rotation under load",
    "rolling restart of everything under load",
    "told: the answer lost on the wire, or a kill between the provider's act and our fsync",
)
INVARIANTS = tuple(str(number) for number in range(1, 17))
LONG_FORM = re.compile(r"`python -m ([\w.]+)[^`]*`")


def rows() -> dict[str, str]:
    """First column → the rest of the row."""
    lines = (line.strip("|").split("|", 1) for line in PAGE.splitlines() if line.startswith("| "))
    return {first.strip(): rest for first, rest in lines}


ROWS = rows()


@cache
def names_in(path: Path) -> set[str]:
    """Every function of a test file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def named_tests(text: str) -> list[tuple[str, str]]:
    """`path::name` within backquotes; a name alone is of the path before it in the row."""
    found, path = [], ""
    for code in re.findall(r"`((?:tests/[\w/]+\.py)?::\w+)`", text):
        path = code.partition("::")[0] or path
        found.append((path, code.partition("::")[2]))
    return found


@pytest.mark.parametrize("what", [*FAULTS, *INVARIANTS])
def test_every_fault_and_every_invariant_names_the_tests_that_prove_it(what: str) -> None:
    assert what in ROWS, f"docs/reference/fault-matrix.md has no line that begins: {what}"
    assert named_tests(ROWS[what]), f"{what}: no test is named"


def test_every_test_that_the_page_names_exists() -> None:
    missing = [
        f"{path}::{name}"
        for rest in ROWS.values()
        for path, name in named_tests(rest)
        if not (ROOT / path).is_file() or name not in names_in(ROOT / path)
    ]
    assert missing == []


def test_the_page_has_no_line_that_nobody_asked_for() -> None:
    heads = {"fault", "invariant", "command", "---"}
    told = {first for first in ROWS if not LONG_FORM.fullmatch(first)}
    assert told - heads == {*FAULTS, *INVARIANTS}


def test_every_long_form_is_a_module_of_ours() -> None:
    modules = LONG_FORM.findall(PAGE)
    assert modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
