"""A herd: so many grants whose access tokens all end in the same second, renewed once each within the burst.

    python -m tests.acceptance.herd --grants 100000

The import says `expires_at`, the same for all, already over: the worst moment. Exits 1 where anything is not as
promised. The test runs it with 1500.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from tests.acceptance.installation import Installation
from tests.acceptance.long_form import judged, machine_for
from tests.acceptance.providers import Simulated, simulated

BURST = 2000  # as a client without a rate has it where a lost answer costs nothing; here the provider is strict as well
UNDER_WAY = """
select count(*) as n from evergrant.grants where due_at > clock_timestamp() and (claimed_at is not null
    or started_at is not null)
"""


@dataclass(frozen=True)
class HerdReport:
    """What was seen."""

    grants: int
    seconds: float
    renewed: int
    requests: int
    presented_twice: int
    most_under_way: int
    statuses: dict[str, int]

    def faults(self) -> list[str]:
        """Name whatever is not as promised."""
        checks = {
            f"only {self.renewed} were renewed": self.renewed != self.grants,
            f"{self.requests} requests": self.requests != self.grants,
            f"{self.presented_twice} refresh tokens were presented twice": self.presented_twice > 0,
            f"{self.most_under_way} were under way at once": self.most_under_way > BURST,
            f"not every grant is active: {self.statuses}": self.statuses != {"active": self.grants},
        }
        return [fault for fault, seen in checks.items() if seen]

    def told(self) -> str:
        """In a line."""
        return (
            f"{self.grants} grants with one expiry: {self.renewed} renewed in {self.seconds:.1f} s"
            f" ({self.renewed / self.seconds:.0f} a second) by {self.requests} requests,"
            f" at most {self.most_under_way} under way at once"
        )


def run_herd(installation: Installation, provider: Simulated, *, grants: int, seconds: float) -> HerdReport:
    """Take over so many grants that end in one second, and wait until all are renewed; worker and beat run."""
    ended = datetime.now(UTC).isoformat()
    rows = [
        {name: row[name] for name in ("ref", "refresh_token", "access_token")} | {"expires_at": ended}
        for row in provider.mint(grants, "herd-")
    ]
    installation.register("herd", [*provider.registration(), "--burst", str(BURST)], provider.secret)
    installation.import_grants("herd", rows)
    begun, most = time.monotonic(), 0
    while installation.fresh()["herd"] < grants and time.monotonic() - begun < seconds:
        most = max(most, installation.rows(UNDER_WAY)[0]["n"])
        time.sleep(0.2)
    summary = provider.control.summary(provider.client_id)
    return HerdReport(
        grants=grants,
        seconds=time.monotonic() - begun,
        renewed=installation.fresh()["herd"],
        requests=summary["refreshes"],
        presented_twice=provider.presented_twice(),
        most_under_way=most,
        statuses=installation.statuses("herd"),
    )


@click.command()
@click.option("--grants", default=100_000, show_default=True)
@click.option("--workers", default=1, show_default=True)
def main(*, grants: int, workers: int) -> None:
    """Renew a herd on one machine, and let the provider count."""
    with simulated("immediate", lifetime=7200) as provider, machine_for("herd", workers=workers) as machine:
        report = run_herd(machine, provider, grants=grants, seconds=60 + grants / 20)
    judged(report.told(), report.faults())


if __name__ == "__main__":
    main()
