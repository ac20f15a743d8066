"""What may break around us: workers, broker and database in mid-refresh; a provider that is unwell."""

import time

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import Disturbance, begin, keep, most_within
from tests.acceptance.programs import Running
from tests.acceptance.providers import simulated
from tests.polling import eventually
from worker.embedded.engines import Engines

LIFETIME = 8.0
GRANTS = 40


def test_a_killed_worker_a_flushed_broker_and_a_database_that_stops_at_once_lose_no_grant_at_on_use(
    lone_installation: Installation, own_engines: Engines
) -> None:
    workers = [lone_installation.worker(), lone_installation.worker()]
    lone_installation.beat()
    with simulated("on_use", lifetime=LIFETIME) as provider:
        # Answers on their way when the kill comes.
        provider.control.add_fault("delay", where="token", delay_seconds=0.3, probability=0.3)
        disturbances = [
            Disturbance(5.0, "kill -9 of a worker", lambda: replace_worker(lone_installation, workers[0])),
            Disturbance(11.0, "Valkey loses its data", lambda: own_engines.valkey.restart(flush=True)),
            Disturbance(17.0, "PostgreSQL stops at once", lambda: own_engines.postgres.restart(immediate=True)),
            Disturbance(23.0, "kill -9 of the other", lambda: replace_worker(lone_installation, workers[1])),
        ]
        reports = keep(
            lone_installation,
            {"on_use": provider},
            grants=GRANTS,
            lifetime=LIFETIME,
            seconds=30,
            disturbances=disturbances,
        )
        assert reports["on_use"].faults(disturbed=True) == [], reports["on_use"].told()


def replace_worker(installation: Installation, worker: Running) -> None:
    worker.kill()
    installation.worker(wait=False)


def test_an_unwell_provider_kills_no_grant_and_all_recover(installation: Installation) -> None:
    with simulated("on_use", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS)
        for fault in (
            {"act": "status", "status": 503, "headers": {"Retry-After": "1"}, "probability": 0.25},
            {"act": "html", "when": "after", "probability": 0.33},
            {"act": "hang", "when": "after", "probability": 0.5},
            {"act": "truncate"},
        ):
            provider.control.add_fault(where="token", **fault)
        eventually(lambda: not any(fault["fired"] == 0 for fault in provider.control.faults()), timeout=60)
        provider.control.clear_faults()
        eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=90)
        assert provider.lost() == []
        assert installation.statuses("app") == {"active": GRANTS}
        assert installation.listed("dead-letters", "list") == []


def test_sigterm_under_load_loses_nothing_and_exits_0(installation: Installation) -> None:
    with simulated("immediate", lifetime=LIFETIME) as provider:
        worker = begin(installation, provider, grants=GRANTS)
        provider.control.add_fault("delay", where="token", when="after", delay_seconds=1)
        eventually(lambda: under_way(installation) >= 10, timeout=30)
        assert worker.stop() == 0
        held = installation.refresh_tokens()
        assert all(verdict["refresh_alive"] for verdict in provider.control.judge(held).values())
        assert provider.lost() == []
        # What was started is settled or given back: nothing waits for a lease.
        assert installation.rows("select ref from evergrant.grants where started_at is not null") == []
        installation.worker()
        eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=60)
        assert provider.presented_twice() == 0


def under_way(installation: Installation) -> int:
    return len(installation.rows("select ref from evergrant.grants where started_at is not null"))


def test_no_worker_for_a_while_and_then_one_makes_no_storm(installation: Installation) -> None:
    with simulated("on_use", lifetime=LIFETIME) as provider:
        installation.beat()
        installation.register("app", [*provider.registration(), "--rate", "300/minute"], provider.secret)
        installation.import_grants("app", provider.mint(GRANTS))
        # Until all have lapsed, and beat has claimed some again and again.
        eventually(lambda: installation.fresh() == {}, timeout=60)
        claimed = "select max(claim_no) as n from evergrant.grants"
        eventually(lambda: installation.rows(claimed)[0]["n"] >= 2, timeout=60)
        assert provider.asked() == []
        begun = time.time()
        installation.worker()
        eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=60)
        times = [request["at"] for request in provider.asked()]
        # 300 a minute are 5 a second; those that wait in the broker, 20 at most, leave together.
        assert most_within(times, 2.0) <= 20 + 2 * 5, [round(at - begun, 2) for at in times]
        assert provider.presented_twice() == 0
