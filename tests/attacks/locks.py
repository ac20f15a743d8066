"""Open transactions of applications, and messages for the grants that they hold: who waits for whom?

The tests run it with a few grants for fewer rounds; measured with more of them, on engines of its own:

    python -m tests.attacks.locks --messages 240 --transactions 5
    python -m tests.attacks.locks --messages 24 --transactions 1
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
from celery import Celery

from tests.acceptance.conftest import QUICK
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.providers import Simulated, simulated
from tests.attacks.stranger import Stranger
from tests.polling import eventually
from worker.embedded.engines import Engines

LIFETIME = 9.0
ROUNDS = 3  # so often are the others renewed while the attack goes on
REVOCATION = "evergrant.request_revocation"
REFRESH = "evergrant.request_refresh"


@dataclass(frozen=True)
class Attack:
    """What the provider saw of the grants that nobody attacked."""

    waits: list[float]  # seconds between two token sets of a grant
    late: list[float]  # seconds by which a grant was renewed after it had become due
    fewest: int  # access tokens of theirs that were handed out at one time
    others: int
    seconds: float

    def told(self) -> str:
        """In two lines."""
        return (
            f"{len(self.waits)} renewals of {self.others} grants in {self.seconds:.0f} s beside the attack:"
            f" {min(self.waits):.1f} to {max(self.waits):.1f} s apart, {max(self.late):.2f} s late at the worst\n"
            f"access tokens handed out at the fewest: {self.fewest}"
        )


def send(installation: Installation, task: str, refs: Sequence[str], count: int) -> None:
    """Send so many messages that ask for something of these grants, as an application does."""
    url = installation.env["EVERGRANT_BROKER_URL"]
    sender = Celery("shop", broker=url, config_source="celeryconfig", set_as_current=False)
    with sender.connection_for_write() as connection:
        for number in range(count):
            sender.send_task(task, args=[refs[number % len(refs)]], queue="upkeep", connection=connection)


def renewed(provider: Simulated, refs: Sequence[str], *, after: float) -> int:
    """How often those of these grants that were renewed the least were since then."""
    times = provider.refreshes()
    return min(sum(each > after for each in times.get(ref, [])) for ref in refs)


def attack(
    installation: Installation,
    provider: Simulated,
    others: Sequence[str],
    strangers: Sequence[Stranger],
    *,
    rounds: int = ROUNDS,
) -> Attack:
    """Watch the grants that nobody holds while strangers hold others; it ends with the strangers still there."""
    begun = time.time()
    fewest, late = len(others), [0.0]

    def went_round() -> bool:
        nonlocal fewest
        fewest = min(fewest, len(installation.handed_out().keys() & set(others)))
        late.extend(row["s"] for row in installation.rows(LATE, [list(others)]))
        return renewed(provider, others, after=begun) >= rounds

    eventually(went_round, timeout=120, every=0.2)
    assert all(stranger.still_holds() for stranger in strangers)
    times = provider.refreshes()
    gaps = [b - a for ref in others for a, b in pairwise(times[ref]) if b > begun]
    return Attack(gaps, late, fewest, len(others), time.time() - begun)


# What is due and not under way at the provider: beat has not claimed it, or nobody has started what beat has claimed.
LATE = """
    select extract(epoch from clock_timestamp() - case when claimed_at is null then due_at else claimed_at end)::float
        as s
    from evergrant.grants
    where ref = any (%s) and status = 'active' and (claimed_at is not null or due_at < clock_timestamp())
        and started_at is null
"""


def hold(installation: Installation, refs: Sequence[str], running: ExitStack) -> list[Stranger]:
    """Begin a transaction for each that asks for its end and does not commit."""
    strangers = [running.enter_context(Stranger(installation, f"shop-{ref}")) for ref in refs]
    for stranger, ref in zip(strangers, refs, strict=True):
        stranger.says("select evergrant.request_revocation(%s)", ref)
    return strangers


@click.command()
@click.option("--grants", default=200, show_default=True)
@click.option("--messages", default=240, show_default=True)
@click.option("--transactions", default=5, show_default=True)
def main(*, grants: int, messages: int, transactions: int) -> None:
    """Let open transactions hold grants, send messages for these, and see how late the others become."""
    folder = Path(tempfile.mkdtemp(prefix="evergrant-locks-"))
    click.echo(f"logs: {folder}")
    with ExitStack() as running:
        engines = running.enter_context(Engines(folder / "engines"))
        provider = running.enter_context(simulated("family", lifetime=LIFETIME))
        urls = {"database_url": engines.database_url or "", "broker_url": engines.broker_url or ""}
        installation = Installation.made(folder / "installation", **urls, **QUICK)
        running.callback(installation.close)
        begin(installation, provider, grants=grants)
        refs = [f"app-{n}" for n in range(1, grants + 1)]
        eventually(lambda: renewed(provider, refs, after=0) >= 1, timeout=120)
        click.echo("quiet:\n" + attack(installation, provider, refs[transactions:], []).told())
        strangers = hold(installation, refs[:transactions], running)
        send(installation, REVOCATION, refs[:transactions], messages)
        click.echo("attacked:\n" + attack(installation, provider, refs[transactions:], strangers).told())


if __name__ == "__main__":
    main()
