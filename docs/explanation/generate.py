"""Write the code map from the modules' first lines and the table of transitions: docs/explanation/code-map.md.

    python docs/explanation/generate.py

tests/unit/test_reference.py fails while page and code differ. What is told by hand stands at the top of this file; a
link there whose text is a `name` leads to a file that must hold that name, and a test sees to it.
"""
# ruff: noqa: INP001  # a script, not a package

import ast
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Final

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from models.transitions import OF_GRANTS, Lease  # noqa: E402

TABLE: Final = "| file | what it is for |\n| --- | --- |"

TOLD = """<!-- Made by docs/explanation/generate.py: lines of files are the first lines of their docstrings. -->

# Code map

Imports go down only: `worker` → `tasks` → `models` → `settings`. So do the rooms on this page. What a word means: the
[glossary](../reference/glossary.md). Why it is so: [how it works](design.md). Where to put something new:
[contributing](../../CONTRIBUTING.md#to-add-something-touch-these-files).

## One refresh, from claim to confirm

1. Beat looks ([`_look`](../../worker/beat.py)): which clients have something due?
2. One short transaction a client: its valve is locked, and rows are claimed within what it lets through
   ([`claim`](../../tasks/claim.py), [`CLAIM_DUE`](../../models/claim.py)).
3. Committed, and only then published: ids and claim numbers ([`_publish`](../../worker/beat.py)).
4. A worker reads the message ([`refresh`](../../tasks/refresh.py)) and starts what is still its own, by
   compare-and-swap on the claim number ([`START`](../../models/attempt.py)); that brings the sealed tokens.
5. The guard is asked, and again just before the first byte ([`guard`](../../tasks/policy/guard.py)).
6. One POST, no transaction open ([`Transport`](../../tasks/oauth/transport.py)), on the loop thread, which hands the
   answer to two more in turn: [`Answers`](../../tasks/runtime/answers.py) have one that journals and one that settles.
   What each of them does is handed in where a worker begins ([`_begin`](../../worker/service.py)).
7. The journaling thread: the raw answer is sealed and fsynced before anybody parses it
   ([`journal_answers`](../../tasks/settling/settle.py), [`write_down`](../../tasks/runtime/journaling.py),
   [`append`](../../tasks/journal/journal.py)).
8. The settling thread takes what has come meanwhile as a group. Each answer is read: what does it mean
   ([`outcome`](../../tasks/policy/outcome.py))?
9. Under the lock of its row it is decided by the generation ([`Decider`](../../tasks/settling/decide.py)).
10. One transaction for the group: token sets, surplus, ended attempts, letters, events, valves
    ([`write`](../../tasks/settling/write.py); [`STORE`](../../models/token_set.py) and
    [`END`](../../models/ended_attempt.py)).
11. Marked in the journal as settled ([`mark_settled`](../../tasks/journal/journal.py)). Who listens was woken by the
    commit.
12. At `on_use` the new access token is presented once ([`confirm`](../../tasks/settling/confirm.py)).

## Where to find

- **Where a claim is made**: [`claim`](../../tasks/claim.py) says how many and in whose favour, the statements of
  [`models/claim.py`](../../models/claim.py) take them; one grant by hand, for a probe: [`TAKE`](../../models/probe.py).
- **Where an answer becomes durable**: [`append`](../../tasks/journal/journal.py) on the disk, then
  [`STORE`](../../models/token_set.py) in the database; of a new consent [`INSERT`](../../models/consent.py). After a
  kill: [`tasks/settling/replay.py`](../../tasks/settling/replay.py).
- **What makes a grant `needs_consent`**: [`END`](../../models/ended_attempt.py) alone, with the reason that
  [`verdict`](../../tasks/policy/verdict.py) gave.
- **Which statement may write `due_at` of a grant**: those that
  [`models/transitions.py`](../../models/transitions.py) says it of, and no other. Whoever wants a refresh early leaves
  a row: [`models/refresh_request.py`](../../models/refresh_request.py).
{due_at_writers}
- **What shuts a valve, and opens it**: [`tasks/policy/valve.py`](../../tasks/policy/valve.py).
- **Who may see an access token**: the view `access_tokens` in
  [`0001_functions.sql`](../../alembic/versions/0001_functions.sql), its narrower twin in
  [`0006_brake_and_roles.sql`](../../alembic/versions/0006_brake_and_roles.sql), and who reads it:
  [`models/views/access_token.py`](../../models/views/access_token.py).
- **What a command prints when something fails**: [`ExitCode`](../../worker/cli/failures.py), and `next` beside it.
"""

