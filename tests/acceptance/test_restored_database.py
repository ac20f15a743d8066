"""Databases that are not what they were: an older backup, a copy, a standby that lost commits.

Every grant is at a provider where the old refresh token dies at once, so whoever sends one that the restored
database still holds has lost its grant, or at `family` killed it.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import consents
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually
from worker.embedded.binaries import postgres_bin
from worker.embedded.engines import Engines
from worker.embedded.home import Home
from worker.embedded.postgres import Postgres

LIFE = 6.0
QUICK = {"backoff_first_seconds": "1", "backoff_cap_seconds": "5", "dispatch_lease_seconds": "5"}
GENERATIONS = """
select ref, max(generation) as generation from evergrant.grants where status = 'active' group by ref
"""


@contextmanager
def made(folder: Path, engines: Engines, *, database_url: str | None = None) -> Iterator[Installation]:
    """An installation on engines of the test's own."""
    url = database_url or engines.database_url
    assert url is not None
    assert engines.broker_url is not None
    installation = Installation.made(folder, database_url=url, broker_url=engines.broker_url, **QUICK)
    try:
        yield installation
    finally:
        installation.close()


def begin(installation: Installation, provider: Simulated, *, grants: int = 6) -> None:
    """Worker and beat, and grants of which each was refreshed once."""
    installation.register("app", provider.registration(), provider.secret)
    installation.worker()
    installation.beat()
    installation.import_grants("app", consents(provider.mint(grants)))
    all_refreshed(installation, {})


def generations(installation: Installation) -> dict[str, int]:
    return {row["ref"]: row["generation"] for row in installation.rows(GENERATIONS)}


def all_refreshed(installation: Installation, since: dict[str, int]) -> None:
    """Wait until every grant that is kept has a newer token set than then."""
    eventually(
        lambda: (now := generations(installation)) and all(now[ref] > since.get(ref, 1) for ref in now), timeout=90
    )


def time_goes_by(installation: Installation, since: dict[str, int]) -> None:
    """Wait until every grant has a newer token set than then, and workers have noted newer ticks (each 5 s)."""
    ticks = "select count(*) as n from evergrant.ticks"
    seen = installation.rows(ticks)[0]["n"]
    all_refreshed(installation, since)
    eventually(lambda: installation.rows(ticks)[0]["n"] >= seen + 3, timeout=60)


def connect(installation: Installation, ref: str) -> None:
    """A user goes through the code flow."""
    url = urlsplit(installation.listed("grants", "authorize-url", ref, "--client", "app")[0]["url"])
    connection = HTTPConnection(url.netloc, timeout=10)
    connection.request("GET", f"{url.path}?{url.query}&auto=allow&user={ref}")
    back = connection.getresponse().headers["Location"]
    connection.close()
    installation.command("grants", "exchange", ref, "--client", "app", "--callback-url-file", "-", stdin=str(back))


def refused(installation: Installation, provider: Simulated, refs: set[str]) -> set[str]:
    """Whose refresh token, as it is stored now, the provider would refuse."""
    held = {ref: token for ref, token in installation.refresh_tokens().items() if ref in refs}
    return {ref for ref, verdict in provider.control.judge(held).items() if not verdict["refresh_alive"]}


def is_well(installation: Installation, provider: Simulated, refs: set[str]) -> None:
    """All grants are kept, with tokens that live; no old refresh token was ever sent."""
    eventually(lambda: installation.fresh() == {"app": len(refs)}, timeout=90)
    assert generations(installation).keys() == refs
    # One that is on its way is dead for a moment, one that is lost for ever.
    eventually(lambda: refused(installation, provider, refs) == set(), timeout=30)
    assert provider.lost() == []
    assert provider.presented_twice() == 0
    assert installation.listed("dead-letters", "list") == []


def postgres_program(name: str, *arguments: str) -> None:
    """One of PostgreSQL's own tools."""
    subprocess.run([str(postgres_bin() / name), *arguments], check=True, capture_output=True, text=True, timeout=120)


def test_an_older_dump_restored_under_running_workers_costs_no_grant_and_revives_none(
    tmp_path: Path, own_engines: Engines
) -> None:
    dump = tmp_path / "evergrant.dump"
    with (
        made(tmp_path / "installation", own_engines) as installation,
        simulated("immediate", lifetime=LIFE) as provider,
    ):
        begin(installation, provider)
        postgres_program("pg_dump", "--format=custom", "--file", str(dump), installation.database_url)
        installation.import_grants("app", provider.mint(2, prefix="imported-"))
        connect(installation, "connected")
        installation.command("grants", "revoke", "customer-1", "--wait", "--yes")
        time_goes_by(installation, generations(installation))
        kept = set(generations(installation))
        assert kept == {*(f"customer-{n}" for n in range(2, 7)), "imported-1", "imported-2", "connected"}
        postgres_program(
            *("pg_restore", "--clean", "--if-exists", "--single-transaction", "--exit-on-error"),
            *("--dbname", installation.database_url, str(dump)),
        )
        eventually(lambda: installation.logged("recover.done"), timeout=60)
        all_refreshed(installation, generations(installation))
        is_well(installation, provider, kept)
        assert installation.statuses("app")["revoked"] == 1


