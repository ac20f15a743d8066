"""What the fleet page never does, whoever asks and whatever was written by others."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest

from models.views import pages
from tests.harness import Harness
from tests.integration.web.asking import Web, ask
from tests.integration.web.conftest import bound, served
from tests.integration.web.page import LONG_AGO, Page, see
from tests.integration.web.test_web_operators import basic
from worker.web.pages import fleet_pages

HOSTILE = "\"'><script>alert(1)</script>\u202e{{7*7}}"


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


@pytest.mark.parametrize("ref", [HOSTILE, "a/b?c#d", "..", ".", "- -x", "%2e%2e", "ü \u2066x"])
def test_whatever_a_ref_is_it_is_shown_as_text_and_found_by_its_link(
    harness: Harness, client: int, web: Web, ref: str
) -> None:
    harness.grant(
        client,
        ref,
        labels={"<b>": [HOSTILE]},
        failures=1,
        last_error_code=HOSTILE,
        last_error_at=LONG_AGO,
        scope=HOSTILE,
    )
    harness.run(
        """insert into evergrant.events (type, client_id, grant_id, ref, reason, actor, labels)
        select 'grant.late', client_id, id, ref, :text, :text, labels from evergrant.grants""",
        text=HOSTILE,
    )
    (link,) = {each for each in see(web, "/grants").links() if each.startswith("/grants/")}
    assert urljoin("http://x/", link) == f"http://x{link}"  # a browser takes it for no other place
    seen = [see(web, path) for path in ("/", "/grants", "/events", link, f"/grants?ref={quote(ref)}")]
    for page in seen:
        assert {tag for tag, _ in page.tags} & {"b", "img"} == set()
        scripts = [attrs for tag, attrs in page.tags if tag == "script"]
        assert scripts in ([], [{"src": "/static/events.js", "defer": None}])
        assert not any(name.startswith("on") or name == "style" for _, attrs in page.tags for name in attrs)
        assert not {"\u202e", "\u2066"} & set(page.text)
    assert link in seen[4].links()


def test_no_page_shows_a_token_or_a_secret(harness: Harness, client: int, web: Web) -> None:
    grant_id = harness.grant(client, "customer")
    harness.former(grant_id, "older")
    sealed = harness.row(grant_id)["sealed_refresh_token"]
    for path in ("/", "/clients/demo", "/grants", "/grants/demo/customer", "/events", "/processes", "/dead-letters"):
        body = web.ops(path).body
        for secret in (b"rt-customer", b"at-customer", b"rt-older", b"s3cret", sealed.hex().encode()):
            assert secret not in body


def test_what_is_not_there_is_told_in_one_sentence_with_the_next_step(harness: Harness, client: int, web: Web) -> None:
    for path, sentence in (
        ("/grants/demo/nobody", "There is no grant 'nobody' of client 'demo'."),
        ("/grants/none/nobody", "There is no grant 'nobody' of client 'none'."),
        ("/clients/none", "There is no client 'none'."),
        ("/grants?client=none", "There is no client 'none'."),
    ):
        page = see(web, path, status=404)
        assert sentence in page.words
        assert "Next:" in page.words


@pytest.mark.parametrize(
    "path",
    [
        *("/grants?state=odd", "/grants?label=odd", "/grants?after=odd", "/grants?ref=a%00b", "/grants?after=W10"),
        *("/dead-letters?before=x", "/revocations?status=odd", f"/grants?ref={'x' * 1001}", "/grants/demo/a%00b"),
        "/revocations?before=99999999999999999999",
    ],
)
def test_what_cannot_be_used_is_told_and_nothing_breaks(harness: Harness, web: Web, path: str) -> None:
    assert "Next:" in see(web, path, status=400).words


def test_every_answer_forbids_the_browser_whatever_it_does_not_need(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, "customer")
    paths = ("/", "/grants", "/grants/demo/customer", "/events", "/grants/demo/nobody", "/static/fleet.css")
    for answer in map(web.ops, (*paths, "/static/events.js")):
        policy = dict(each.split(" ", 1) for each in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert set(policy.values()) == {"'none'", "'self'"}
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_a_password_guards_the_pages_as_it_does_the_metrics(
    harness: Harness, tmp_path: Path, key: Callable[..., str]
) -> None:
    file = tmp_path / "ops"
    file.touch(mode=0o600)
    file.write_text("correct horse\n", encoding="utf-8")
    with served(bound(tmp_path, ops_password_file=file)) as addresses:
        for path in ("/", "/grants", "/grants/a/b", "/events/stream", "/static/fleet.css"):
            answer = ask(addresses.ops, "GET", path)
            assert answer.error == (401, "password")
        by_name = basic("correct horse") | {"Host": "fleet.example"}
        assert ask(addresses.ops, "GET", "/grants", headers=by_name).status == 200


def test_without_a_password_no_name_of_a_stranger_leads_to_the_pages(harness: Harness, web: Web) -> None:
    for host in ("evil.example", "evil.example:9464", "127.0.0.1.evil.example"):
        answer = web.ops("/grants", Host=host)
        assert answer.status == 403
        assert "EVERGRANT_OPS_PASSWORD_FILE" in Page(answer).words
    for host in ("localhost:9464", "127.0.0.1", "[::1]:9464"):
        assert web.ops("/grants", Host=host).status == 200


def test_a_database_that_is_away_is_told_by_a_page_too(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web
) -> None:
    from sqlalchemy.exc import OperationalError

    from worker.web import database

    refused = OperationalError("select 1", {}, Exception("connection refused"))

    def away() -> Iterator[None]:
        raise refused

    monkeypatch.setattr(database, "transaction", away)
    for path in ("/", "/grants", "/grants/demo/a", "/clients/demo", "/events"):
        answer = web.ops(path)
        assert answer.status == 503
        assert "The database does not answer." in Page(answer).words
        assert int(answer.headers["retry-after"]) > 0
    assert web.ops("/static/fleet.css").status == 200


def test_no_page_takes_anything_but_a_look(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, "customer")
    for path in ("/", "/grants", "/grants/demo/customer", "/clients/demo"):
        assert ask(web.addresses.ops, "POST", path, body=b"x").status == 405


def test_a_look_that_takes_too_long_is_ended_and_says_what_to_name(
    harness: Harness, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_pages, "LONGEST_STATEMENT", timedelta(milliseconds=50))
    monkeypatch.setattr(pages, "clients", lambda connection: connection.exec_driver_sql("select pg_sleep(60)"))
    page = see(web, "/grants", status=503)
    assert "This takes longer than 0.05 s." in page.words
    assert "name a client, or the beginning of a ref" in page.words


def test_not_even_a_statement_of_ours_could_write_there(
    harness: Harness, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "clients", lambda connection: connection.exec_driver_sql("delete from evergrant.chores"))
    see(web, "/grants", status=503)
    assert harness.all("select name from evergrant.chores")
