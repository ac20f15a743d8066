"""Whatever is done, asked for and mistyped: no secret stands in the audit, and no line is left out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import settings
from models import application, public_listener
from models.database import transaction
from models.sealing.vault import KeyRing
from tests.integration.cli.evergrant import Evergrant
from tests.integration.web.asking import Web
from tests.integration.web.conftest import bound, served
from worker.audit.trail import MEMBERS

SECRETS = {
    "client secret": "canary-client-secret-wNq83",
    "another client secret": "canary-second-secret-Zp41x",
    "reason": "canary-reason-of-a-person-Kd72",
    "label": "canary-label-of-a-person-Xe19",
    "password in a URL": "canary-url-password-Tb55",
    "state": "canary-state-Hq03",
}


@pytest.fixture
def evergrant(
    adopted: settings.Settings, database: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Evergrant:
    """The command line, on this test's own database."""
    return Evergrant(capsys, monkeypatch)


@pytest.fixture
def audit(tmp_path: Path, evergrant: Evergrant) -> Path:
    """The audit file of every command."""
    path = tmp_path / "audit.jsonl"
    settings.adopt(settings.current().model_copy(update={"audit_file": str(path)}))
    return path


@pytest.fixture
def billing(audit: Path, tmp_path: Path, evergrant: Evergrant) -> Iterator[Web]:
    """The listeners of a web with the same audit file, asked by an application."""
    assert evergrant("apps", "add", "billing", "--key-file", str(tmp_path / "billing.key")).code == 0
    with served(bound(tmp_path, public_url="https://connect.test")) as addresses:
        yield Web(addresses, (tmp_path / "billing.key").read_text(encoding="utf-8").strip())


def commands(evergrant: Evergrant, folder: Path, ring: str) -> None:
    """What operators do, and what they mistype."""
    new = "clients add temple --provider event-temple --client-id id-1 --client-secret-file -"
    evergrant(*new.split(), stdin=SECRETS["client secret"])
    evergrant.take_in("a", "b", "c")
    evergrant("grants", "set", "a", "--label", f"name={SECRETS['label']}")
    evergrant("grants", "token", "a")
    evergrant("clients", "set-secret", "temple", "--client-secret-file", "-", stdin=SECRETS["another client secret"])
    url = f"https://u:{SECRETS['password in a URL']}@api.example/"
    evergrant("clients", "set", "temple", "--api-url", url)
    callback = f"http://h/?state={SECRETS['state']}&code=c"
    evergrant("grants", "exchange", "x", "--client", "temple", "--callback-url-file", "-", stdin=callback)
    evergrant("grants", "authorize-url", "y", "--client", "temple")
    evergrant("keys", "generate", "--ring", "access", "--out", str(folder / "new.keys"))
    evergrant("keys", "retire", ring, "--yes")
    evergrant("keys", "reseal")
    evergrant("grants", "revoke", "b", "--yes", "--reason", SECRETS["reason"])
    evergrant("grants", "export", "--handover", "--out", str(folder / "out.jsonl"))
    evergrant("clients", "pause", SECRETS["client secret"] + "+/=")
    evergrant("journals", "abandon", "7", "--yes")


def canaries(folder: Path, key: str) -> dict[str, str]:
    found = dict(SECRETS) | {"application key": key}
    found |= {f"{kind} of {ref}": f"{kind}-temple-{ref}" for kind in ("rt", "at") for ref in "abc"}
    for ring in ("refresh", "access"):
        value = getattr(settings.current(), f"{ring}_token_keys").get_secret_value()
        found[f"{ring} ring"] = value.partition(":")[2]
    found["new ring"] = (folder / "new.keys").read_text(encoding="utf-8").strip().partition(":")[2]
    return found


def test_no_secret_stands_in_the_audit(evergrant: Evergrant, audit: Path, billing: Web, tmp_path: Path) -> None:
    ring = KeyRing.generate_line("r9")
    commands(evergrant, tmp_path, ring)
    assert billing.get("a", client="temple").status == 200
    assert billing.get("a", label=SECRETS["label"]).status == 400
    billing.post("c", "revocation", {"reason": SECRETS["reason"], "idempotency_key": SECRETS["state"], "erase": True})
    billing.post("nobody", "revocation", {"reason": SECRETS["reason"]})
    with transaction() as connection:
        public_listener.begin(connection, "https://connect.test")
    said = {"labels": {"org": SECRETS["label"]}, "scopes": [SECRETS["reason"]], "return_to": "https://a.example/"}
    assert billing.post("d", "connect", said, client="temple").error == (400, "ticket_refused")
    link = billing.post("d", "connect", {"labels": said["labels"]}, client="temple").json["url"]
    billing.with_key("egk_" + SECRETS["state"]).get("a")
    written = audit.read_text(encoding="utf-8")
    found = canaries(tmp_path, billing.key or "") | {"a ring that was typed": ring.partition(":")[2]}
    found |= {"ticket": link.rpartition("/")[2], "return_to": "a.example"}
    assert [kind for kind, secret in found.items() if secret in written] == []
    told: list[dict[str, Any]] = [json.loads(line) for line in written.splitlines()]
    assert {each["by"] for each in told} == {"cli", "http"}
    assert {each["what"] for each in told} >= {"grants token", "keys reseal", "GET /v1/grants/{ref}/token"}
    assert {name for each in told for name in each} <= set(MEMBERS)
    begun = {each["request"] for each in told if each["outcome"] == "begun"}
    ended = {each["request"] for each in told if each["outcome"] != "begun"}
    assert begun <= ended


def test_the_keys_of_applications_are_hashes_in_the_database_and_nothing_in_the_audit(
    evergrant: Evergrant, audit: Path, billing: Web
) -> None:
    with transaction() as connection:
        (holder,) = application.holders(connection)
    assert holder.key_hash.hex() not in audit.read_text(encoding="utf-8")
    assert json.loads(audit.read_text(encoding="utf-8").splitlines()[1])["application"] == "billing"
