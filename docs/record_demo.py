"""Record a real run of the demo as an animated SVG: `PYTHONPATH=. python docs/record_demo.py docs/demo.svg`.

Each frame is a page that the demo really drew, some of them left out. Where nothing moves the last one is shown, with
what was counted.
"""  # noqa: INP001  # a script, no package

import io
import itertools
import re
import sys
from html import escape
from pathlib import Path

from rich.console import Console, RenderableType
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME

from worker.demo.page import LiveScreen
from worker.demo.plan import Plan
from worker.demo.run import run

WIDTH, HEIGHT = 92, 34
EVERY_SECONDS = 2.0  # of the run
SPEED = 3.0
LAST_SECONDS = 12.0
CELL, LINE = 12.2, 24.4
COMMANDS = (
    "./run up",
    "./run clients add temple --provider event-temple --client-id ID --client-secret-file FILE",
    "./run grants connect customer-1 --client temple",
)
Frame = tuple[float, str]


def recorded(styles: dict[str, str]) -> list[Frame]:
    """Run the demo; returns when each kept page was drawn, and its text as SVG."""
    frames: list[Frame] = []

    def keep(at: float, page: RenderableType) -> None:
        if not frames or at - frames[-1][0] >= EVERY_SECONDS:
            frames.append((at, drawn(page, styles)))

    def conclude(page: RenderableType) -> None:
        frames.append((frames[-1][0] + EVERY_SECONDS, drawn(page, styles)))

    plan = Plan()
    terminal = Console(
        width=WIDTH, height=HEIGHT - 4, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    screen = LiveScreen(plan, terminal, on_frame=keep, on_conclusion=conclude)
    result = run(plan, screen, commands=COMMANDS, keep=False)
    if result.ours_lost:
        sys.exit("Evergrant lost grants: look into that first.")
    return frames


def drawn(page: RenderableType, styles: dict[str, str]) -> str:
    """The text of one page as SVG; equal styles of all pages share a class."""
    console = Console(width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    texts = []
    for number, line in enumerate(console.render_lines(page, pad=False)):
        column = 0
        for rule, run_of in itertools.groupby(line, key=lambda segment: look_of(segment.style)):
            text = "".join(segment.text for segment in run_of)
            name = styles.setdefault(rule, f"c{len(styles)}")
            # Words with one blank between them; viewers fold more blanks than one.
            for words in re.finditer(r"\S+(?: \S+)*", text):
                place = f'x="{(column + words.start()) * CELL:.1f}" y="{(number + 1) * LINE:.1f}"'
                length = f'textLength="{len(words[0]) * CELL:.1f}"'
                texts.append(f'<text class="{name}" {place} {length}>{escape(words[0])}</text>')
            column += len(text)
    return "".join(texts)


def look_of(style: Style | None) -> str:
    """How text of a style looks, in CSS."""
    if style is None or style.color is None:
        color = SVG_EXPORT_THEME.foreground_color
    else:
        color = style.color.get_truecolor(SVG_EXPORT_THEME)
    rules = [f"fill: {color.hex}"]
    rules += ["font-weight: bold"] if style is not None and style.bold else []
    rules += ["fill-opacity: 0.6"] if style is not None and style.dim else []
    return "; ".join(rules)


def animated(frames: list[Frame], styles: dict[str, str]) -> str:
    """Put the frames into one picture, one after the other."""
    starts = [(at - frames[0][0]) / SPEED for at, _ in frames]
    total = starts[-1] + LAST_SECONDS
    groups, rules = [], []
    for number, (_, text) in enumerate(frames):
        begin = 100 * starts[number] / total
        end = 100 * (starts[number + 1] if number + 1 < len(frames) else total) / total
        rules.append(
            f"@keyframes k{number} {{ 0% {{ visibility: {'visible' if begin == 0 else 'hidden'} }}"
            f" {begin:.2f}% {{ visibility: visible }} {end:.2f}%, 100% {{ visibility: hidden }} }}"
        )
        last = number + 1 == len(frames)
        still = "visible" if last else "hidden"
        groups.append(f'<g style="visibility: {still}; animation: k{number} {total:.1f}s step-end infinite">{text}</g>')
    width, height = WIDTH * CELL + 36, HEIGHT * LINE + 60
    rules += [f".{name} {{ {rule} }}" for rule, name in styles.items()]
    return PICTURE.format(width=width, height=height, rules="\n".join(rules), frames="\n".join(groups))


PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">
<style>
text {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 20px; white-space: pre }}
{rules}
</style>
<rect width="100%" height="100%" rx="8" fill="#1d2021"/>
<g transform="translate(26,22)">
<circle r="7" fill="#ff5f57"/><circle cx="22" r="7" fill="#febc2e"/><circle cx="44" r="7" fill="#28c840"/>
</g>
<g transform="translate(18,42)">
{frames}
</g>
</svg>
"""


if __name__ == "__main__":
    used: dict[str, str] = {}
    Path(sys.argv[1]).write_text(animated(recorded(used), used), encoding="utf-8")
