"""The fleet page over HTTP: what each page tells, how searches go on, and what it never does."""

import http.client
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from models.database import transaction
from models.states.process import ProcessKind
from models.views import pages
from tests.harness import Harness
from tests.integration.web.asking import Answer, Web, ask
from tests.integration.web.conftest import bound, served
from tests.integration.web.test_web_operators import basic

HOSTILE = "\"'><script>alert(1)</script>\u202e{{7*7}}"

LONG_AGO = "2026-01-01T00:00:00Z"


class Page(HTMLParser):
    """A page as a program that runs no script sees it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        assert answer.headers["content-type"].startswith("text/html"), answer.body
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(answer.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag == "dd" else ""

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def links(self) -> list[str]:
        return [attrs["href"] or "" for tag, attrs in self.tags if tag == "a"]

    def refs(self) -> list[str]:
        return [link.rpartition("/")[2] for link in self.links() if link.startswith("/grants/")]


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


def see(web: Web, path: str, status: int = 200) -> Page:
    answer = web.ops(path)
    assert answer.status == status, answer.body
    return Page(answer)


def test_the_first_page_names_what_needs_somebody_with_its_command_and_counts_the_fleet(
    harness: Harness, client: int, web: Web
) -> None:
    harness.grant(client, "well")
    harness.grant(client, "sad", status="needs_consent", reason="revoked_or_expired")
    page = see(web, "/")
    assert "1 grant needs its user to consent again" in page.words
    assert "evergrant grants list --status needs_consent" in page.words
    assert "no worker is alive: nothing is sent" in page.words
    assert "/grants?state=needs_consent&client=demo" in page.links()
    assert "/clients/demo" in page.links()


def test_a_cause_that_many_fail_with_leads_to_those_who_do(harness: Harness, client: int, web: Web) -> None:
    for ref in ("a", "b"):
        harness.grant(client, ref, failures=2, last_error_code="invalid_client", last_error_at=LONG_AGO)
    harness.grant(client, "c", failures=1, last_error_code="timeout", last_error_at=LONG_AGO)
    link = "/grants?state=failing&client=demo&cause=invalid_client"
    assert link in see(web, "/").links()
    assert see(web, link).refs() == ["a", "b"]


def test_a_client_shows_its_valve_its_rate_and_what_to_type(harness: Harness, web: Web) -> None:
    harness.grant(harness.client("temple", rate=100), "a")
    harness.run("update evergrant.valves set minute_at = clock_timestamp(), minute_asked = 38")
    harness.run("update evergrant.valves set paused_by_operator = true")
    page = see(web, "/clients/temple")
    assert "paused by an operator" in page.words
    assert "Used 38 of 100/minute" in page.words
    assert "evergrant clients resume temple" in page.words
    assert "runway" in page.words


def test_a_grant_shows_the_explanation_that_every_command_gives_and_what_has_happened(
    harness: Harness, client: int, web: Web
) -> None:
    grant_id = harness.grant(client, "customer")
    harness.former(grant_id, "before")
    harness.set(grant_id, suspect_at=LONG_AGO)
    page = see(web, "/grants/demo/customer")
    from tasks import explain

    with transaction() as connection:
        told = explain.of_grant(connection, grant_id, settings=harness.settings)
    assert told.headline in page.words
    assert told.next.split(":")[0] in page.words
    for what in ("grant.created", "token_set.replaced", "grant.suspect", "predecessor"):
        assert what in page.words
    assert "evergrant grants history customer --client demo" in page.words


def test_a_refs_earlier_consents_are_told_with_the_present_one(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, "customer", status="revoked")
    harness.grant(client, "customer", token="later")
    page = see(web, "/grants/demo/customer")
    assert "Consents that this ref has had" in page.words
    assert "revoked" in page.words


def test_pages_of_grants_follow_each_other_and_miss_none(harness: Harness, web: Web) -> None:
    first, second = harness.client("one"), harness.client("two")
    wanted = []
    for n in range(70):
        harness.grant(first if n % 2 else second, f"r-{n:03}")
        wanted.append(f"r-{n:03}")
    harness.grant(second, "r-007")  # the same ref at another client
    wanted.append("r-007")
    found, path = [], "/grants"
    for _ in range(5):
        page = see(web, path)
        found += page.refs()
        following = [link for link in page.links() if "after=" in link]
        if not following:
            break
        (path,) = following
    assert found == sorted(wanted)


@pytest.mark.parametrize(
    ("query", "refs"),
    [
        ("", ["a-1", "a-2", "b-1", "doubt", "fails", "sad", "suspect", "waits"]),
        ("?ref=a-", ["a-1", "a-2"]),
        ("?ref=a-&client=two", ["a-2"]),
        ("?client=two", ["a-2"]),
        ("?label=org%3D8f2", ["b-1"]),
        ("?label=org%3D8", []),
        ("?state=needs_consent", ["sad"]),
        ("?state=needs_consent&client=one&cause=expired", ["sad"]),
        ("?state=needs_consent&cause=mfa_required", []),
        ("?cause=expired", ["sad"]),
        ("?cause=timeout", ["fails"]),
        ("?state=failing", ["fails"]),
        ("?state=suspect", ["suspect"]),
        ("?state=in_doubt", ["doubt"]),
        ("?state=paused", ["waits"]),
        ("?state=revoked", ["gone"]),
        ("?state=all&ref=gon", ["gone"]),
        ("?state=revoking", ["going"]),
        ("?state=active&client=two", ["a-2"]),
    ],
)
def test_each_filter_finds_its_own_alone(harness: Harness, web: Web, query: str, refs: list[str]) -> None:
    one, two = harness.client("one"), harness.client("two")
    harness.grant(one, "a-1")
    harness.grant(two, "a-2")
    harness.grant(one, "b-1", labels={"org": ["8f2", "9"]})
    harness.grant(one, "sad", status="needs_consent", reason="expired")
    harness.grant(one, "fails", failures=2, last_error_code="timeout")
    harness.grant(one, "suspect", suspect_at=LONG_AGO)
    harness.grant(one, "doubt", doubt_since=LONG_AGO)
    harness.grant(one, "waits", status="paused")
    harness.grant(one, "gone", status="revoked")
    harness.grant(one, "going", status="revoking")
    assert see(web, f"/grants{query}").refs() == refs


def test_a_search_that_takes_too_long_stops_says_how_far_it_came_and_goes_on_there(
    harness: Harness, client: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FIRST_STEP", 2)
    monkeypatch.setattr(pages, "STEP", 2)
    for n in range(5):
        harness.grant(client, f"r-{n}")
    harness.grant(client, "z", labels={"org": ["8"]})
    search = pages.Search(label=("org", "8"))
    with transaction() as connection:
        found = pages.grants(connection, search, after=None, most=50, enough=lambda: True)
        assert (found.rows, found.looked_at) == ([], 2)
        assert found.next is not None
        assert found.next[0] == "r-1"
        found = pages.grants(connection, search, after=found.next, most=50, enough=lambda: False)
        assert ([row["ref"] for row in found.rows], found.next) == (["z"], None)


def test_no_statement_of_a_search_counts_or_sorts_the_fleet(harness: Harness, client: int) -> None:
    """The page of a million is as quick as that of a hundred: each step is an index's, and has a limit."""
    source = Path(pages.__file__).read_text(encoding="utf-8")
    assert " offset " not in source.lower()
    assert re.findall(r"count\(\*\)[^,)]*", source) == ["count(*) from looked"]


