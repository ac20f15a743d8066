"""A machine that wears: a disk that is full, a clock that jumps, a database that is away for longer than every lease,
and a fleet that is restarted, one process after the other, with another key."""

import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import psycopg
import pytest

from models.sealing.vault import KeyRing
from tests.acceptance.conftest import QUICK, SHORT_DEADLINE
from tests.acceptance.installation import Installation, variables, vault_of
from tests.acceptance.keeping import begin
from tests.acceptance.programs import Running
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually
from worker.embedded.engines import Engines

LIFETIME = 6.0
GRANTS = 30
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def under_way(installation: Installation) -> int:
    return len(installation.rows("select ref from evergrant.grants where started_at is not null"))


def is_well(installation: Installation, provider: Simulated) -> None:
    """All grants live, with tokens that the provider takes once no answer is on its way."""
    provider.control.clear_faults()
    eventually(lambda: installation.fresh() == {"app": GRANTS}, timeout=60)
    eventually(lambda: refused(installation, provider) == [], timeout=30)
    assert installation.statuses("app") == {"active": GRANTS}
    assert provider.lost() == []


def refused(installation: Installation, provider: Simulated) -> list[str]:
    """Whose refresh token, as it is stored now, the provider would refuse."""
    verdicts = provider.control.judge(installation.refresh_tokens())
    return [ref for ref, verdict in verdicts.items() if not verdict["refresh_alive"]]


def more_of_each(provider: Simulated, times: int = 1) -> None:
    """Wait until every grant was refreshed so many times more."""
    before = {ref: len(found) for ref, found in provider.refreshes().items()}
    eventually(lambda: all(len(provider.refreshes()[ref]) >= n + times for ref, n in before.items()), timeout=60)


# The disk


def fill_the_disk(worker: Running) -> None:
    """No file of this process may grow any more; what its journal has reserved is all that there is."""
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def make_room(worker: Running) -> None:
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, UNLIMITED)


def test_a_disk_that_is_full_when_answers_arrive_loses_none_and_nothing_more_is_sent_until_there_is_room(
    installation: Installation,
) -> None:
    with simulated("immediate", lifetime=LIFETIME) as provider:
        provider.control.add_fault("delay", where="token", when="after", delay_seconds=1)
        worker = begin(installation, provider, grants=GRANTS)
        # The worker's own log shares the disk, and its loss must cost nothing either.
        eventually(lambda: under_way(installation) >= 10, timeout=30)
        fill_the_disk(worker)
        eventually(lambda: under_way(installation) == 0, timeout=30)
        eventually(lambda: all_overdue(installation), timeout=30)
        asked = len(provider.asked())
        assert installation.statuses("app") == {"active": GRANTS}
        assert provider.lost() == []
        time_of_a_claim_goes_by(installation)
        assert len(provider.asked()) == asked
        make_room(worker)
        is_well(installation, provider)
        assert provider.presented_twice() == 0


def all_overdue(installation: Installation) -> bool:
    overdue = "select count(*) as n from evergrant.grants where access_expires_at < clock_timestamp()"
    return bool(installation.rows(overdue)[0]["n"] == GRANTS)


def time_of_a_claim_goes_by(installation: Installation) -> None:
    """Wait until beat has claimed again what the worker gave back, or let lie."""
    claims = "select sum(claim_no) as n from evergrant.grants"
    before = installation.rows(claims)[0]["n"]
    eventually(lambda: installation.rows(claims)[0]["n"] > before, timeout=30)


# The clock


def test_a_worker_whose_clock_jumps_by_an_hour_to_and_fro_renews_as_if_nothing_were(
    installation: Installation, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    with simulated("family", lifetime=LIFETIME) as provider:
        argv = ["-m", "tests.acceptance.odd", "worker", "--clock", str(clock), "--", "-n", "odd@localhost"]
        worker = installation.run("worker-odd", [sys.executable, *argv])
        eventually(lambda: worker.said("ready."), timeout=60)
        installation.beat()
        installation.register("app", provider.registration(), provider.secret)
        installation.import_grants("app", provider.mint(GRANTS, "app-"))
        eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=30)
        for wrong in (3600, -3600):
            clock.write_text(str(wrong))
            # A date is told by the provider's clock, and read by it.
            until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
            provider.control.add_fault("status", where="token", status=429, headers={"Retry-After": until}, count=1)
            more_of_each(provider)
            is_well(installation, provider)
        assert [each for each in provider.asked() if not each["fault"] and each["status"] != 200] == []
        assert provider.presented_twice() == 0
        assert worker.stop() == 0
        assert installation.logged("Traceback") == []


