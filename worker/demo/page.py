"""The live page of a demo on a terminal: both sides' counts, a mark for each grant, and what has happened so far.

It fits 80 columns and 24 lines; a larger terminal shows more of what happened.
"""

from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from worker.demo.plan import OURS, USUAL, Plan
from worker.demo.result import Result
from worker.demo.screen import COUNTED, NAMES, ROWS, Screen, conclusion, summary_rows
from worker.demo.sides import Sample, State

FRAME_SECONDS = 0.25
BARS = "▁▂▃▄▅▆▇█"
MARKS = {
    State.LATE: ("!", "bold yellow"),
    State.IN_DOUBT: ("?", "bold magenta"),
    State.SUSPECT: ("s", "bold magenta"),
    State.NEEDS_CONSENT: ("✗", "bold red"),
    State.PAUSED: ("·", "dim"),
    State.REVOKING: ("◌", "dim"),
    State.REVOKED: ("○", "dim"),
}
ALARMING = {"late": "yellow", "in doubt": "magenta", "suspect": "magenta", "needs consent": "red", "lost": "bold red"}
# The title, the table with its heading, the marks with their legend, and the blank lines between.
_FIXED_LINES = 18
_TIME_WIDTH = 7


class LiveScreen(Screen):
    """A page that is drawn again and again; a recording is given each one, and the last with the conclusion."""

    def __init__(
        self,
        plan: Plan,
        console: Console | None = None,
        *,
        on_frame: Callable[[float, RenderableType], None] = lambda _at, _page: None,
        on_conclusion: Callable[[RenderableType], None] = lambda _page: None,
    ) -> None:
        self.console = console or Console(highlight=False)
        super().__init__(lambda line: self.console.print(line, markup=False))
        self._plan = plan
        self._on_frame = on_frame
        self._on_conclusion = on_conclusion
        self._events: list[tuple[float, str]] = []
        self._samples: Mapping[str, Sample] = {}
        self._drawn_at = -FRAME_SECONDS
        self._live: Live | None = None

    def prepare(self, sentence: str) -> None:
        """Tell a step of the set-up."""
        self.console.print(Text(sentence, style="dim"))

    def follow(self, plan: Plan) -> None:
        """Show the story of this plan."""
        self._plan = plan

    def begin(self) -> None:
        """Start the story's clock, and the page."""
        super().begin()
        self._live = Live(console=self.console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def announce(self, sentence: str) -> None:
        """Tell what happens now."""
        self._events.append((self.at, sentence))
        self._draw()

    def show(self, samples: Mapping[str, Sample]) -> None:
        """Draw the page, some times a second."""
        self._samples = samples
        if self.at - self._drawn_at >= FRAME_SECONDS:
            self._draw()

    def sample(self, samples: Mapping[str, Sample]) -> None:
        """Draw the page now."""
        self._samples = samples
        self._draw()

    def conclude(self, result: Result, commands: Sequence[str]) -> None:
        """Leave the last page where it is, and tell what came of it below."""
        self.close()
        summary = summary_table(result)
        lines = Text("\n".join(conclusion(result, commands)))
        lines.highlight_regex(r"(?m)^grants lost .*$", "bold")
        for part in (Text(), summary, lines):
            self.console.print(part)
        self._on_conclusion(Group(*self._page(events=False).renderables, summary, lines))

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> None:
        self._drawn_at = self.at
        page = self._page()
        if self._live is not None:
            self._live.update(page, refresh=True)
        self._on_frame(self.at, page)

    def _page(self, *, events: bool = True) -> Group:
        width = self.console.width
        parts: list[RenderableType] = [self._title(), Text()]
        if self._samples:
            parts += [counts_table(self._samples), Text(), *marks(self._samples, self._plan, width), Text()]
        if events:
            parts.append(self._events_that_fit(width, self.console.height - _FIXED_LINES))
        return Group(*parts)

    def _title(self) -> Text:
        title = Text("Evergrant demo", style="bold", no_wrap=True)
        life = "lives of {} to {} s".format(*self._plan.life_seconds)
        title.append(f"   {self.at:.0f} s of about {self._plan.lasts_seconds:.0f} s   ", style="cyan")
        return title.append(f"{self._plan.grants} grants a side, {life}", style="dim")

    def _events_that_fit(self, width: int, height: int) -> Table:
        """The last events; as many as there is room for, at least one."""
        room, shown = max(height, 2), 0
        for _, sentence in reversed(self._events):
            room -= -(-cell_len(sentence) // max(width - _TIME_WIDTH - 2, 20))
            if room < 0 and shown:
                break
            shown += 1
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", style="cyan", no_wrap=True, min_width=_TIME_WIDTH - 1)
        table.add_column(overflow="fold")
        for number, (at, sentence) in enumerate(self._events[-shown:] if shown else (), start=1):
            table.add_row(f"{at:.0f} s", Text(sentence, style="bold" if number == shown else ""))
        return table


def counts_table(samples: Mapping[str, Sample]) -> Table:
    """Each count of both sides; what Evergrant alone knows of itself has a dash on the other side."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("", min_width=34)
    for side in (USUAL, OURS):
        table.add_column(NAMES[side], justify="right", min_width=13)
    for name, states in ROWS:
        counts = {side: sample.count(*states) for side, sample in samples.items()}
        table.add_row(name, *(_cell(name, side, counts.get(side, 0)) for side in (USUAL, OURS)))
    refreshes = [Text(str(samples[side].refreshes)) for side in (USUAL, OURS)]
    table.add_row("refreshes, says the provider", *refreshes)
    table.add_row(
        "lost, says the provider's ledger", *(_cell("lost", side, samples[side].lost) for side in (USUAL, OURS))
    )
    return table


def _cell(name: str, side: str, count: int) -> Text:
    if side == USUAL and name in ("in doubt", "suspect"):
        return Text("-", style="dim")
    return Text(str(count), style=ALARMING.get(name, "") if count else "dim")


def marks(samples: Mapping[str, Sample], plan: Plan, width: int) -> list[Text]:
    """One mark for each grant: how much of its access token's life is left, or what is the matter with it."""
    label = max(len(NAMES[side]) for side in NAMES) + 3
    refs, longest = list(plan.lives)[: width - label], plan.life_seconds[1]
    lines = []
    for side in (USUAL, OURS):
        line = Text(f"{NAMES[side]:<{label}}", no_wrap=True)
        for ref in refs:
            line.append_text(_mark(samples[side], ref, longest))
        lines.append(line)
    legend = Text(" " * label, style="dim", no_wrap=True, overflow="ellipsis")
    legend.append("▁█ life left  ! late  ? in doubt  s suspect  ✗ needs consent")
    return [*lines, legend]


def _mark(sample: Sample, ref: str, longest: int) -> Text:
    state = sample.states.get(ref, State.PAUSED)
    if state is not State.FRESH:
        return Text(*MARKS[state])
    share = min(max(sample.left.get(ref, 0) / longest, 0), 0.999)
    return Text(BARS[int(share * len(BARS))], style="green")


def summary_table(result: Result) -> Table:
    """What the ledger counted."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(COUNTED)
    for side in (USUAL, OURS):
        table.add_column(NAMES[side], justify="right")
    for name, usual, ours in summary_rows(result):
        table.add_row(name, usual, ours)
    return table
