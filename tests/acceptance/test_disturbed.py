"""What may break around us: workers, broker and database in mid-refresh; a provider that is unwell."""

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin, due_now, keep, most_within, trouble
from tests.acceptance.one_machine import OneMachine
from tests.acceptance.providers import simulated
from tests.polling import eventually

LIFETIME = 8.0
GRANTS = 40


def test_a_killed_worker_a_flushed_broker_and_a_database_that_stops_at_once_lose_no_grant_at_on_use(
    one_machine: OneMachine,
) -> None:
    with simulated("on_use", lifetime=LIFETIME) as provider:
        # So that answers are on their way when the kill comes.
        provider.control.add_fault("delay", where="token", delay_seconds=0.3, probability=0.3)
        reports = keep(
            one_machine,
            {"on_use": provider},
            grants=GRANTS,
            lifetime=LIFETIME,
            seconds=30,
            disturbances=trouble(one_machine, first=5, last=23),
        )
        assert reports["on_use"].faults(disturbed=True) == [], reports["on_use"].told()
    assert one_machine.supervisor.stop(90) == 0


def test_an_unwell_provider_kills_no_grant_and_all_recover(swift: Installation) -> None:
    installation = swift
    with simulated("on_use", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS)
        for fault in (
            # Once each: the first shuts the valve, and then one request at a time, ever later, meets the next.
            {"act": "status", "status": 503, "headers": {"Retry-After": "1"}, "count": 1},
            {"act": "html", "when": "after", "count": 1},
            {"act": "hang", "when": "after", "count": 1},
            {"act": "truncate"},
        ):
            provider.control.add_fault(where="token", **fault)
        eventually(lambda: not any(fault["fired"] == 0 for fault in provider.control.faults()), timeout=150)
        eventually(lambda: installation.rows("select ref from evergrant.grants where failures > 0"), timeout=60)
        # Nobody is suspected because of what the provider could not say.
        assert installation.rows("select ref from evergrant.grants where suspect_at is not null") == []
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
    with simulated("on_use", lifetime=7200) as provider:
        installation.beat()
        installation.register("app", [*provider.registration(), "--rate", "300/minute"], provider.secret)
        installation.import_grants("app", due_now(provider, 60))
        # Beat has claimed them again and again, never more than 20 at once.
        claimed = "select count(*) as n from evergrant.grants where claim_no > 0"
        eventually(lambda: installation.rows(claimed)[0]["n"] >= 50, timeout=90)
        assert provider.asked() == []
        installation.worker()
        eventually(lambda: installation.fresh() == {"app": 60}, timeout=90)
        times = [request["at"] for request in provider.asked()]
        # 300 a minute are 5 a second, and a second may be made up for; those that wait in the broker, 20 at most,
        # leave together.
        assert most_within(times, 2.0) <= 20 + 3 * 5, times
        assert provider.presented_twice() == 0
