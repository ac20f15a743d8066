"""Pages and code lead nowhere that does not exist: links, pages cited by name, and command lines to type."""

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from worker.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for top in ("docs", "bench", "examples", "deploy") for page in (ROOT / top).rglob("*.md")),
    ]
)
# Where pages are cited by name, in links or without.
SOURCES = (
    *(
        "models",
        "tasks",
        "worker",
        "simulator",
        "client",
        "tests",
        "bench",
        "alembic",
        "docs",
        "examples",
        "deploy",
        ".ci",
    ),
    *("settings.py", "celeryconfig.py", "pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("SECURITY.md", "run", "test"),
)
WIDTH = 120
CITING = {".py", ".md", ".sql", ".toml", ".mjs", ".ru", ".sh", ".mako"}
SCRIPTS = {"run", "test", "lock"}
SKIPPED = {"node_modules", "__pycache__"}
PROGRAMS = ("evergrant", "./run", "/opt/evergrant/run")
# Words that end a command line of ours within a line of a shell.
ENDS = {"|", "||", "&&", "&", ";", ">", "<", "2>", ">>"}


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#{1,6} +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def _links(page: Path) -> Iterator[str]:
    """Every link of a page but those to other sites; fenced blocks hold none."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(<?([^)\s>]+)", prose):
        if not re.match(r"[a-z]+:", target):
            yield unquote(target)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_the_readme_leads_to_every_page_of_the_documentation() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in _links(ROOT / "README.md")}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions"}
    assert {_name(page) for page in pages - linked} == set()


def _sources() -> Iterator[Path]:
    """Every file in which somebody may cite a page: our code, its comments, and the pages themselves."""
    for top in SOURCES:
        for path in [ROOT / top] if (ROOT / top).is_file() else (ROOT / top).rglob("*"):
            if (path.suffix in CITING and not SKIPPED & set(path.parts)) or (path.name in SCRIPTS and path.is_file()):
                yield path


def _cited(text: str) -> Iterator[str]:
    """The names of pages in a text, with as much of their folder as it tells; `https://…` is another site's."""
    for path in re.findall(r"(?<![\w./<>{}*-])(?:[\w.-]+/|/)*[\w-]+\.md\b", re.sub(r"[a-z]+://\S+", "", text)):
        yield path.lstrip("./")


def test_no_page_comment_or_test_cites_a_page_that_is_not_in_the_repository() -> None:
    ours = [path for top in ROOT.iterdir() if top.name[0] != "." for path in (top, *top.rglob("*.md"))]
    pages = [f"/{_name(path)}" for path in ours if path.suffix == ".md" and not SKIPPED & set(path.parts)]
    missing = {
        f"{_name(source)} cites {name}"
        for source in _sources()
        for name in _cited(source.read_text(encoding="utf-8"))
        if not any(page.endswith(f"/{name}") for page in pages)
    }
    assert missing == set()


def test_a_section_sign_is_an_rfcs() -> None:
    others = {
        f"{_name(source)}: …{before}§"
        for source in _sources()
        for before in re.findall(r"(.{0,40})§", " ".join(source.read_text(encoding="utf-8").split()))
        if not re.search(r"RFC \d+", before) and source != Path(__file__)
    }
    assert others == set()


def _lines(page: Path) -> Iterator[str]:
    """The lines of a page's fenced blocks, joined where they are continued, and its `inline code`."""
    text = page.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language in ("sh", ""):
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            # A usage line, `evergrant simulator [--port 9455]`, is no command line to type.
            yield from (line for line in lines if not re.search(r" \[-", line))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    # Nor is one with an ellipsis.
    for code in re.findall(r"`([^`\n]+)`", prose):
        if code.startswith(("evergrant ", "./run ")) and "…" not in code and "[" not in code:
            yield code


def _words(line: str) -> Iterator[list[str]]:
    """The command lines of ours that a line of a shell holds, as words without the program."""
    # `$(…)` within quotes is a command line of its own.
    inner = re.findall(r"\$\(([^()]*)\)", line)
    for piece in [re.sub(r"\$\([^()]*\)", "X", line), *inner]:
        lexer = shlex.shlex(piece, posix=True, punctuation_chars="|&;<>()")
        lexer.commenters = "#"
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a here-document, or a quote that goes on in the next line: another language
            continue
        starts = [i for i, word in enumerate(words) if word in PROGRAMS and (i == 0 or words[i - 1] in ENDS)]
        for start in starts:
            yield list(takewhile(lambda word: word not in ENDS, words[start + 1 :]))
        # su -c '…' and the like
        for word in words:
            if " " in word and any(f"{program} " in word for program in PROGRAMS) and word != line:
                yield from _words(word.partition("=")[2].partition(" ")[2] if word.startswith("EVERGRANT_") else word)


def _command_lines() -> list[tuple[str, list[str]]]:
    return [(_name(page), words) for page in PAGES for line in _lines(page) for words in _words(line)]


COMMAND_LINES = _command_lines()


def _parse(words: list[str]) -> None:
    """Read a command line as the program does, and run nothing."""
    command: click.Command = cli
    context = click.Context(cli, info_name="evergrant")
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            command.make_context(command.name, words or ["--help"], resilient_parsing=True)
            return
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=found.name)
        if not words and isinstance(command, click.Group):
            return  # a group is named, as in prose
    numbered = ["1" if word in ("ID", "$id") else word for word in words]
    command.make_context(command.name, numbered, parent=context.parent, resilient_parsing=False)


def check_command_line(line: str) -> None:
    """Fail where a line of a shell holds a command line of ours that does not exist."""
    found = list(_words(line))
    assert found, line
    for words in found:
        test_every_command_line_of_a_page_is_one_that_exists(line, words)


@pytest.mark.parametrize(("page", "words"), COMMAND_LINES, ids=[f"{p}: {' '.join(w)}" for p, w in COMMAND_LINES])
def test_every_command_line_of_a_page_is_one_that_exists(page: str, words: list[str]) -> None:
    try:
        _parse(words)
    except click.exceptions.Exit:
        pass  # --help and --version end
    except click.MissingParameter:
        # Prose names a command without what it needs; a misspelt option or command is another error.
        assert page
    except click.UsageError as error:
        pytest.fail(f"{page}: evergrant {' '.join(words)}: {error.format_message()}")


def test_the_pages_hold_command_lines_at_all() -> None:
    assert len(COMMAND_LINES) > 100
    assert {"README.md", "docs/tutorial.md"} <= {page for page, _ in COMMAND_LINES}


def test_decisions_are_numbered_without_gap_or_repeat() -> None:
    numbers = sorted(int(page.name[:4]) for page in (ROOT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


# Their tables and paragraphs are made anew by whoever measures; wrap them when nobody else is writing there.
LONG_LINED = {"docs/explanation/mutants.md", "docs/explanation/simulation.md"}
PROSE = [page for page in PAGES if page.parent == ROOT or page.is_relative_to(ROOT / "docs")]


@pytest.mark.parametrize("page", [page for page in PROSE if _name(page) not in LONG_LINED], ids=_name)
def test_lines_of_prose_are_short_enough_to_be_compared(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    # A table has a row a line, and an indented line is a command or a drawing.
    prose = [line for line in text.splitlines() if not line.startswith(("|", "    ", "#", "!", "<!--"))]
    assert [line for line in prose if len(line) > WIDTH] == []