def test_dead_letters_tell_what_to_do_about_each(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, "b", status="needs_consent", reason="revoked_or_expired")
    insert = """insert into evergrant.dead_letters (kind, client_id, grant_id, ref, generation, cause, attempts,
            first_failed_at, dead_at, resolved_at, resolution)
        select 'refresh', client_id, id, ref, 1, :cause, 2, now(), now(), :resolved, :resolution
        from evergrant.grants where ref = 'b'"""
    harness.run(insert, cause="gave_up", resolved=None, resolution=None)
    harness.run(insert, cause="response_lost", resolved=LONG_AGO, resolution="discarded")
    page = see(web, "/dead-letters")
    letter = harness.one("select id from evergrant.dead_letters where resolved_at is null")["id"]
    assert f"evergrant dead-letters redrive {letter}" in page.words
    assert "response_lost" not in page.words
    assert "response_lost" in see(web, "/dead-letters?closed=yes").words
    assert see(web, "/dead-letters?cause=refused").words.count("No dead letter matches") == 1


def test_a_revocation_tells_how_well_its_end_is_known_and_why_no_better(
    harness: Harness, client: int, web: Web
) -> None:
    grant_id = harness.grant(client, "gone", status="revoked")
    harness.run(
        """insert into evergrant.revocations (client_id, grant_id, ref, reason, status, evidence, requested_by, done_at)
        select client_id, id, ref, 'account deleted', 'done', 'accepted', 'anna', now() from evergrant.grants"""
    )
    harness.run(
        """insert into evergrant.events (type, client_id, grant_id, ref, data)
        select 'grant.revoked', client_id, id, ref, '{"because": ["no_way_to_look"]}' from evergrant.grants
        where id = :id""",
        id=grant_id,
    )
    for path in ("/revocations", "/revocations?status=done&client=demo"):
        page = see(web, path)
        for word in ("accepted", "no_way_to_look", "account deleted", "anna"):
            assert word in page.words
    assert "No revocation matches." in see(web, "/revocations?status=dead").words