# Rooms whose every file is told, from top to bottom, and what is told of those that have no docstring of their own.
ROOMS: Final = ("worker", "tasks", "models", "settings.py", "celeryconfig.py", "simulator", "client/evergrant_client")
BESIDE: Final = {
    "alembic": "The migrations: SQL files, and what runs them. Never a package: it would hide the library.",
    "bench": "What was measured, by which command, and the other contestants.",
    "docs": "These pages. `reference/generate.py` and `explanation/generate.py` make some of them from the code.",
    "examples": "Whole applications that use Evergrant; the tests run them.",
}
TESTS: Final = {
    "tests/unit": "Unit: one thing at a time, no server. Also what holds pages, layers and words to the code.",
    "tests/integration": "Integration: statements, tasks and commands on real engines, in this process.",
    "tests/acceptance": "Acceptance: real processes as an operator starts them, judged by the provider's ledger.",
    "tests/simulation": "",
    "tests/crashes": "",
    "tests/mutants": "",
}


def code_map() -> str:
    """The page."""
    rooms = "\n".join(_room(name) for name in ROOMS)
    beside = "\n".join(_row(name, f"{name}/", text) for name, text in BESIDE.items())
    told = TOLD.format(due_at_writers="\n".join(_due_at_writers()))
    return f"{told}\n{rooms}\n{_tests()}\n## Beside them\n\n{TABLE}\n{beside}\n"


def _due_at_writers() -> Iterator[str]:
    """A line of each file with such statements."""
    writers = sorted(each.statement.rpartition(".")[::2] for each in OF_GRANTS if Lease.DUE_AT in each.lease)
    for module, found in groupby(writers, key=lambda writer: writer[0]):
        path = module.replace(".", "/") + ".py"
        names = ", ".join(f"`{name}`" for _, name in found)
        yield fill(f"- [`{path}`](../../{path}): {names}", 120, initial_indent="  ", subsequent_indent="    ")


def _room(name: str, level: str = "##") -> str:
    path = ROOT / name
    if path.is_file():
        return f"{level} {name}\n\n{TABLE}\n{_row(name, name, first_line(path))}\n"
    rows = "\n".join(_rows(path))
    inner = [_room(f"{name}/{folder.name}", f"{level}#") for folder in _packages(path)]
    return "\n".join([f"{level} {name}/\n\n{first_line(path / '__init__.py')}\n\n{TABLE}\n{rows}\n", *inner])


def _packages(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/__init__.py") if any(_rows(path.parent)))


def _rows(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py" and not path.name.startswith("test_"):
            yield _row(str(path.relative_to(ROOT)), path.name, first_line(path))


def _tests() -> str:
    folders = [
        _row(name, f"{name.removeprefix('tests/')}/", text or first_line(ROOT / name / "__init__.py"))
        for name, text in TESTS.items()
    ]
    return "\n".join(["## tests/", "", TABLE, *folders, *_rows(ROOT / "tests"), ""])


def _row(path: str, name: str, text: str) -> str:
    return f"| [`{name}`](../../{path}) | {text.replace('|', chr(92) + '|')} |"


def first_line(path: Path) -> str:
    """What a module says that it is for."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n", 1)[0]


PAGES: Final = {"code-map.md": code_map}


def main() -> None:
    """Write the page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
