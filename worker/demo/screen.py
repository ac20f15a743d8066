"""How a demo is shown: plain lines in a pipe, one JSON object a line for programs. The live page is in page.py."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from worker.demo.plan import OURS, USUAL, Plan
from worker.demo.result import Result, SideResult
from worker.demo.sides import Sample, State

Write = Callable[[str], None]

NAMES = {USUAL: "the usual job", OURS: "Evergrant"}
SAMPLE_EVERY_SECONDS = 5.0
NAMED = 3
COUNTED = "Counted by the provider's ledger"
_NAME_WIDTH = 46
ROWS = (
    ("active", (State.FRESH, State.LATE, State.IN_DOUBT, State.SUSPECT)),
    ("fresh", (State.FRESH, State.IN_DOUBT)),
    ("late", (State.LATE,)),
    ("in doubt", (State.IN_DOUBT,)),
    ("suspect", (State.SUSPECT,)),
    ("needs consent", (State.NEEDS_CONSENT,)),
    ("revoked", (State.REVOKED,)),
)


class Screen(ABC):
    """What the demo needs of a screen. `prepare` tells of the set-up, `begin` starts the story's clock."""

    def __init__(self, write: Write) -> None:
        self.write = write
        self._began = time.monotonic()
        self._sampled_at = 0.0

    @property
    def at(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._began

    def begin(self) -> None:
        """Start the story's clock."""
        self._began = time.monotonic()
        self._sampled_at = -SAMPLE_EVERY_SECONDS  # the first that there is, before anything befalls either side

    @abstractmethod
    def prepare(self, sentence: str) -> None:
        """Tell a step of the set-up."""

    def follow(self, plan: Plan) -> None:  # noqa: B027  # most screens show nothing of it
        """Show the story of this plan."""

    @abstractmethod
    def announce(self, sentence: str) -> None:
        """Tell what happens now."""

    def show(self, samples: Mapping[str, Sample]) -> None:
        """Show how both sides are, now and then."""
        if samples and self.at - self._sampled_at >= SAMPLE_EVERY_SECONDS:
            self._sampled_at = self.at
            self.sample(samples)

    @abstractmethod
    def sample(self, samples: Mapping[str, Sample]) -> None:
        """Show how both sides are."""

    @abstractmethod
    def conclude(self, result: Result, commands: Sequence[str]) -> None:
        """Tell what came of it, and the commands to go on with."""

    def close(self) -> None:  # noqa: B027  # most screens change nothing of it
        """Leave the terminal as it was."""


class PlainScreen(Screen):
    """Lines of text."""

    def prepare(self, sentence: str) -> None:
        """Tell a step of the set-up."""
        self.write(sentence)

    def announce(self, sentence: str) -> None:
        """Tell what happens now."""
        self.write(f"{self.at:5.0f} s  {sentence}")

    def sample(self, samples: Mapping[str, Sample]) -> None:
        """Show how both sides are."""
        for side, sample in sorted(samples.items(), reverse=True):
            counts = ", ".join(f"{sample.count(*states)} {name}" for name, states in ROWS if sample.count(*states))
            told = f"{counts}; {sample.refreshes} refreshes; {sample.lost} lost"
            self.write(f"{self.at:5.0f} s  {NAMES[side]:>13}: {told}")

    def conclude(self, result: Result, commands: Sequence[str]) -> None:
        """Tell what came of it, and the commands to go on with."""
        self.write("")
        self.write(f"{COUNTED:<{_NAME_WIDTH}}{NAMES[USUAL]:>14} |{NAMES[OURS]:>10}")
        for name, usual, ours in summary_rows(result):
            self.write(f"{name:<{_NAME_WIDTH}}{usual:>14} |{ours:>10}")
        for line in conclusion(result, commands):
            self.write(line)


class JsonScreen(Screen):
    """One JSON object a line, told apart by `event`: prepare, announce, sample, summary."""

    def prepare(self, sentence: str) -> None:
        """Tell a step of the set-up."""
        self._line("prepare", text=sentence)

    def announce(self, sentence: str) -> None:
        """Tell what happens now."""
        self._line("announce", text=sentence)

    def sample(self, samples: Mapping[str, Sample]) -> None:
        """Show how both sides are."""
        self._line("sample", **{side.replace("-", "_"): _counts(sample) for side, sample in samples.items()})

    def conclude(self, result: Result, commands: Sequence[str]) -> None:
        """Tell what came of it, and the commands to go on with."""
        sides = {side.replace("-", "_"): _facts(each) for side, each in result.sides.items()}
        self._line("summary", **sides, dead_letters=result.dead_letters, next=list(commands))

    def _line(self, event: str, **members: object) -> None:
        self.write(json.dumps({"event": event, "at_seconds": round(self.at, 1), **members}))


def _counts(sample: Sample) -> dict[str, int]:
    counts = {name.replace(" ", "_"): sample.count(*states) for name, states in ROWS}
    return counts | {"refreshes": sample.refreshes, "lost": sample.lost}


def _facts(side: SideResult) -> dict[str, object]:
    return {**asdict(side), "lost": len(side.lost), "lost_refs": dict(side.lost)}


def summary_rows(result: Result) -> list[tuple[str, str, str]]:
    """The summary's rows: what was counted, of the usual job, of Evergrant."""
    usual, ours = result.sides[USUAL], result.sides[OURS]

    def row(name: str, of: Callable[[SideResult], object]) -> tuple[str, str, str]:
        return name, str(of(usual)), str(of(ours))

    return [
        row("refreshes", lambda side: side.refreshes),
        row("requests with a wrong secret", lambda side: side.wrong_secret),
        row("API calls without a good access token", lambda side: side.api_failed),
        row("given up because the user revoked it, rightly", lambda side: side.given_up_rightly),
        row("told to be revoked, and alive at the provider", lambda side: side.revoked_but_alive),
        row("tokens presented twice to the strict provider", lambda side: side.used_twice),
    ]


def conclusion(result: Result, commands: Sequence[str]) -> list[str]:
    """What follows the summary: the point of it, why grants were lost, and how to go on."""
    usual, ours = (len(result.sides[side].lost) for side in (USUAL, OURS))
    point = f"grants lost {usual} | {ours}   (the usual job | Evergrant)"
    reasons = [line for side in (USUAL, OURS) for line in _reasons(NAMES[side], result.sides[side].lost)]
    return ["", *reasons, point, "", "Go on with:", *(f"  {_folded(each)}" for each in commands)]


def _reasons(name: str, lost: Mapping[str, str]) -> list[str]:
    """One line for each reason, with the first refs."""
    by_reason: dict[str, list[str]] = {}
    for ref, why in lost.items():
        by_reason.setdefault(why, []).append(ref)
    return [
        f"{name}: {len(refs)} {why} ({', '.join(refs[:NAMED])}{', …' if len(refs) > NAMED else ''})"
        for why, refs in by_reason.items()
    ]


def _folded(command: str) -> str:
    """A long command on two lines, as a shell takes it."""
    return command.replace(" --client-id", " \\\n      --client-id")