def test_processes_and_their_journals_are_told(harness: Harness, web: Web) -> None:
    harness.run("insert into evergrant.journals (host, process, damage) values ('h1', 'p1', 'a hole at 12')")
    page = see(web, "/processes")
    journal = harness.one("select id from evergrant.journals where damage is not null")["id"]
    assert f"evergrant journals abandon {journal}" in page.words
    assert "a hole at 12" in page.words
    assert ProcessKind.WEB in page.words or "No process" in page.words


def test_events_are_there_without_a_script_and_come_live_with_one(harness: Harness, client: int, web: Web) -> None:
    tell = """insert into evergrant.events (type, client_id, grant_id, ref, reason)
        select 'grant.late', client_id, id, ref, :reason from evergrant.grants"""
    harness.grant(client, "customer")
    harness.run(tell, reason="the first")
    page = see(web, "/events")
    assert "grant.late" in page.words
    assert "/grants/demo/customer" in page.links()
    (last,) = [attrs["data-last"] for tag, attrs in page.tags if attrs.get("id") == "events"]
    stream = http.client.HTTPConnection(urlsplit(web.addresses.ops).netloc, timeout=30)
    stream.request("GET", f"/events/stream?after={last}")
    response = stream.getresponse()
    assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
    harness.run(tell, reason="the <second>")
    lines = [response.readline().decode() for _ in range(2)]
    while not lines[-1].startswith("data:"):
        lines.append(response.readline().decode())
    stream.close()
    assert "the <second>" in lines[-1]
    assert not any("the first" in line for line in lines)


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


def test_every_page_can_be_read_and_used_without_eyes_mouse_or_script(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, "customer", failures=1, last_error_code="timeout", last_error_at=LONG_AGO)
    for path in ("/", "/clients/demo", "/grants", "/grants/demo/customer", "/events", "/processes", "/revocations"):
        page = see(web, path)
        tags = [tag for tag, _ in page.tags]
        assert {"header", "nav", "main", "h1", "title"} <= set(tags)
        assert tags.count("h1") == tags.count("main") == 1
        assert tags.count("table") == tags.count("caption")
        assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
        labelled = {attrs["for"] for tag, attrs in page.tags if tag == "label"}
        assert {attrs["id"] for tag, attrs in page.tags if tag in ("input", "select")} == labelled
        assert page.links()[0] == "#main"
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))


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