def test_an_older_copy_of_the_data_folder_costs_no_grant(tmp_path: Path, own_engines: Engines) -> None:
    data, copy = own_engines.home.postgres, tmp_path / "copy"
    with made(tmp_path / "installation", own_engines) as installation, simulated("family", lifetime=LIFE) as provider:
        begin(installation, provider)
        own_engines.postgres.stop()
        shutil.copytree(data, copy)
        own_engines.postgres.start()
        before = generations(installation)
        installation.import_grants("app", provider.mint(1, prefix="imported-"))
        time_goes_by(installation, before)
        own_engines.postgres.stop()
        shutil.rmtree(data)
        copy.rename(data)
        own_engines.postgres.start()
        eventually(lambda: installation.logged("recover.done"), timeout=60)
        all_refreshed(installation, generations(installation))
        is_well(installation, provider, {*before, "imported-1"})


def test_an_older_copy_elsewhere_sends_nothing_until_it_is_adopted_and_then_replays_first(
    tmp_path: Path, own_engines: Engines
) -> None:
    dump = tmp_path / "evergrant.dump"
    with made(tmp_path / "installation", own_engines) as original, simulated("immediate", lifetime=LIFE) as provider:
        begin(original, provider)
        postgres_program("pg_dump", "--format=custom", "--file", str(dump), original.database_url)
        time_goes_by(original, generations(original))
        for process in original.processes:
            assert process.stop() == 0
        with own_engines.postgres.connect() as connection:
            connection.execute("create database elsewhere")
        url = own_engines.postgres.url_of("elsewhere")
        postgres_program("pg_restore", "--exit-on-error", "--dbname", url, str(dump))
        with moved(original, tmp_path / "elsewhere", url) as copy:
            worker = copy.worker()
            copy.beat()
            eventually(lambda: worker.said("worker.database_unfit"))
            sends_nothing(copy, provider)
            copy.command("db", "adopt", "--yes")
            eventually(lambda: copy.logged("recover.done"), timeout=60)
            all_refreshed(copy, generations(copy))
            is_well(copy, provider, {f"customer-{n}" for n in range(1, 7)})


@contextmanager
def moved(original: Installation, folder: Path, url: str) -> Iterator[Installation]:
    """The same home and keys, another database."""
    folder.mkdir()
    env = {**original.env, "EVERGRANT_DATABASE_URL": url}
    installation = Installation(folder, database_url=url, vault=original.vault, env=env)
    try:
        yield installation
    finally:
        installation.close()


def sends_nothing(copy: Installation, provider: Simulated) -> None:
    """Although all is overdue, nothing is claimed, sent or handed out, and the check says why."""
    asked = len(provider.asked())
    overdue = "select ref from evergrant.grants where due_at < clock_timestamp() - interval '3 seconds'"
    eventually(lambda: len(copy.rows(overdue)) == len(generations(copy)), timeout=60)
    assert copy.rows("select ref from evergrant.grants where claimed_at is not null") == []
    assert copy.handed_out() == {}
    assert "another database name" in copy.command("db", "check", exit_code=1)
    assert len(provider.asked()) == asked


@pytest.fixture
def standby_home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "standby")


def test_a_promoted_standby_that_lost_commits_costs_no_grant(
    tmp_path: Path, own_engines: Engines, standby_home: Home
) -> None:
    primary = own_engines.postgres
    with standby_of(own_engines, standby_home) as standby:
        either = primary.url.replace("?host=", f"?host={standby.sockets},") + "&target_session_attrs=read-write"
        with (
            made(tmp_path / "installation", own_engines, database_url=either) as installation,
            simulated("family", lifetime=LIFE) as provider,
        ):
            begin(installation, provider)
            all_refreshed(installation, generations(installation))
            caught_up(primary, standby)
            with standby.connect() as connection:  # from here on commits are lost
                connection.execute("alter system set primary_conninfo = ''")
                connection.execute("select pg_reload_conf()")
            eventually(lambda: not rows(primary, "select * from pg_stat_replication"))
            before = generations(installation)
            installation.import_grants("app", provider.mint(1, prefix="imported-"))
            all_refreshed(installation, before)
            primary.kill()
            with standby.connect() as connection:
                connection.execute("select pg_promote()")
            eventually(lambda: installation.logged("recover.done"), timeout=60)
            all_refreshed(installation, generations(installation))
            is_well(installation, provider, {*before, "imported-1"})


@contextmanager
def standby_of(engines: Engines, home: Home) -> Iterator[Postgres]:
    """An asynchronous standby of an embedded server, made as an operator makes one."""
    shutil.copy(engines.home.passfile, home.passfile)
    home.make_folders()
    postgres_program(
        *("pg_basebackup", "--write-recovery-conf", "--checkpoint=fast", "--dbname", engines.postgres.url),
        *("--pgdata", str(home.postgres)),
    )
    with home.log.open("w") as log:
        standby = Postgres(home, log=log)
        standby.prepare()
        standby.launch()
        try:
            eventually(lambda: answers(standby), timeout=60)
            yield standby
        finally:
            standby.stop()


def answers(postgres: Postgres) -> bool:
    try:
        return bool(rows(postgres, "select 1"))
    except psycopg.OperationalError:
        return False


def rows(postgres: Postgres, query: str) -> list[tuple[object, ...]]:
    with postgres.connect("evergrant") as connection:
        return connection.execute(query.encode()).fetchall()


def caught_up(primary: Postgres, standby: Postgres) -> None:
    """Wait until the standby has replayed all that was committed by now."""
    ((lsn,),) = rows(primary, "select pg_current_wal_lsn()::text")
    eventually(lambda: rows(standby, f"select pg_last_wal_replay_lsn() >= '{lsn}'") == [(True,)])
