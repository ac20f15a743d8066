"""Notices of providers over real HTTP: taken in by web, proven by a worker, and never the death of a grant."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.database import transaction
from tasks import notices
from tasks.runtime.meters import NOTICES
from tests.harness import Harness, token_set
from tests.integration.web.asking import Answer, Web
from tests.integration.web.conftest import bound, served

PIPEDRIVE = {"method": "DELETE", "auth": "basic", "matches": {"company": "company_id"}}
WEBHOOK = {"auth": "secret_header", "signature_header": "X-Secret", "matches": {"ref": "ref"}}
RULES = [PIPEDRIVE, WEBHOOK]
PROVEN = {"Authorization": "Basic " + base64.b64encode(b"app:s3cret").decode()}


@pytest.fixture
def open_web(harness: Harness, tmp_path: Path) -> Iterator[Web]:
    """The listeners, asked without a key."""
    with served(bound(tmp_path)) as addresses:
        yield Web(addresses, None)


def tell(
    web: Web, members: Any, *, method: str = "DELETE", headers: dict[str, str] = PROVEN, to: str = "demo"
) -> Answer:
    return web.ask(method, f"/v1/notices/{to}", body=json.dumps(members).encode(), headers=headers)


def read(harness: Harness) -> dict[tuple[str, ...], int]:
    """One reading by a worker; returns what was counted."""
    before = NOTICES.read()
    with transaction() as connection:
        notices.read(connection, harness.runtime)
    return {
        labels: count - before.get(labels, 0)
        for labels, count in NOTICES.read().items()
        if count > before.get(labels, 0)
    }


def wished(harness: Harness) -> list[tuple[str, bool]]:
    rows = harness.all("""select g.ref, w.rejected from evergrant.refresh_requests w
        join evergrant.grants g on g.id = w.grant_id order by g.ref""")
    return [(row["ref"], row["rejected"]) for row in rows]


def test_an_uninstall_makes_the_grants_of_that_company_be_looked_at_and_no_other(
    harness: Harness, open_web: Web
) -> None:
    client = harness.client(notices=RULES, rotation="none")
    for ref, company in (("a", "7"), ("b", "7"), ("c", "8")):
        harness.grant(client, ref, labels={"company": [company]})

    assert tell(open_web, {"company_id": 7}).status == 204
    assert read(harness) == {("demo", "taken"): 1}

    assert wished(harness) == [("a", False), ("b", False)]
    assert {row["status"] for row in harness.all("select status from evergrant.grants")} == {"active"}
    assert harness.all("select * from evergrant.notices") == []
    assert len(harness.claim(client).requested) <= 2


def test_the_ref_itself_may_be_named_and_two_notices_make_one_look(harness: Harness, open_web: Web) -> None:
    client = harness.client(notices=RULES, rotation="none")
    harness.grant(client, "a")

    for _ in range(2):
        assert tell(open_web, {"ref": "a"}, method="POST", headers={"X-Secret": "s3cret"}).status == 204
    read(harness)

    assert wished(harness) == [("a", False)]


def test_it_comes_no_sooner_than_any_other_early_refresh(harness: Harness, open_web: Web) -> None:
    client = harness.client(notices=RULES, rotation="none")
    harness.grant(client, "a", labels={"company": ["7"]})
    harness.ask(client, token_set("2", refresh_token=...))

    tell(open_web, {"company_id": 7})
    read(harness)

    assert harness.claim(client).count == 0
    harness.later(seconds=61)
    assert len(harness.claim(client).requested) == 1


@pytest.mark.parametrize("secret", ["wrong", "s3cre"])
def test_what_cannot_be_proven_is_dropped_and_counted(harness: Harness, open_web: Web, secret: str) -> None:
    client = harness.client(notices=RULES)
    harness.grant(client, "a")

    assert tell(open_web, {"ref": "a"}, method="POST", headers={"X-Secret": secret}).status == 204

    assert read(harness) == {("demo", "unproven"): 1}
    assert (wished(harness), harness.all("select * from evergrant.notices")) == ([], [])


def test_what_is_about_nobody_is_counted_apart(harness: Harness, open_web: Web) -> None:
    harness.client(notices=RULES)

    tell(open_web, {"company_id": 9})

    assert read(harness) == {("demo", "of_nobody"): 1}


def test_neither_proof_nor_body_can_be_read_in_the_database(harness: Harness, open_web: Web) -> None:
    harness.client(notices=RULES)

    tell(open_web, {"ref": "a"}, method="POST", headers={"X-Secret": "s3cret"})

    (row,) = harness.all("select sealed_notice from evergrant.notices")
    assert b"s3cret" not in bytes(row["sealed_notice"])


def test_it_is_not_told_whether_there_is_such_a_client(harness: Harness, open_web: Web) -> None:
    harness.client("quiet")

    unknown, quiet = (tell(open_web, {}, to=name) for name in ("nobody", "quiet"))

    assert unknown.error == quiet.error == (404, "no_notices")
    assert unknown.body == quiet.body


def test_another_method_than_the_files_is_no_notice(harness: Harness, open_web: Web) -> None:
    harness.client(notices=[PIPEDRIVE])

    assert tell(open_web, {}, method="POST").error == (404, "no_notices")
    assert tell(open_web, {}, method="PUT").error == (405, "wrong_method")


def test_without_any_proof_nothing_is_kept(harness: Harness, open_web: Web) -> None:
    harness.client(notices=RULES)

    assert tell(open_web, {}, headers={}).error == (401, "no_proof")
    assert harness.all("select * from evergrant.notices") == []


def test_a_notice_has_a_size(harness: Harness, open_web: Web) -> None:
    harness.client(notices=RULES)

    assert tell(open_web, "x" * (64 * 1024 - 2)).status == 204
    assert tell(open_web, "x" * (64 * 1024)).error == (413, "too_large")


def test_more_than_so_many_may_not_wait(harness: Harness, open_web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.notice.MOST_WAITING", 2)
    harness.client(notices=RULES)

    answers = [tell(open_web, {"company_id": 7}) for _ in range(3)]

    assert [answer.status for answer in answers] == [204, 204, 429]
    assert answers[-1].headers["retry-after"] == "60"


def test_more_than_so_many_may_not_come(harness: Harness, open_web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all clients together, known or not: whoever has no key must not keep the database busy."""
    monkeypatch.setattr("worker.web.notices.BURST", 3)
    monkeypatch.setattr("worker.web.notices.PER_SECOND", 0)

    answers = [tell(open_web, {}, to="nobody") for _ in range(4)]

    assert [answer.status for answer in answers] == [404, 404, 404, 429]
    assert answers[-1].error == (429, "too_many_notices")


def test_a_client_whose_file_is_gone_since_is_told_and_keeps_no_other_back(harness: Harness, open_web: Web) -> None:
    first, second = harness.client("first", notices=RULES), harness.client("second", notices=RULES)
    harness.grant(second, "a")
    for name in ("first", "second"):
        tell(open_web, {"ref": "a"}, method="POST", headers={"X-Secret": "s3cret"}, to=name)
    harness.run(
        "update evergrant.clients set provider = 'gone', updated_at = clock_timestamp() where id = :id", id=first
    )

    assert read(harness) == {("first", "unreadable"): 1, ("second", "taken"): 1}
