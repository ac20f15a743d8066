"""A broken disk: costs what was on it, and says so; one bad journal of a machine stops no worker there."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.programs import Running
from tests.acceptance.providers import Provider, simulated
from tests.polling import eventually

LIFETIME = 6.0
GRANTS = 5
DRAINED = "select 1 from evergrant.journals where id = %s and drained_at is not null"


def journals(installation: Installation) -> dict[int, dict[str, Any]]:
    return {each["id"]: each for each in installation.listed("journals", "list", "--all")}


def kept_by(worker: Running, installation: Installation) -> Path:
    """The folder of the journal of a worker's."""
    statement = "select id from evergrant.journals where process = %s"
    (row,) = installation.rows(statement, [str(worker.pid)])
    return Path(installation.env["EVERGRANT_HOME"]) / "journals" / str(row["id"])


def a_dead_worker(installation: Installation, provider: Provider) -> Path:
    """The journal of a worker that was killed after it had kept alive some grants."""
    worker = begin(installation, provider, grants=GRANTS, renewed_at_once=True)
    eventually(lambda: len(provider.refreshes()) == GRANTS, timeout=30)
    own = kept_by(worker, installation)
    worker.kill()
    return own


def flip(path: Path) -> bytes:
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    return whole


def goes_on(provider: Provider) -> None:
    before = {ref: len(times) for ref, times in provider.refreshes().items()}
    eventually(lambda: all(len(provider.refreshes()[ref]) > n for ref, n in before.items()), timeout=60)


@pytest.mark.parametrize("end", ["restored", "abandoned"])
def test_a_worker_starts_beside_a_damaged_journal_keeps_grants_alive_and_says_what_is_wrong(
    installation: Installation, end: str
) -> None:
    with simulated("on_use", lifetime=LIFETIME) as provider:
        own = a_dead_worker(installation, provider)
        number = int(own.name)
        whole = flip(own / "00000001.log")
        strange = own.parent / "901" / "1x.log"
        strange.parent.mkdir()
        strange.touch()
        installation.worker()
        eventually(lambda: journals(installation)[number]["state"] == "damaged", timeout=30)
        goes_on(provider)
        assert journals(installation)[number]["damage"] == "segment 1 is damaged at byte 0"
        status = json.loads(installation.command("status", "--json", exit_code=1))
        assert [each["id"] for each in status["journals_damaged"]] == [number]
        assert len(installation.logged("journal.damaged")) == 1
        assert len(installation.logged("journal.strange_files")) == 1
        if end == "restored":
            (own / "00000001.log").write_bytes(whole)
            eventually(lambda: installation.rows(DRAINED, [number]), timeout=90, every=0.5)  # looked at each minute
            assert journals(installation)[number]["state"] == "drained"
        else:
            installation.rows(
                "update evergrant.journals set seen_at = seen_at - interval '1 h' where id = %s", [number]
            )
            installation.command("journals", "abandon", str(number), "--yes")
        installation.command("status")
        assert strange.exists()
