"""What a run came to, for people: refreshes, speed, losses with their causes, violations with their story."""

from collections import Counter, defaultdict

from tests.simulation.play import Result

STORY_LINES = 60


class Report:
    """Adds up results."""

    def __init__(self) -> None:
        self.results = 0
        self.refreshes: Counter[str] = Counter()
        self.requests = 0
        self.hours = 0.0
        self.cpu = 0.0
        self.losses: dict[str, Counter[str]] = defaultdict(Counter)
        self.counted: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        self.worst = 0.0
        self.shut: Counter[int] = Counter()
        self.violations: list[str] = []

    def add(self, result: Result) -> None:
        """Count an episode."""
        self.results += 1
        self.refreshes[result.profile] += result.refreshes
        self.requests += result.requests
        self.hours += result.hours
        self.cpu += result.cpu
        self.losses[result.profile].update(result.losses)
        self.counted.update(result.counted)
        self.excused.update(result.excused)
        self.worst = max(self.worst, result.worst)
        self.shut.update(result.shut)
        if result.violation:
            self.violations.append(f"{result.profile} {result.seed}: {result.violation}")

    def line(self) -> str:
        """Progress."""
        total = self.refreshes.total()
        return f"{self.results} episodes, {total} refreshes, {len(self.violations)} violations"

    def violation(self, result: Result, mutant: str) -> str:
        """Tell a violation, the story that led there, and how to see it again."""
        kind, _, name = result.profile.rpartition(":")
        played = f"--{kind or 'profile'} {name}"
        again = f"python -m tests.simulation --seed {result.seed} {played} --episode {result.wanted}"
        if result.kind != "all":
            again += f" --weather {result.kind}"
        if mutant:
            again += f" --mutant {mutant}"
        told = [
            f"VIOLATION of {result.violation}",
            f"  at refresh {result.refreshes}, request {result.requests}, event {result.events}",
            *(f"  | {line}" for line in result.story[-STORY_LINES:]),
            f"  again: {again} [--verbose]",
        ]
        return "\n".join(told)

    def text(self, seconds: float) -> str:
        """The report."""
        total = self.refreshes.total()
        a_minute = total / self.cpu * 60 if self.cpu else 0
        lines = [
            f"{total} refreshes in {self.results} episodes, {self.requests} requests",
            f"{self.hours / 24:.0f} days of virtual time",
            f"{self.cpu:.0f} s of CPU, {seconds:.0f} s by the clock: {a_minute:.0f} refreshes a minute of CPU",
        ]
        for name, number in sorted(self.refreshes.items()):
            lost = self.losses[name]
            lines.append(f"  {name:<10} {number:>10} refreshes, {lost.total()} grants lost")
            lines += [f"{'':>13}{count:>8}  {why}" for why, count in sorted(lost.items())]
        lines += [f"  {count} requests {what}" for what, count in sorted(self.counted.items())]
        lines.append(f"  the living were stale for at most {self.worst:.3f} of a life")
        lines += [f"  {count} valves were shut by deaths for {n} canaries" for n, count in sorted(self.shut.items())]
        lines += [f"  {count} looks at a stale grant excused: {why}" for why, count in sorted(self.excused.items())]
        lines.append(f"{len(self.violations)} violations" if self.violations else "no invariant was violated")
        return "\n".join([*lines, *(f"  {each}" for each in self.violations)])
