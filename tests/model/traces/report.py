"""What following the traces came to, for people."""

import sys
from collections import Counter
from collections.abc import Sequence

from tests.model.traces.collected import Collected
from tests.model.traces.forged import KINDS, forged
from tests.model.traces.search import Followed, Follower

TOLD = 3  # stories of a profile
FORGED = 20  # of a kind and a profile


class Report:
    """Tells as it goes, and adds up what must be told at the end."""

    def __init__(self) -> None:
        self.wrong = 0
        self._windows = self._traces = 0
        self._cuts: Counter[str] = Counter()
        self._forged: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._mutants = 0

    def begin(self) -> None:
        """Tell what the lines hold that follow."""
        _tell("| of | profile | windows | traces | with trouble | events | accepted | refused | cut short |")
        _tell("| --- | --- | --: | --: | --: | --: | --: | --: | --: |")

    def followed(self, collected: Collected, found: Sequence[Followed]) -> None:
        """Tell of one profile's traces."""
        refused = [each for each in found if not each.is_accepted]
        events = sum(len(each.trace.events) for each in found)
        windows, cuts = collected.windows.total(), collected.cuts.total()
        _tell(
            f"| {collected.source} | {collected.profile} | {windows:,} | {len(found):,} | {collected.odd:,}"
            f" | {events:,} | {len(found) - len(refused):,} | {len(refused):,} | {cuts:,} |"
        )
        for each in refused[:TOLD]:
            _tell("\n".join(each.story()))
        self.wrong += len(refused)
        self._windows += windows
        self._traces += len(found)
        self._cuts.update(collected.cuts)

    def forged(self, collected: Collected, follower: Follower) -> None:
        """Make some of these traces wrong in every way, and see each refused."""
        for name, forge in KINDS.items():
            traces = list(dict.fromkeys(forged(forge, iter(collected.windows))))[:FORGED]
            found = list(follower.follow(traces))
            self._forged[name] += len(found)
            self._refused[name] += sum(not each.is_accepted for each in found)
            for each in found:
                if each.is_accepted:
                    self.wrong += 1
                    _tell(f"accepted, though {name} at {collected.profile}:\n" + "\n".join(each.story()))

    def mutant(self, name: str, collected: Collected, found: Sequence[Followed]) -> None:
        """Tell of the traces of a wrong design: one at least must be refused."""
        if not self._mutants:
            _tell("\n| wrong design | profile | traces | refused | at |\n| --- | --- | --: | --: | --- |")
        self._mutants += 1
        refused = [each for each in found if not each.is_accepted]
        at = Counter(each.trace.events[each.events].what.name.lower() for each in refused)
        told = ", ".join(f"{word} {count}" for word, count in at.most_common())
        _tell(f"| `{name}` | {collected.profile} | {len(found):,} | {len(refused):,} | {told or '**nowhere**'} |")
        self.wrong += not refused

    def end(self) -> None:
        """Tell what all of it came to."""
        _tell("\n| made wrong on purpose | what it is | traces | refused |\n| --- | --- | --: | --: |")
        for name, forge in KINDS.items():
            what = (forge.__doc__ or "").strip().rstrip(".")
            _tell(f"| `{name}` | {what} | {self._forged[name]:,} | {self._refused[name]:,} |")
        _tell("\n| a window was cut short by | times |\n| --- | --: |")
        for why, count in self._cuts.most_common():
            _tell(f"| {why} | {count:,} |")
        end = "as it must be" if not self.wrong else f"not as it must be: {self.wrong}"
        _tell(f"\n{self._windows:,} windows, {self._traces:,} different traces: {end}")


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
