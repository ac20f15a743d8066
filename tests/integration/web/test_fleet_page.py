"""The fleet page over HTTP: what each page tells."""

import http.client
from urllib.parse import urlsplit

import pytest

from models.database import transaction
from models.states.process import ProcessKind
from tests.harness import Harness
from tests.integration.web.asking import Web
from tests.integration.web.page import LONG_AGO, see


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client()


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


def test_where_customers_are_led_in_their_browser_a_grant_names_the_command_for_their_link(
    harness: Harness, client: int, web: Web
) -> None:
    harness.grant(client, "sad", status="needs_consent", reason="revoked_or_expired")
    command = "evergrant grants reconnect-link sad --client demo"
    assert command not in see(web, "/grants/demo/sad").words
    harness.run("update evergrant.installation set public_url = 'https://connect.test'")
    page = see(web, "/grants/demo/sad").words
    assert page.count(command) == 2  # where it is explained, and among the commands
    assert "evergrant grants connect sad" not in page


def test_a_refs_earlier_consents_are_told_with_the_present_one(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, "customer", status="revoked")
    harness.grant(client, "customer", token="later")
    page = see(web, "/grants/demo/customer")
    assert "Consents that this ref has had" in page.words
    assert "revoked" in page.words


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
