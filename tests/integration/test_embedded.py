"""The embedded engines, really started."""

import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from kombu import Connection
from kombu.exceptions import OperationalError

import settings
from worker.embedded import discovery, identity, sizing, stale, state
from worker.embedded.binaries import postgres_bin
from worker.embedded.engines import Engines
from worker.embedded.errors import EngineFailed, HomeBusy, HomeUnusable, StillStarting
from worker.embedded.home import SOCKET_PATH_LIMIT, Home
from worker.embedded.lock import HomeLock


def query(url: str, statement: str) -> Any:
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute(statement).fetchone()
    return row[0] if row else None


def test_both_engines_answer_at_the_urls_they_give(own_engines: Engines) -> None:
    assert query(own_engines.postgres.url, "SELECT current_database()") == "evergrant"
    # Not by a queue: a test before in this process may have put our transport in the place of kombu's, and that hands
    # out nothing but what our tasks ask for.
    with Connection(own_engines.valkey.url) as connection:
        channel: Any = connection.default_channel  # the stubs know no client of it
        assert channel.client.ping()


def test_nothing_listens_on_tcp_and_nobody_else_may_enter_the_sockets_folder(own_engines: Engines) -> None:
    assert query(own_engines.postgres.url, "SHOW listen_addresses") == ""
    with own_engines.valkey.connect() as client:
        assert client.config_get("port") == {"port": "0"}
    for folder in (own_engines.postgres.sockets, own_engines.valkey.socket.parent, own_engines.home.keys):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(own_engines.home.passfile.stat().st_mode) == 0o600


