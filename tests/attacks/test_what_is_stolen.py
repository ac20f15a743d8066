"""What a stolen broker password, application key and reading role are worth, and that they are worth no more.

What a sender's own user at the broker may is tried in `tests/integration/test_senders_rights.py`, what a role of one
application may in `test_an_application_in_sql.py`, and a key that only reads in `test_a_key_that_only_reads.py`.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests import brokers
from tests.acceptance.installation import Installation
from tests.acceptance.keeping import begin
from tests.acceptance.providers import Simulated, simulated
from tests.integration.web.asking import Answer, Web
from tests.polling import eventually
from worker.web.server import Addresses

GRANTS = 8
LIMIT = 3  # so many may one asker end
LIFE = 3600
REFS = [f"app-{n}" for n in range(1, GRANTS + 1)]
CLAIMS = range(12)  # claim numbers that a thief guesses: the first ones
COUNTED = (
    "select (select count(*) from evergrant.held_revocations) as held, count(*) as asked from evergrant.revocations"
)


@pytest.fixture
def provider(installation: Installation) -> Iterator[Simulated]:
    """Grants with an hour to live, kept by a worker and a beat, of which one asker may end three."""
    with simulated("family", lifetime=LIFE) as provider:
        begin(installation, provider, grants=GRANTS)
        installation.rows("update evergrant.clients set revocation_limit = %s", [LIMIT])
        yield provider


def braked(installation: Installation) -> bool:
    """Whether what was asked for is ended as far as one asker may, and the rest is held."""
    return installation.rows(COUNTED) == [{"held": GRANTS - LIMIT, "asked": LIMIT}] and installation.statuses(
        "app"
    ) == {"active": GRANTS - LIMIT, "revoked": LIMIT}


def nothing_else_is_hurt(provider: Simulated) -> None:
    """At most one refresh of each grant: a token set stays for a minute, whoever asks for another."""
    refreshes = provider.refreshes()
    assert max((len(times) for times in refreshes.values()), default=0) <= 1, refreshes
    assert provider.presented_twice() == 0
    assert sum(provider.alive(ref) > 0 for ref in REFS) == GRANTS - LIMIT


# A broker password


def every_message(jobs: Sequence[tuple[str, int]]) -> list[tuple[str, str, list[Any], dict[str, Any]]]:
    """Queue, task and arguments of all that a thief can think of; what ends a grant comes last."""
    forged = [[grant, claim] for grant, _ in jobs for claim in CLAIMS]
    chunks = [forged[at : at + 40] for at in range(0, len(forged), 40)]
    made: list[tuple[str, str, list[Any], dict[str, Any]]] = []
    for queue in ("refresh", "refresh_urgent", "revoke", "upkeep"):
        for task in ("evergrant.refresh", "evergrant.revoke"):
            made += [(queue, task, [chunk], {}) for chunk in chunks]
    for ref in REFS:
        made += [("upkeep", "evergrant.request_refresh", [ref], {"if_generation": n}) for n in (None, 0, 1, 2, 3, 99)]
    for number, ref in enumerate(REFS):
        name = {"requested_by": f"another-{number}", "application": f"another-{number}", "reason": "stolen"}
        made += [("upkeep", "evergrant.request_revocation", [ref], name | {"erase": number % 2 == 0})] * 2
    return made


def test_whoever_has_the_workers_broker_password_may_ask_as_one_asker_and_nothing_more(
    installation: Installation, provider: Simulated
) -> None:
    url = installation.env["EVERGRANT_BROKER_URL"]
    eventually(lambda: installation.statuses("app") == {"active": GRANTS}, timeout=30)
    jobs = [(str(row["id"]), row["claim_no"]) for row in installation.rows("select id, claim_no from evergrant.grants")]
    thief = Celery("thief", broker=url, config_source="celeryconfig", set_as_current=False)
    with thief.connection_for_write() as connection, brokers.connect(url) as owner:
        for queue, task, arguments, named in every_message(jobs):
            thief.send_task(task, args=arguments, kwargs=named, queue=queue, connection=connection)
        eventually(lambda: braked(installation), timeout=60)
        queues = ("refresh", "refresh_urgent", "revoke", "upkeep")
        eventually(lambda: not any(owner.llen(f"evergrant:{queue}") for queue in queues), timeout=30)
    thief.close()
    nothing_else_is_hurt(provider)
    assert braked(installation)
    asked = installation.rows("select distinct asked_by from evergrant.revocation_asks")
    assert len(asked) == 1, asked


# An application's key


@pytest.fixture
def web(installation: Installation, tmp_path: Path, provider: Simulated) -> Web:
    """A web process, asked with a key that may everything with the grants of one client of two."""
    theirs = provider.another("theirs")
    installation.register("theirs", theirs.registration(), theirs.secret)
    installation.import_grants("theirs", theirs.mint(1, "theirs-"))
    for name, client in (("shop", "app"), ("billing", "theirs")):
        installation.command("apps", "add", name, "--client", client, "--key-file", str(tmp_path / f"{name}.key"))
    sockets = {name: str(tmp_path / f"{name}.sock") for name in ("token", "ops")}
    installation.env["EVERGRANT_TOKEN_BIND"], installation.env["EVERGRANT_OPS_BIND"] = sockets["token"], sockets["ops"]
    installation.env["EVERGRANT_TOKEN_REQUESTS_PER_SECOND"] = "10000"
    process = installation.run("web", [sys.executable, "-m", "worker.cli", "web"])
    eventually(lambda: process.said("web.listening"), timeout=60)
    return Web(Addresses(f"unix:{sockets['ops']}", f"unix:{sockets['token']}"), key_in(tmp_path / "shop.key"))


def key_in(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()


def everything(web: Web, ref: str) -> list[Answer]:
    """All that a key can ask for of one grant, and what ends it last, until it is answered."""
    found = [web.get(ref), *(web.post(ref, "refresh") for _ in range(5)), web.post(ref, "rejected", {"generation": 1})]
    found += [web.get(ref), web.ask("GET", "/v1/grants"), web.ask("GET", "/v1/apps"), web.ask("GET", "/v1/clients")]

    def ended() -> Answer | None:
        answer = web.post(ref, "revocation", {"reason": "stolen", "erase": True})
        return None if answer.status == 503 else answer  # ten of a key may wait: it has to come again

    last = eventually(ended, timeout=30)
    assert last is not None
    return [*found, last]


def test_a_key_with_every_right_reads_and_ends_its_clients_grants_alone_and_is_braked(
    installation: Installation, provider: Simulated, web: Web, tmp_path: Path
) -> None:
    answers = [answer for ref in ("theirs-1", *REFS) for answer in everything(web, ref)]
    eventually(lambda: braked_for("app", installation), timeout=60)
    assert installation.statuses("theirs") == {"active": 1}
    assert {answer.status for answer in everything(web, "theirs-1")} == {404}
    told = b"".join(answer.body + json.dumps(answer.headers).encode() for answer in answers)
    hidden = {*installation.refresh_tokens().values(), provider.secret, key_in(tmp_path / "billing.key")}
    hidden |= {row["refresh_token"] for ref in REFS for row in pairs(provider, ref)}
    assert [secret for secret in hidden if secret.encode() in told] == []
    read = {answer.json["access_token"] for answer in answers if answer.status == 200}
    assert len(read) >= GRANTS  # it was a key, after all
    nothing_else_is_hurt(provider)


def braked_for(client: str, installation: Installation) -> bool:
    held = installation.rows(COUNTED)[0]
    return held == {"held": GRANTS - LIMIT, "asked": LIMIT} and installation.statuses(client).get("revoked") == LIMIT


def pairs(provider: Simulated, ref: str) -> list[dict[str, Any]]:
    return [pair for grant in provider.control.grants(ref) for pair in grant["pairs"]]


@pytest.mark.parametrize("how", ["rotate", "remove"])
def test_a_key_that_was_taken_away_opens_nothing_from_then_on(
    installation: Installation, web: Web, tmp_path: Path, how: str
) -> None:
    assert web.get("app-1").status == 200
    more = ("--overlap", "0s", "--key-file", str(tmp_path / "new.key")) if how == "rotate" else ()
    installation.command("apps", how, "shop", *more)
    eventually(lambda: web.get("app-1").status == 401, timeout=10)  # web looks every two seconds
    assert {answer.status for ref in REFS for answer in (web.get(ref), web.post(ref, "revocation"))} == {401}
    assert installation.rows(COUNTED) == [{"held": 0, "asked": 0}]
    if how == "rotate":
        assert web.with_key(key_in(tmp_path / "new.key")).get("app-1").status == 200
