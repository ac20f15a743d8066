"""Others' deaths: some users withdraw, the provider says so in its own words, and nobody who lives may notice.

The test runs it for some lives of a few grants; with the figures that it was first seen with:

    python -m tests.acceptance.dying --dialect atlassian --grants 300 --dead 60 --lifetime 30 --minutes 2
"""

import time
from collections import Counter
from dataclasses import dataclass, field

import click

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.long_form import judged, machine_for
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually

SHARE_OF_LIFE = 0.1  # for which a living grant may be stale
ASKED_SOON = 6  # times: at once, and 1/4, 1/2, 1, 2 and 4 lives later


@dataclass
class DyingReport:
    """What the applications and the provider saw from the first withdrawal on."""

    lifetime: float
    living: int
    stale_for: dict[str, float] = field(default_factory=dict)  # seconds on end, at most, of those that live
    asked_in_vain: Counter[str] = field(default_factory=Counter)  # by ref of those that died
    statuses: dict[str, int] = field(default_factory=dict)

    def faults(self) -> list[str]:
        """Name whatever is not as promised."""
        stale = {ref: seconds for ref, seconds in self.stale_for.items() if seconds > SHARE_OF_LIFE * self.lifetime}
        often = {ref: count for ref, count in self.asked_in_vain.items() if count > ASKED_SOON}
        checks = {
            "living grants went stale": bool(stale),
            "dead grants were asked too often": bool(often),
            "somebody was declared dead": set(self.statuses) != {"active"},
        }
        return [f"{fault}: {self.told()}" for fault, seen in checks.items() if seen]

    def told(self) -> str:
        """In a line."""
        stale = sorted(self.stale_for.values(), reverse=True)
        return (
            f"of {self.living} living grants with lives of {self.lifetime:g} s {len(stale)} were seen stale,"
            f" for {max(stale, default=0):.1f} s at most; {len(self.asked_in_vain)} dead ones were asked in vain"
            f" {max(self.asked_in_vain.values(), default=0)} times at most; {self.statuses}"
        )


def let_die(
    installation: Installation, provider: Simulated, *, grants: int, dead: int, lifetime: float, seconds: float
) -> DyingReport:
    """Take over grants, let some of their users withdraw at one instant, and look at the others for a while."""
    begin(installation, provider, grants=grants, renewed_at_once=True)
    eventually(lambda: len(provider.refreshes()) == grants, timeout=30 + 2 * lifetime)
    refs = [f"app-{n}" for n in range(1, grants + 1)]
    gone = refs[:: grants // dead][:dead]
    provider.end_by_user(gone)
    report = DyingReport(lifetime, living=grants - dead)
    since, begun = time.time(), time.monotonic()
    _watch(installation, set(refs) - set(gone), report, until=begun + seconds)
    report.asked_in_vain.update(
        request["ref"] for request in provider.asked() if request["ref"] in gone and request["at"] > since
    )
    report.statuses = installation.statuses("app")
    return report


def _watch(installation: Installation, living: set[str], report: DyingReport, *, until: float) -> None:
    stale_since: dict[str, float] = {}
    while (now := time.monotonic()) < until:
        stale = living - installation.handed_out().keys()
        stale_since = {ref: stale_since.get(ref, now) for ref in stale}
        for ref, since in stale_since.items():
            report.stale_for[ref] = max(now - since, report.stale_for.get(ref, 0.0))
        time.sleep(0.2)


@click.command()
@click.option("--dialect", default="atlassian", show_default=True, help="Whose word for a dead refresh token.")
@click.option("--grants", default=300, show_default=True)
@click.option("--dead", default=60, show_default=True, help="Users who withdraw at one instant.")
@click.option("--lifetime", default=30.0, show_default=True, help="Seconds that an access token lives.")
@click.option("--minutes", default=2.0, show_default=True)
def main(*, dialect: str, grants: int, dead: int, lifetime: float, minutes: float) -> None:
    """Let a share of a fleet die in a provider's own words, and look at those who live."""
    with simulated("immediate", lifetime=lifetime, dialect=dialect) as provider, machine_for("dying") as machine:
        report = let_die(machine, provider, grants=grants, dead=dead, lifetime=lifetime, seconds=60 * minutes)
    judged(report.told(), report.faults())


if __name__ == "__main__":
    main()