def test_the_database_wants_its_password(own_engines: Engines, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("*:*:*:evergrant:guess\n", encoding="utf-8")
    other.chmod(0o600)
    url = (own_engines.postgres.url).replace(str(own_engines.home.passfile), str(other))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        query(url, "SELECT 1")


def test_the_password_is_in_no_command_line_and_in_no_environment(own_engines: Engines) -> None:
    password = own_engines.home.passfile.read_bytes().strip().split(b":")[-1]
    processes = [Path(f"/proc/{engine.pid}") for engine in own_engines.running]
    seen = b"".join((p / name).read_bytes() for p in processes for name in ("cmdline", "environ"))
    assert len(password) > 20
    assert password not in seen


def test_the_database_is_durable(own_engines: Engines) -> None:
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        assert query(own_engines.postgres.url, f"SHOW {setting}") == "on"


def test_the_database_takes_buffers_and_log_by_the_machine(own_engines: Engines) -> None:
    buffers = query(own_engines.postgres.url, "SELECT pg_size_bytes(current_setting('shared_buffers')) / 1048576")
    log = query(own_engines.postgres.url, "SELECT pg_size_bytes(current_setting('max_wal_size')) / 1048576")
    assert buffers == min(max(sizing.memory() // 8 // sizing.MB, 128), 8192)
    assert 1024 <= log <= 4096


def test_what_was_committed_survives_an_immediate_stop(own_engines: Engines) -> None:
    with own_engines.postgres.connect("evergrant") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        own_engines.postgres.restart(immediate=True)
    assert query(own_engines.postgres.url, "SELECT answer FROM kept") == 42


def test_the_broker_keeps_its_data_over_a_restart_unless_it_is_flushed(own_engines: Engines) -> None:
    def kept() -> object:
        with own_engines.valkey.connect() as client:
            return client.get("kept")

    with own_engines.valkey.connect() as client:
        client.set("kept", "yes")
    own_engines.valkey.restart()
    assert kept() == b"yes"
    own_engines.valkey.restart(flush=True)
    assert kept() is None


def test_a_second_start_in_the_same_home_names_the_process_that_has_it(own_engines: Engines) -> None:
    with pytest.raises(HomeBusy, match=f"in use by process {os.getpid()}") as refused:
        Engines(own_engines.home.path).start()
    assert refused.value.pid == os.getpid()
    assert own_engines.postgres.alive()
    assert state.read(own_engines.home) is not None


def test_the_state_file_tells_what_runs_while_it_runs(own_engines: Engines) -> None:
    running = state.read(own_engines.home)
    assert running is not None
    assert running.pid == os.getpid()
    assert (running.database_url, running.broker_url) == (own_engines.database_url, own_engines.broker_url)
    assert {n: p.pid for n, p in running.processes.items()} == {e.name: e.pid for e in own_engines.running}
    own_engines.stop()
    assert state.read(own_engines.home) is None


@pytest.mark.parametrize("left", ["", '{"pid": 1', "[]", "{}"])
def test_a_state_file_that_was_cut_off_is_as_none(own_engines: Engines, left: str) -> None:
    with_all = own_engines.home.state.read_text(encoding="utf-8")
    own_engines.home.state.write_text(left, encoding="utf-8")
    assert state.read(own_engines.home) is None
    own_engines.home.state.write_text(with_all, encoding="utf-8")
    assert state.read(own_engines.home) is not None


def test_a_state_file_of_a_killed_process_is_not_believed(own_engines: Engines) -> None:
    left = own_engines.home.state.read_text(encoding="utf-8")
    own_engines.stop()
    own_engines.home.state.write_text(left, encoding="utf-8")
    assert state.read(own_engines.home) is None


def test_while_the_next_one_starts_the_state_file_of_a_killed_one_is_not_believed(own_engines: Engines) -> None:
    home = own_engines.home
    left = home.state.read_text(encoding="utf-8")
    own_engines.stop()
    home.state.write_text(left.replace(f'"pid": {os.getpid()}', '"pid": 1'), encoding="utf-8")
    lock = HomeLock(home).acquire()
    try:
        assert state.read(home) is None
        with pytest.raises(StillStarting, match=rf"\(process {os.getpid()}\) is still starting; try again"):
            discovery.resolve(settings.Settings(home=home.path))
    finally:
        lock.release()


def test_a_home_is_used_again_with_its_data_and_its_password(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Engines(home) as engines, engines.postgres.connect("evergrant") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with Engines(home) as engines:
        assert query(engines.postgres.url, "SELECT answer FROM kept") == 42


def test_an_engine_that_is_not_wanted_is_not_started(tmp_path: Path) -> None:
    with Engines(tmp_path / "home", postgres=False) as engines:
        assert engines.database_url is None
        assert [engine.name for engine in engines.running] == ["valkey"]


@pytest.mark.parametrize("name", ["a" * 120, "with space", "a,b", "what?", "ünïcode", "per%cent&more#"])
def test_a_home_whose_path_no_socket_could_have_works_all_the_same(tmp_path: Path, name: str) -> None:
    with Engines(tmp_path / name) as engines:
        sockets = engines.postgres.sockets
        assert len(os.fsencode(sockets / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT
        assert query(engines.postgres.url, "SELECT 1") == 1
        with Connection(engines.valkey.url) as connection:
            connection.ensure_connection(max_retries=1)
    assert not sockets.exists()  # it was a short one outside of the home


def test_a_short_folder_for_sockets_that_somebody_else_laid_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / ("a" * 120))
    assert home.runtime.parent == Path("/tmp")  # noqa: S108  # where it really is
    home.runtime.symlink_to(tmp_path)
    try:
        with pytest.raises(HomeUnusable, match="is no folder"):
            Engines(home.path).start()
    finally:
        home.runtime.unlink()


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.runtime.mkdir(mode=0o755)
    with pytest.raises(HomeUnusable, match=r"others may enter .*chmod 700"):
        Engines(home.path).start()


def test_a_home_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    """They could put another state file, whose database every command goes to, or no journals, in the place of ours."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o777)
    with pytest.raises(HomeUnusable, match=r"others may write to .*home .*chmod o-w"):
        Engines(tmp_path / "home")


def test_a_home_that_is_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("", encoding="utf-8")
    with pytest.raises(HomeUnusable, match=r"home cannot be used: .*File exists; set EVERGRANT_HOME"):
        Engines(tmp_path / "home")


def test_a_note_of_a_killed_server_whose_number_lives_on_in_another_process_is_cleared(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Engines(home) as engines:
        pidfile = engines.home.postgres / "postmaster.pid"
        lockfile = engines.postgres.sockets / ".s.PGSQL.5432.lock"
        left = {f: f.read_text(encoding="utf-8").split("\n", 1)[1] for f in (pidfile, lockfile)}
    for file, rest in left.items():
        file.write_text(f"{os.getppid()}\n{rest}", encoding="utf-8")
    with Engines(home) as engines:
        assert query(engines.postgres.url, "SELECT 1") == 1


def test_a_server_that_still_runs_is_recognised(own_engines: Engines) -> None:
    assert stale.postmaster(own_engines.home.postgres) == own_engines.postgres.pid
    left = stale.wait_for_end(own_engines.home.postgres, seconds=0.2)
    assert left == f"process {own_engines.postgres.pid} of a former run"


def test_a_start_waits_for_sessions_that_outlive_a_killed_server(own_engines: Engines) -> None:
    data = own_engines.home.postgres
    with own_engines.postgres.connect() as busy:
        row = busy.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        session = int(str(row[0]))
        os.kill(session, signal.SIGSTOP)
        os.kill(own_engines.postgres.pid or 0, signal.SIGKILL)
        assert own_engines.postgres.wait(10)
        assert stale.wait_for_end(data, seconds=0.2) == "a session of a killed server"
        os.kill(session, signal.SIGCONT)
        own_engines.postgres.start()
    assert query(own_engines.postgres.url, "SELECT 1") == 1


def test_a_first_start_that_was_cut_off_is_repeated(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    (home.path / "postgres.new").mkdir()
    (home.path / "postgres.new" / "PG_VERSION").write_text("18\n", encoding="utf-8")
    with Engines(home.path) as engines:
        assert query(engines.postgres.url, "SELECT 1") == 1


def test_data_of_another_release_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with Engines(tmp_path / "home", valkey=False) as engines:
        version = engines.home.postgres / "PG_VERSION"
    version.write_text("17\n", encoding="utf-8")
    with pytest.raises(EngineFailed, match=r"made by PostgreSQL 17, .* is at 18"):
        Engines(tmp_path / "home", valkey=False).start()


def test_a_failed_start_gives_the_home_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Engines(home) as engines:
        configuration = engines.home.postgres / "postgresql.conf"
    good = configuration.read_text(encoding="utf-8")
    configuration.write_text("nonsense here\n", encoding="utf-8")
    with pytest.raises(EngineFailed, match="it ended with exit code"):
        Engines(home).start()
    configuration.write_text(good, encoding="utf-8")
    with Engines(home):
        pass


AS_USER = """
import os, pathlib
from worker.embedded.binaries import postgres_bin
from worker.embedded.engines import Engines
from worker.embedded.errors import EngineFailed
try:
    with Engines(pathlib.Path(os.environ["HOME"]) / "home") as engines:
        with engines.postgres.connect("evergrant") as connection:
            print(os.geteuid() != 0, connection.execute("SELECT current_user").fetchone()[0])
except EngineFailed as error:
    print(error)
"""


def test_it_runs_as_a_normal_user(run_as: Callable[..., str], named_user: int) -> None:
    assert run_as(named_user, AS_USER) == "True evergrant\n"


def test_it_runs_as_a_user_who_has_only_a_number(run_as: Callable[..., str], nameless_user: int) -> None:
    assert run_as(nameless_user, AS_USER) == "True evergrant\n"


@pytest.fixture
def without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine, or a container, that allows no user namespace."""
    works = identity._works
    monkeypatch.setattr(identity, "_works", lambda who, where: who != "namespace" and works(who, where))


def test_where_root_may_make_no_namespace_the_database_runs_as_nobody(
    without_namespaces: None, open_folder: Path, reachable_by_all: bool
) -> None:
    if os.geteuid() == 0 and not reachable_by_all:  # our own programs lie in a folder that nobody may not enter
        with pytest.raises(EngineFailed, match="who may not enter"):
            Engines(open_folder / "home").start()
        return
    for _ in ("first start", "second start"):
        with Engines(open_folder / "home") as engines:
            assert query(engines.postgres.url, "SELECT 1") == 1
            owner = Path(f"/proc/{engines.postgres.pid}").stat().st_uid
            assert owner != 0
            assert owner == engines.home.postgres.stat().st_uid == engines.postgres.sockets.stat().st_uid


def test_where_nobody_may_not_pass_the_message_names_the_folder(
    without_namespaces: None, tmp_path: Path, as_if_root: None
) -> None:
    shut = tmp_path / "shut"
    (shut / "home").mkdir(parents=True)
    shut.chmod(0o700)
    with pytest.raises(EngineFailed, match=r"may not enter .*; run this as another user, or set EVERGRANT_HOME"):
        identity.choose(shut / "home" / "postgres", postgres_bin())


def test_valkey_asks_for_a_password_that_stands_in_no_command_line_and_no_environment(own_engines: Engines) -> None:
    valkey = own_engines.valkey
    with redis.Redis(unix_socket_path=str(valkey.socket)) as stranger:
        for command in (stranger.ping, stranger.flushall, lambda: stranger.lpush("evergrant:refresh", "x")):
            with pytest.raises(redis.AuthenticationError):
                command()
    assert len(valkey.password) > 40
    for name in ("cmdline", "environ"):
        assert valkey.password.encode() not in Path(f"/proc/{valkey.pid}/{name}").read_bytes()
    for path in (own_engines.home.valkey_pass, own_engines.home.valkey_conf, own_engines.home.state):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_valkeys_password_outlives_a_restart_and_the_loss_of_its_data(own_engines: Engines) -> None:
    before = own_engines.valkey.url
    own_engines.valkey.restart(flush=True)
    assert own_engines.valkey.url == before
    with own_engines.valkey.connect() as client:
        assert client.ping()


def test_a_broker_that_cannot_be_reached_is_told_without_its_password(own_engines: Engines) -> None:
    url = own_engines.valkey.url
    own_engines.valkey.stop()
    with Connection(url) as connection, pytest.raises(OperationalError) as caught:
        connection.ensure_connection(max_retries=1, interval_start=0)
    password = own_engines.valkey.password
    assert password not in f"{caught.value}{connection!r}{connection.as_uri()}"
