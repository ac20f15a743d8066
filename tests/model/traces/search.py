"""Search: can the model do what was seen? SPIN follows many traces in one search, and tells how far each could go."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.model.spin import DEEPEST, Broken, run, verifier
from tests.model.traces.event import Trace
from tests.model.traces.window import PAIRS

AT_ONCE = 100
# Each of these frees the model to do more; a trace says what of it was seen. `replayed_late` is what the code does.
SWITCHES = ("-DTRACE", "-DREFUSALS", "-DWITHDRAWAL", "-DREVOCATION", "-DOPEN_REPLAYED_LATE")
OF_PROFILE = {
    "none": ("-DONE_TOKEN",),
    "grace": ("-DGUARDS_THE_SPENT",),
    "family": ("-DGUARDS_THE_SPENT",),
}
MADE_WITH = ("-DSAFETY", "-DNOREDUCE")
WENT = re.compile(r"^trace (\d+): (\d+) of (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Followed:
    """How many events of a trace the model could do, one after the other."""

    trace: Trace
    events: int

    @property
    def is_accepted(self) -> bool:
        """Whether that is all of them."""
        return self.events == len(self.trace.events)

    def story(self) -> Iterator[str]:
        """A line for each event up to the one that the model cannot do."""
        for number, event in enumerate(self.trace.events[: self.events + 1], 1):
            refused = "  <- refused" if number > self.events else ""
            yield f"{number:>5}  {event}{refused}"


class Follower:
    """A verifier of one profile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def follow(self, traces: Sequence[Trace]) -> Iterator[Followed]:
        """How far the model can follow each.

        Raises:
            Broken: the search was cut off, or failed.

        """
        for begin in range(0, len(traces), AT_ONCE):
            yield from self._follow(traces[begin : begin + AT_ONCE])

    def _follow(self, traces: Sequence[Trace]) -> Iterator[Followed]:
        lines = [str(len(traces)), *(trace.numbers() for trace in traces)]
        (self._folder / "traces.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        said = run(self._folder, ["nice", "./pan", "-A", "-E", f"-m{DEEPEST}", "-w20"])
        went = {int(number): int(events) for number, events, _ in WENT.findall(said)}
        complete = "errors: 0" in said and "max search depth too small" not in said and "out of memory" not in said
        if not complete or len(went) != len(traces):
            message = f"the verifier did not end well: {said.strip()[-500:]}"
            raise Broken(message)
        return (Followed(trace, went[number]) for number, trace in enumerate(traces))


@contextmanager
def following(profile: str, *more: str) -> Iterator[Follower]:
    """A verifier that follows traces of one profile.

    Raises:
        Missing: a tool is not there.
        Broken: a tool failed.

    """
    switches = (f"-DPROFILE={profile.upper()}", f"-DPAIRS={PAIRS}", *SWITCHES, *OF_PROFILE.get(profile, ()), *more)
    with verifier(switches, MADE_WITH) as folder:
        yield Follower(folder)
