"""A home that was copied with `cp -a`, and started: a second refresher beside the first, but for its place."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import settings
from models import database
from worker.cli import run
from worker.embedded import supervisor
from worker.embedded.engines import Engines
from worker.embedded.place import place_of


@pytest.fixture
def as_it_was() -> Iterator[None]:
    before = list(settings._current)
    yield
    database.dispose()
    settings._current[:] = before


def started(home: Path) -> tuple[Engines, str]:
    """As `evergrant up` starts it; returns how fit its database is."""
    engines = Engines(home, valkey=False).start()
    given = settings.Settings(home=home, broker_url="redis://127.0.0.1:1/0")
    supervisor.prepare(given, engines)
    return engines, state_of(engines)


def state_of(engines: Engines) -> str:
    with psycopg.connect(engines.postgres.url) as connection:
        (state,) = connection.execute("select evergrant.database_state()").fetchone() or ("",)
    return str(state)


@pytest.mark.usefixtures("as_it_was")
def test_a_copied_home_sends_nothing_until_it_is_adopted(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    for _ in range(2):  # its own second start changes nothing
        engines, state = started(home)
        assert state == "fit"
        engines.stop()
    shutil.copytree(home, copy, symlinks=True)

    engines, state = started(copy)
    try:
        assert state == "copied"
        assert run(["db", "check"]) == 1
        assert run(["status", "--json"]) == 1
        assert run(["db", "adopt", "--yes"]) == 0
        assert state_of(engines) == "fit"
    finally:
        database.dispose()
        engines.stop()
    engines, state = started(home)
    engines.stop()
    assert state == "fit"


def test_a_folder_that_is_renamed_is_no_copy(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "global").mkdir(parents=True)
    (data / "PG_VERSION").write_text("18")
    before = place_of(data)
    copy = shutil.copytree(data, tmp_path / "copy")

    assert place_of(data.rename(tmp_path / "renamed")) == before
    assert place_of(copy) != before