# What the database's clock said until now: whatever is written lies three hours ahead.
SET_THE_CLOCK_BACK = """
do $$ declare each record;
begin
    for each in
        select table_name as of,
            string_agg(column_name || ' = ' || column_name || ' + interval ''3 hours''', ', ') as set
        from information_schema.columns join information_schema.tables using (table_schema, table_name)
        where table_schema = 'evergrant' and table_type = 'BASE TABLE' and data_type = 'timestamp with time zone'
        group by table_name
    loop
        execute concat('update evergrant.', each.of, ' set ', each.set);
    end loop;
end $$
"""


def test_a_fleet_whose_databases_clock_was_three_hours_ahead_and_is_set_back_is_kept_alive_from_the_next_look_on(
    installation: Installation,
) -> None:
    with simulated("family", lifetime=LIFETIME) as provider:
        begin(installation, provider, grants=GRANTS)
        eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=30)
        installation.rows(SET_THE_CLOCK_BACK)
        eventually(lambda: installation.logged("beat.clock_was_set_back") != [], timeout=30)
        more_of_each(provider)
        is_well(installation, provider)
        assert provider.presented_twice() == 0
        assert installation.logged("Traceback") == []
        ahead = "select max(at) > clock_timestamp() + interval '1 minute' as ahead from evergrant.ticks"
        assert not installation.rows(ahead)[0]["ahead"]


# The database, the broker, and everything one after the other


@pytest.fixture
def engines_of_its_own(tmp_path: Path, own_engines: Engines) -> Iterator[Installation]:
    """An installation whose PostgreSQL and Valkey may be stopped."""
    assert own_engines.database_url is not None
    assert own_engines.broker_url is not None
    made = Installation.made(
        tmp_path / "installation",
        database_url=own_engines.database_url,
        broker_url=own_engines.broker_url,
        **QUICK,
    )
    yield made
    made.close()


def test_a_database_that_is_away_for_longer_than_every_lease_gets_the_answers_that_were_on_their_way(
    engines_of_its_own: Installation, own_engines: Engines
) -> None:
    installation = engines_of_its_own
    installation.env |= variables(SHORT_DEADLINE)
    with simulated("immediate", lifetime=LIFETIME) as provider:
        provider.control.add_fault("delay", where="token", when="after", delay_seconds=1)
        begin(installation, provider, grants=GRANTS)
        eventually(lambda: under_way(installation) >= 10, timeout=30)
        own_engines.postgres.stop()
        away_since = time.monotonic()
        eventually(lambda: time.monotonic() - away_since > float(SHORT_DEADLINE["attempt_lease_seconds"]) + 1)
        own_engines.postgres.start()
        is_well(installation, provider)


def test_a_worker_that_has_a_message_in_hand_when_the_broker_restarts_goes_on(
    engines_of_its_own: Installation, own_engines: Engines
) -> None:
    installation = engines_of_its_own
    with (
        simulated("immediate", lifetime=LIFETIME) as provider,
        psycopg.connect(installation.database_url) as somebody,
    ):
        worker = begin(installation, provider, grants=GRANTS, renewed_at_once=True)
        somebody.execute("lock table evergrant.erasures in share mode")  # the chore that erases waits for it
        eventually(installation.is_waiting, timeout=30)
        own_engines.valkey.restart()
        somebody.rollback()
        more_of_each(provider)
        assert worker.stop() == 0
        assert installation.logged('"level": "critical"') == []


def test_restarting_everything_one_by_one_under_load_with_a_new_key_costs_no_grant(
    engines_of_its_own: Installation, own_engines: Engines
) -> None:
    installation = engines_of_its_own
    with simulated("immediate", lifetime=LIFETIME) as provider:
        provider.control.add_fault("delay", where="token", when="after", delay_seconds=0.3)
        old = begin(installation, provider, grants=GRANTS, renewed_at_once=True)
        eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=30)
        beat = installation.processes[-1]
        new_key_first(installation)
        # The old worker meets rows that were sealed with a key which it does not have.
        installation.worker()
        more_of_each(provider)
        assert old.stop() == 0
        installation.beat()
        assert beat.stop() == 0
        own_engines.valkey.restart()
        own_engines.postgres.restart()
        more_of_each(provider)
        is_well(installation, provider)
        assert provider.presented_twice() == 0
        assert installation.listed("dead-letters", "list") == []
        eventually(lambda: keys_in_use(installation) == {"refresh-2"}, timeout=30)


def new_key_first(installation: Installation) -> None:
    """A second key put first in each ring, as the next processes will read it."""
    files = {ring: installation.folder / f"{ring}.keys" for ring in ("refresh", "access")}
    for ring, file in files.items():
        file.write_text(KeyRing.generate_line(f"{ring}-2") + "\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    installation.vault = vault_of(**files)


def keys_in_use(installation: Installation) -> set[str]:
    """The ids of the keys that refresh tokens are sealed with: version, length of the id, id."""
    rows = installation.rows("select sealed_refresh_token as sealed from evergrant.grants")
    return {row["sealed"][2 : 2 + row["sealed"][1]].decode() for row in rows}
