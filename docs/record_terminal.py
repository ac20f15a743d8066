"""Record what commands look like on a terminal: `PYTHONPATH=. python docs/record_terminal.py docs/terminal`.

A real installation with three clients and 36 grants, of which some are not well, runs in a folder that is thrown away;
each command on a real terminal of 80 and of 140 columns, and its last page is drawn as SVG. It takes three minutes.
"""  # noqa: INP001  # a script, no package

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from html import escape
from pathlib import Path

import pyte.graphics
from rich.terminal_theme import SVG_EXPORT_THEME

from simulator.control import SimulatorControl, as_json_lines
from tests.terminal import CTRL_C, on_terminal

COMMANDS = {
    "status": "status",
    "status-watch": "status --watch",
    "grants-list": "grants list --sort failures --limit 10",
    "grants-show": "grants show carrier-1",
    "explain": "explain carrier-1",
    "doctor": "doctor",
    "events": "events --limit 10",
}
SIZES = {80: 24, 140: 40}  # rows of what fills the terminal
TALL = 70
WATCHED_SECONDS = 12
FLEETS = {"hotels": ("hotel-", 24), "airlines": ("carrier-", 9), "museums": ("museum-", 3)}
ENDPOINTS = {
    "authorize": "/oauth/authorize",
    "token": "/oauth/token",
    "revoke": "/oauth/revoke",
    "api": "/v2/bookings",
    "confirm": "/oauth/token/info",
}
CELL, LINE = 9.8, 20.0
EVERGRANT = [sys.executable, "-m", "worker.cli"]
COLOURS = {
    name: SVG_EXPORT_THEME.ansi_colors[number]
    for number, name in enumerate(("black", "red", "green", "brown", "blue", "magenta", "cyan", "white"))
}
FAINT = 2  # pyte has no such attribute; nothing of ours is in italics
pyte.graphics.TEXT[FAINT] = "+italics"


@contextmanager
def throw_away() -> Iterator[str]:
    """A folder for the installation, whose name is in the pictures, so it is always the same."""
    home = Path(tempfile.gettempdir()) / "evergrant"
    home.mkdir(mode=0o700)
    try:
        yield str(home)
    finally:
        shutil.rmtree(home)


def main(folder: Path) -> None:
    """Run the installation, and record every command at every width."""
    folder.mkdir(parents=True, exist_ok=True)
    with throw_away() as home, installation(home) as env:
        for name, command in COMMANDS.items():
            for columns, rows in SIZES.items():
                lines = recorded(command, env, columns, rows)
                (folder / f"{name}-{columns}.svg").write_text(
                    picture(f"$ evergrant {command}", lines, columns), "utf-8"
                )


