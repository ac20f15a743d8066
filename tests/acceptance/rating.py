"""A client's rate: kept by the provider's own count with everything due at once, and after a 429 as well.

The test runs it at 600 a minute for three quarters of one; with Event Temple's numbers:

    python -m tests.acceptance.rating --rate 100 --due 2000 --minutes 4
"""

import time
from dataclasses import dataclass
from typing import Any

import click

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import due_now, most_within
from tests.acceptance.long_form import judged, machine_for
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually

RETRY_AFTER = 3


@dataclass(frozen=True)
class RateReport:
    """What the provider saw."""

    rate: int
    seconds: float
    most_in_60_s: int
    asked: list[dict[str, Any]]

    @property
    def refused_at(self) -> list[float]:
        """When the 429s that we ordered were answered."""
        return [request["at"] for request in self.asked if request["fault"]]

    def faults(self) -> list[str]:
        """Name whatever is not as promised."""
        times, refused = [request["at"] for request in self.asked], self.refused_at
        silence = (refused[-1] + 0.5, refused[0] + RETRY_AFTER - 0.1)
        afterwards = [at for at in times if at >= silence[1]]
        each_second = self.rate / 60
        checks = {
            "it was over its rate": self.most_in_60_s > self.rate,
            # The rate is spread evenly: no part of a minute holds more than its share, and a second made up for.
            "it was over its rate for a while": most_within(times, 20) > 21 * each_second,
            "the provider had to refuse it": any(request["outcome"] == "too_many_requests" for request in self.asked),
            "it sent while it was asked to wait": any(silence[0] < at < silence[1] for at in times),
            "a storm after the 429s": most_within(afterwards, 1) > 2 * each_second + 2,
            "what may be sent was not sent": most_within(afterwards, 20) < 0.8 * each_second * 20,
        }
        return [f"{fault}: {self.told()}" for fault, seen in checks.items() if seen]

    def told(self) -> str:
        """In a line."""
        return (
            f"{len(self.asked)} requests in {self.seconds:.0f} s at {self.rate} a minute,"
            f" at most {self.most_in_60_s} in any 60 s; {len(self.refused_at)} answered 429"
        )


def overload(installation: Installation, provider: Simulated, *, rate: int, due: int, seconds: float) -> RateReport:
    """Let far more be due than the rate allows, with some 429s in between; worker and beat run already."""
    installation.register("app", [*provider.registration(), "--rate", f"{rate}/minute"], provider.secret)
    installation.import_grants("app", due_now(provider, due))
    eventually(provider.asked, timeout=60)
    begun = time.time()
    eventually(lambda: len(provider.asked()) > rate // 6, timeout=60)
    headers = {"Retry-After": str(RETRY_AFTER)}
    provider.control.add_fault("status", where="token", status=429, headers=headers, count=3)
    eventually(lambda: time.time() > begun + seconds, timeout=seconds + 20, every=1)
    return RateReport(
        rate=rate,
        seconds=time.time() - begun,
        most_in_60_s=provider.control.summary("app")["requests"]["most_in_60_s"],
        asked=provider.asked(),
    )


@click.command()
@click.option("--rate", default=100, show_default=True, help="Requests a minute.")
@click.option("--due", default=2000, show_default=True, help="Grants that are due at once.")
@click.option("--minutes", default=4.0, show_default=True)
def main(*, rate: int, due: int, minutes: float) -> None:
    """Let far more be due than a client's rate allows, and let the provider count."""
    with simulated("on_use", lifetime=7200, rate=rate) as provider, machine_for("rate") as machine:
        report = overload(machine, provider, rate=rate, due=due, seconds=60 * minutes)
    judged(report.told(), report.faults())


if __name__ == "__main__":
    main()
