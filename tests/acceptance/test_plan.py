"""What `evergrant plan` says of a fleet is what then happens to it, by the provider's own ledger."""

import json
import re
from itertools import pairwise
from statistics import mean, median

import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.providers import Simulated, call, simulated
from tests.polling import eventually

LIFETIME = 6.0
GRANTS = 12
# Each has to be renewed every 4 s: 180 requests a minute.
RATES = {"fits": 240, "behind": 80}


def test_a_fleet_that_fits_stays_fresh_and_one_that_does_not_falls_behind_by_what_plan_said(
    installation: Installation,
) -> None:
    with simulated("family", lifetime=LIFETIME) as roomy, simulated("family", lifetime=LIFETIME) as narrow:
        providers = {"fits": roomy, "behind": narrow}
        installation.worker()
        installation.beat()
        for name, provider in providers.items():
            options = [*provider.registration(), "--rate", f"{RATES[name]}/minute"]
            installation.register(name, options, provider.secret)
            installation.import_grants(name, provider.mint(GRANTS, f"{name}-"))
        said = {line["client"]: line for line in map(json.loads, planned(installation))}
        assert (said["fits"]["fits"], said["behind"]["fits"]) == (True, False)

        eventually(lambda: times_renewed(narrow) >= 1, timeout=40)
        fresh: list[dict[str, int]] = []
        eventually(lambda: sample(installation, fresh) and times_renewed(narrow) >= 2, timeout=40, every=0.25)

        assert min(each["fits"] for each in fresh) == GRANTS
        assert median(waits(roomy)) == pytest.approx(said["fits"]["renewed_every_seconds"], rel=0.2)
        assert median(waits(narrow)) == pytest.approx(said["behind"]["renewed_every_seconds"], rel=0.2)
        stale = 1 - mean(each["behind"] for each in fresh) / GRANTS
        assert stale == pytest.approx(said["behind"]["stale_share"], abs=0.15)
        eventually(
            lambda: counted(installation) == {name: renewed(each) for name, each in providers.items()}, timeout=20
        )
        assert {request["status"] for provider in providers.values() for request in provider.asked()} == {200}


def planned(installation: Installation) -> list[str]:
    """What plan says; it exits 1, since one fleet does not fit."""
    return installation.command("plan", "--json", exit_code=1).splitlines()


def sample(installation: Installation, fresh: list[dict[str, int]]) -> bool:
    """Note how many access tokens are handed out now."""
    fresh.append(dict(installation.fresh()))
    return True


def times_renewed(provider: Simulated) -> int:
    """How often the grant that was renewed least has been."""
    found = provider.refreshes()
    return min(map(len, found.values())) if len(found) == GRANTS else 0


def renewed(provider: Simulated) -> int:
    """How many token sets were issued for a refresh."""
    return sum(map(len, provider.refreshes().values()))


def counted(installation: Installation) -> dict[str, int]:
    """The same as the worker's metrics tell."""
    (row,) = installation.rows("select metrics_port from evergrant.processes where kind = 'worker'")
    _, text = call(f"http://127.0.0.1:{row['metrics_port']}", "GET", "/metrics")
    found = re.findall(r'^evergrant_refreshes_total{client="(\w+)",outcome="refreshed"} (\S+)$', text, re.MULTILINE)
    return {client: int(float(count)) for client, count in found}


def waits(provider: Simulated) -> list[float]:
    """The seconds between two token sets of a grant, each."""
    return [later - earlier for times in provider.refreshes().values() for earlier, later in pairwise(times)]
