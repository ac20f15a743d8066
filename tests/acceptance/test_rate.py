"""A client's rate: kept by the provider's own count, and after a 429 as well."""

import time

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin, due_now, most_within
from tests.acceptance.providers import simulated
from tests.polling import eventually

RATE = 600  # a minute; a tenth of a second between two
DUE = 2000


def test_a_client_with_2000_due_grants_is_never_over_its_rate_and_recovers_from_429_without_a_storm(
    installation: Installation,
) -> None:
    with simulated("on_use", lifetime=7200, rate=RATE) as provider:
        begin(installation, provider, grants=0, options=["--rate", f"{RATE}/minute"])
        installation.import_grants("app", due_now(provider, DUE))
        eventually(provider.asked, timeout=60)
        begun = time.time()
        eventually(lambda: len(provider.asked()) > 100, timeout=60)
        provider.control.add_fault("status", where="token", status=429, headers={"Retry-After": "3"}, count=3)
        eventually(lambda: time.time() > begun + 62, timeout=70, every=1)
        asked = provider.asked()

        assert provider.control.summary("app")["requests"]["most_in_60_s"] <= RATE
        assert [request for request in asked if request["outcome"] == "rate_limited"] == []
        refused = [request["at"] for request in asked if request["fault"]]
        times = [request["at"] for request in asked]
        # What was on its way ends; then nothing is sent until the provider's three seconds are over.
        assert [at - refused[0] for at in times if refused[-1] + 0.5 < at < refused[0] + 2.9] == []
        afterwards = [at for at in times if at > refused[0] + 2.9]
        assert most_within(afterwards, 1) <= 2 * RATE / 60 + 1
        assert len(times) > 0.7 * RATE  # and what may be sent is sent
        assert provider.presented_twice() == 0
        assert installation.statuses("app") == {"active": DUE}
