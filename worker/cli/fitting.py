"""How a live page fits the height of a terminal: each part gives up what it can spare, and says so."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

Line = list[Segment]


@dataclass(frozen=True)
class Part:
    """A heading that stays, and items of which as many are shown as there is room for.

    `least` lines are wanted before any other part gets more; `newest`: the last items are shown, else the first. What
    is left out is told by `more`, where there is such a sentence: it takes `{count}`. `brief` stands for all of it
    where the terminal is so low that not every part can have what it wants.
    """

    heading: Sequence[RenderableType] = ()
    items: Sequence[RenderableType] = ()
    least: int = 2
    newest: bool = False
    more: str = ""
    brief: Sequence[RenderableType] | None = None


@dataclass
class _Drawn:
    part: Part
    heading: list[Line]
    items: list[list[Line]]
    room: int = 0
    wanted: int = field(init=False)
    least: int = field(init=False)

    def __post_init__(self) -> None:
        self.wanted = len(self.heading) + sum(map(len, self.items))
        self.least = min(self.wanted, self.part.least)


class Fitted:
    """Parts, one below the other, that fill the terminal and never more than that."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        drawn = _all_drawn(self._parts, console, options)
        if sum(each.least for each in drawn) > height:
            parts = [part if part.brief is None else Part((), part.brief, least=part.least) for part in self._parts]
            drawn = _all_drawn(parts, console, options)
        # Each has a blank line above it where nothing has to be given up for that.
        apart = sum(each.least for each in drawn) + len(drawn) - 1 <= height
        _share(drawn, height - (len(drawn) - 1 if apart else 0))
        lines: list[Line] = []
        spare = 0
        for each in drawn:
            each.room += spare
            shown = _shown(each, console, options)
            spare = max(each.room - len(shown), 0)  # an item that did not fit leaves lines to those below
            lines += [[]] if apart and lines and shown else []
            lines += shown
        for line in lines[:height]:
            yield from line
            yield Segment.line()


def _all_drawn(parts: Sequence[Part], console: Console, options: ConsoleOptions) -> list[_Drawn]:
    return [each for part in parts if (each := _drawn(part, console, options)).wanted]


def _drawn(part: Part, console: Console, options: ConsoleOptions) -> _Drawn:
    def lines(each: RenderableType) -> list[Line]:
        return console.render_lines(each, options.update(height=None), pad=False)

    return _Drawn(part, [line for each in part.heading for line in lines(each)], [lines(each) for each in part.items])


def _share(drawn: Sequence[_Drawn], height: int) -> None:
    """Give each what it wants at least, first those that want little, then line by line what is left."""
    left = height
    for each in sorted(drawn, key=lambda each: each.least):
        each.room = min(each.least, max(left, 0))
        left -= each.room
    while left > 0 and (hungry := [each for each in drawn if each.room < each.wanted]):
        for each in hungry[:left]:
            each.room += 1
        left -= len(hungry[:left])


def _shown(drawn: _Drawn, console: Console, options: ConsoleOptions) -> list[Line]:
    if drawn.wanted <= drawn.room:
        return [*drawn.heading, *(line for item in drawn.items for line in item)]
    heading, room = drawn.heading[: drawn.room], drawn.room - len(drawn.heading)
    items = drawn.items[::-1] if drawn.part.newest else drawn.items
    room -= 1 if drawn.part.more and room > 0 else 0
    kept: list[list[Line]] = []
    for item in items:
        if len(item) > room:
            break
        room -= len(item)
        kept.append(item)
    body = [line for item in (kept[::-1] if drawn.part.newest else kept) for line in item]
    if not drawn.part.more or len(heading) == drawn.room:
        return [*heading, *body]
    told = Text(drawn.part.more.format(count=len(items) - len(kept)), style="dim", no_wrap=True, overflow="ellipsis")
    return [*heading, *body, *console.render_lines(told, options.update(height=None), pad=False)]