@contextmanager
def installation(home: str) -> Iterator[dict[str, str]]:
    """Everything that runs, filled, and some of it not well."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVERGRANT_")}
    env |= {"EVERGRANT_HOME": home, "EVERGRANT_ACTOR": "maria", "EVERGRANT_SUSPECT_WAIT_SECONDS": "5"}
    with ExitStack() as stack:
        stack.enter_context(running(["up", "--log", "file"], env, until="Ctrl-C here ends", into=f"{home}/up.out"))
        said = stack.enter_context(
            running(["simulator", "--port=0", "--lifetime=60s"], env, until="http", into=f"{home}/s")
        )
        provider = SimulatorControl(re.findall(r"http://[\d.]+:\d+", said)[0])
        for client, (prefix, count) in FLEETS.items():
            provider.create_client(client, "secret")
            urls = [f"--{name}-url={provider.url}{path}" for name, path in ENDPOINTS.items()]
            add = [
                "clients",
                "add",
                client,
                "--provider",
                "simulator",
                "--client-id",
                client,
                "--client-secret-file",
                "-",
            ]
            evergrant([*add, *urls], env, "secret")
            minted = provider.mint(client, refs=[f"{prefix}{number + 1}" for number in range(count)], lifetime=60)
            evergrant(["grants", "import", "-", "--client", client], env, as_json_lines(minted))
        provider.revoke_as_user("hotel-2")
        evergrant(["clients", "pause", "museums"], env)
        time.sleep(50)
        provider.set_secret("airlines", "another secret")
        time.sleep(60)
        yield env


@contextmanager
def running(arguments: list[str], env: dict[str, str], *, until: str, into: str) -> Iterator[str]:
    """A process of ours, from when it has said something until the end."""
    with Path(into).open("w", encoding="utf-8") as output:
        process = subprocess.Popen([*EVERGRANT, *arguments], env=env, stdout=output, stderr=output)  # noqa: S603  # ours
    try:
        end = time.monotonic() + 90
        while until not in (said := Path(into).read_text(encoding="utf-8")):
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(said)
            time.sleep(0.2)
        yield said
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)


def evergrant(arguments: list[str], env: dict[str, str], stdin: str = "") -> None:
    """Carry out a command."""
    argv = [*EVERGRANT, *arguments]
    subprocess.run(argv, env=env, input=stdin, text=True, check=True, capture_output=True)  # noqa: S603  # ours


def recorded(command: str, env: dict[str, str], columns: int, rows: int) -> list[list[pyte.screens.Char]]:
    """The page that a command leaves, or shows after a while, without the empty lines at its end."""
    watches = "--watch" in command
    argv = [*EVERGRANT, *command.split()]
    with on_terminal(argv, env=env, columns=columns, rows=rows if watches else TALL) as terminal:
        if watches:
            for _ in terminal.watch(WATCHED_SECONDS):
                pass
            cells = terminal.cells
            terminal.press(CTRL_C)
        terminal.end()
        cells = cells if watches else terminal.cells
    while cells and not "".join(each.data for each in cells[-1]).strip():
        cells.pop()
    return cells


def picture(typed: str, lines: list[list[pyte.screens.Char]], columns: int) -> str:
    """A terminal as SVG; equal styles share a class."""
    styles: dict[str, str] = {}
    texts = [text_of(typed, 0, 0, styles.setdefault(look_of(None), "c0"))]
    for number, line in enumerate(lines, start=1):
        column = 0
        for rule, run in itertools.groupby(line, key=look_of):
            text = "".join(each.data for each in run)
            # Words with one blank between them; viewers fold more blanks than one.
            for words in re.finditer(r"\S+(?: \S+)*", text):
                name = styles.setdefault(rule, f"c{len(styles)}")
                texts.append(text_of(words[0], column + words.start(), number, name))
            column += len(text)
    rules = "\n".join(f".{name} {{ {rule} }}" for rule, name in styles.items())
    width, height = columns * CELL + 32, (len(lines) + 1) * LINE + 28
    return PICTURE.format(width=width, height=height, rules=rules, texts="\n".join(texts))


def text_of(text: str, column: int, line: int, name: str) -> str:
    """Words at their place."""
    place = f'x="{column * CELL:.1f}" y="{(line + 1) * LINE:.1f}" textLength="{len(text) * CELL:.1f}"'
    return f'<text class="{name}" {place}>{escape(text)}</text>'


def look_of(cell: pyte.screens.Char | None) -> str:
    """How a cell looks, in CSS."""
    colour = (
        SVG_EXPORT_THEME.foreground_color if cell is None else COLOURS.get(cell.fg, SVG_EXPORT_THEME.foreground_color)
    )
    rules = ["fill: #{:02x}{:02x}{:02x}".format(*colour)]
    rules += ["font-weight: bold"] if cell is not None and cell.bold else []
    rules += ["fill-opacity: 0.65"] if cell is not None and cell.italics else []
    return "; ".join(rules)


PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}">
<style>
text {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 16px; white-space: pre }}
{rules}
</style>
<rect width="100%" height="100%" rx="8" fill="#1d2021"/>
<g transform="translate(16,6)">
{texts}
</g>
</svg>
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
