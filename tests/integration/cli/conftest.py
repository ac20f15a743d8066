"""Fixtures: the CLI in this process on this test's own database, and a simulated provider it can connect to."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

import settings
from simulator.control import SimulatorControl
from simulator.launch import simulator_thread
from tests.integration.cli.evergrant import ALIVE, Evergrant


@pytest.fixture
def evergrant(
    adopted: settings.Settings,
    database: Engine,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Evergrant:
    """Run a command: `evergrant("grants", "list")`."""
    return Evergrant(capsys, monkeypatch)


@pytest.fixture
def sql(database: Engine) -> Any:
    """Run one statement; returns its rows, where it has some."""

    def carry_out(query: str, **values: Any) -> list[Any]:
        with database.begin() as connection:
            done = connection.execute(text(query), values)
            return list(done) if done.returns_rows else []

    return carry_out


@pytest.fixture
def temple(evergrant: Evergrant) -> Evergrant:
    """The CLI with a client `temple` of Event Temple's, at 100 requests a minute."""
    command = "clients add temple --provider event-temple --client-id id-1 --client-secret-file -"
    assert evergrant(*command.split(), stdin="hush\n").code == 0
    return evergrant


@pytest.fixture
def staffed(temple: Evergrant, sql: Any) -> Evergrant:
    """`temple`, beside a beat and a worker that live and hold its keys."""
    sql("delete from evergrant.processes")
    for pid, kind in enumerate(("beat", "worker")):
        sql(ALIVE, kind=kind, pid=pid, environment=settings.current().environment, keys=["r1", "a1"])
    return temple


@pytest.fixture
def at_work(staffed: Evergrant, broker_url: str) -> Evergrant:
    """`staffed`, with a grant, and with a broker that answers."""
    settings.adopt(settings.current().model_copy(update={"broker_url": SecretStr(broker_url)}))
    settings.current().home.chmod(0o700)
    staffed.take_in("a")
    return staffed


@pytest.fixture
def provider() -> Iterator[SimulatorControl]:
    """A simulated provider whose authorize page says yes by itself, for `user-1`."""
    with simulator_thread() as control:
        control.decide_automatically("allow", user="user-1")
        yield control


@pytest.fixture
def connected(evergrant: Evergrant, provider: SimulatorControl) -> Evergrant:
    """The CLI with a client `sim` at the simulated provider."""
    urls = {
        "authorize": "/oauth/authorize",
        "token": "/oauth/token",
        "revoke": "/oauth/revoke",
        "api": "/v2/bookings",
        "confirm": "/oauth/token/info",
    }
    options = [f"--{name}-url={provider.url}{path}" for name, path in urls.items()]
    command = "clients add sim --provider simulator --client-id simulated-client --client-secret-file -"
    assert evergrant(*command.split(), *options, stdin="simulated-secret").code == 0
    return evergrant
