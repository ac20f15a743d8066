"""Why did it stop? Real processes, what happens to them, and a command that is copied from the explanation."""

import json
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from models.sealing.vault import KeyRing
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import due_now
from tests.acceptance.providers import Simulated, simulated
from tests.polling import eventually

LIFE = 600.0
REF = "due-1"


@pytest.fixture
def provider() -> Iterator[Simulated]:
    with simulated("on_use", lifetime=LIFE) as found:
        yield found


def explained(installation: Installation, ref: str = REF) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(installation.command("explain", ref, "--json"))
    return told


def told_as(installation: Installation, cause: str, ref: str = REF) -> dict[str, Any]:
    """Wait until that is the headline; returns the explanation."""
    seen: list[dict[str, Any]] = []

    def is_so() -> bool:
        seen[:] = [explained(installation, ref)]
        return bool(seen[0]["cause"] == cause)

    try:
        eventually(is_so, timeout=60)
    except AssertionError:
        raise AssertionError(seen) from None
    return seen[0]


def copied(installation: Installation, told: dict[str, Any], *, stdin: str = "") -> None:
    """Carry out the command of an explanation as somebody does who copies it into a shell."""
    words = shlex.split(told["command"])
    if words[0] == "export":
        installation.env |= dict([words[1].split("=", 1)])
        return
    assert words[0] == "evergrant"
    if words[1] in ("beat", "worker"):
        installation.run(f"{words[1]}-copied", [sys.executable, "-m", "worker.cli", *words[1:]])
        return
    installation.command(*words[1:], stdin=stdin)


def test_no_beat_a_paused_client_a_provider_that_is_ill_and_a_shell_of_elsewhere(
    installation: Installation, provider: Simulated
) -> None:
    installation.worker()
    installation.register("app", provider.registration(), provider.secret)
    installation.import_grants("app", due_now(provider, 1))
    copied(installation, told_as(installation, "no_beat_is_alive"))
    told_as(installation, "grant_is_well")

    installation.env["EVERGRANT_ACTOR"] = "maria"
    installation.command("clients", "pause", "app")
    paused = told_as(installation, "client_is_paused")
    assert paused["by_whom"] == "maria"
    assert explained(installation)["will_retry_at"] is None
    copied(installation, paused)
    told_as(installation, "grant_is_well")

    provider.control.add_fault("status", status=503, where="token")
    installation.import_grants("app", [{**row, "ref": "ill"} for row in due_now(provider, 1)])
    ill = told_as(installation, "valve_is_shut", "ill")
    assert "(http_503)" in ill["headline"]
    assert ill["will_retry_at"] is not None
    provider.control.clear_faults()
    told_as(installation, "grant_is_well", "ill")

    installation.env["EVERGRANT_ENVIRONMENT"] = "elsewhere"
    installation.command("grants", "pause", REF, exit_code=1)
    copied(installation, told_as(installation, "environment_is_another"))
    installation.command("grants", "pause", REF)
    copied(installation, told_as(installation, "grant_is_paused"))
    told_as(installation, "grant_is_well")


def test_a_wrong_secret_with_one_grant_trips_nothing_and_is_told(
    installation: Installation, provider: Simulated
) -> None:
    installation.worker()
    installation.beat()
    installation.register("app", provider.registration(), "wrong")
    installation.import_grants("app", due_now(provider, 1))
    told = told_as(installation, "credentials_are_refused")
    assert "invalid_client" in told["headline"]
    shown = installation.command("grants", "show", REF)
    assert "The provider refuses the credentials of app (invalid_client)" in shown
    copied(installation, told, stdin=provider.secret)
    told_as(installation, "grant_is_well")


def test_a_worker_without_the_key_is_named_and_with_it_all_goes_on(
    installation: Installation, provider: Simulated
) -> None:
    installation.register("app", provider.registration(), provider.secret)
    installation.import_grants("app", due_now(provider, 1))
    ring = installation.folder / "refresh.keys"
    own = ring.read_text(encoding="utf-8")
    ring.write_text(KeyRing.generate_line("another") + "\n", encoding="utf-8")
    worker = installation.worker()
    installation.beat()
    told = told_as(installation, "key_is_missing")
    assert "No worker holds the key refresh-1" in told["headline"]
    assert f"worker {worker.pid} on " in told["remedy"]
    ring.write_text(ring.read_text(encoding="utf-8") + own, encoding="utf-8")
    copied(installation, told)
    assert worker.stop() == 0
    installation.worker()
    told_as(installation, "grant_is_well")
