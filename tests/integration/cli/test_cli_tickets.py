"""`evergrant grants connect-link | reconnect-link`, `evergrant tickets`, and what `clients` says of pages."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import settings
from tests.customers import a_visit
from tests.integration.cli.evergrant import Evergrant

URL = "https://connect.acme.example"


@pytest.fixture
def shop(temple: Evergrant, sql: Any) -> Evergrant:
    """The client `temple`, beside a public listener that was started once."""
    sql("update evergrant.installation set public_url = :url, public_url_seen_at = clock_timestamp()", url=URL)
    return temple


def test_a_link_leads_to_the_public_listener_and_says_what_the_provider_must_know(shop: Evergrant) -> None:
    done = shop("grants", "connect-link", "customer-42", "--label", "org=8f2", "--scope", "crm_read", "--locale", "de")
    assert re.fullmatch(rf"{URL}/connect/[A-Za-z0-9_-]{{43}}\n", done.out)

    told = shop("grants", "connect-link", "customer-42", "--json").json
    assert told.pop("url").startswith(f"{URL}/connect/")
    assert told == {
        "ref": "customer-42",
        "client": "temple",
        "redirect_uri": f"{URL}/callback",
        "expires_in": 900,
    }
    first, second = reversed(shop("tickets", "list", "--json").lines)
    assert (first["labels"], first["scopes"], first["locale"]) == ({"org": ["8f2"]}, ["crm_read"], "de")
    assert (second["labels"], second["scopes"], second["state"]) == ({}, [], "waits")


def test_without_a_public_listener_no_link_is_made(temple: Evergrant, sql: Any) -> None:
    done = temple("grants", "connect-link", "customer-42", "--json")
    assert (done.code, done.error) == (1, "no_public_listener")
    assert sql("select from evergrant.tickets") == []


def test_where_nobody_serves_the_public_listener_any_longer_no_link_is_made_and_that_is_said(
    shop: Evergrant, sql: Any
) -> None:
    """Whether this command was told where it is makes no difference: who would open the link meets nobody."""
    sql("update evergrant.installation set public_url_seen_at = '2026-01-02 14:02Z'")
    for settled in (None, "https://here.example"):
        settings.adopt(settings.current().model_copy(update={"public_url": settled}))
        done = shop("grants", "connect-link", "customer-42")
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            f"evergrant: No web serves the public listener {URL} any longer (last: 2026-01-02T14:02:00Z), so a link "
            "would lead nowhere; start `evergrant web` with EVERGRANT_PUBLIC_BIND and EVERGRANT_PUBLIC_URL, or "
            "`evergrant up` with them.\n"
        )
    assert sql("select from evergrant.tickets") == []


def test_where_users_may_be_sent_is_said_of_the_client_as_often_as_need_be(shop: Evergrant) -> None:
    urls = ["https://app.acme.example/settings", "https://other.acme.example"]
    changed = shop("clients", "set", "temple", *(f"--return-to={url}" for url in urls), "--json").json
    assert (changed["return_to_urls"], changed["return_to"]) == (urls, urls[0])

    for url in (urls[0] + "/a?b=c", urls[1] + "/x"):
        assert shop("grants", "connect-link", "a", "--return-to", url).code == 0
    done = shop("grants", "connect-link", "a", "--return-to", "https://evil.example/settings", "--json")
    assert (done.code, done.error) == (2, "ticket_refused")
    assert "evil.example" in done.err
    assert "--return-to" in done.err

    assert shop("clients", "set", "temple", "--return-to", "https://new.acme.example", "--json").json[
        "return_to_urls"
    ] == ["https://new.acme.example"]
    assert shop("clients", "set", "temple", "--rate", "60/minute", "--json").json["return_to_urls"] == [
        "https://new.acme.example"
    ]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--return-to", "https://acme.example/a?b=c"),
        ("--return-to", "https://user@acme.example/"),
        ("--return-to", "https://acme.example/a/../b"),
        ("--return-to", "javascript:alert(1)"),
        ("--logo", "http://acme.example/logo.png"),
        ("--logo", "https://user@acme.example/logo.png"),
        ("--logo", 'https://acme.example/"x'),
        ("--logo", "data:image/png;base64,AAAA"),
        ("--colour", "red"),
        ("--colour", "#12345"),
        ("--colour", "#fff;}"),
        ("--title", "x" * 81),
        ("--title", "a\nb"),
    ],
)
def test_what_a_page_cannot_show_is_refused(shop: Evergrant, option: str, value: str) -> None:
    assert shop("clients", "set", "temple", option, value).code == 2


def test_how_pages_look_is_said_and_taken_back(shop: Evergrant) -> None:
    said = ["--title", "Acme", "--logo", "https://acme.example/logo.png", "--color", "#0A3"]
    told = shop("clients", "set", "temple", *said, "--json").json
    assert (told["title"], told["logo_url"], told["colour"]) == (
        "Acme",
        "https://acme.example/logo.png",
        "#00aa33",
    )
    told = shop("clients", "set", "temple", "--title", "", "--json").json
    assert (told["title"], told["colour"]) == (None, "#00aa33")


def test_whoever_connects_again_must_be_there(shop: Evergrant, sql: Any) -> None:
    done = shop("grants", "reconnect-link", "nobody", "--json")
    assert (done.code, done.error) == (4, "unknown_ref")
    shop.take_in("a")

    assert shop("grants", "reconnect-link", "a").code == 0
    assert shop("grants", "reconnect-link", "a", "--allow-other-account").code == 0

    allowed = "select other_account_allowed from evergrant.tickets order by created_at"
    assert sql(allowed) == [(False,), (True,)]


def test_a_client_without_users_has_no_links(shop: Evergrant) -> None:
    command = "clients add chain --provider event-temple-private --client-id id-2 --client-secret-file -"
    assert shop(*command.split(), stdin="hush\n").code == 0
    done = shop("grants", "connect-link", "a", "--client", "chain", "--json")
    assert (done.code, done.error) == (2, "no_user")


def test_tickets_are_listed_and_taken_back(shop: Evergrant) -> None:
    for ref in ("a", "b"):
        shop("grants", "connect-link", ref)
    (found,) = shop("tickets", "list", "--ref", "b", "--json").lines
    assert found["state"] == "waits"

    done = shop("tickets", "revoke", found["id"], "--json")
    assert done.json == {"ids": [found["id"]], "revoked": True}

    assert [each["ref"] for each in shop("tickets", "list", "--state", "revoked", "--json").lines] == ["b"]
    assert [each["ref"] for each in shop("tickets", "list", "--limit", "1", "--json").lines] == ["b"]
    assert "revoked" in shop("tickets", "list").out
    unknown = shop("tickets", "revoke", "5d3c9a52-6f0e-4a53-9f0e-0a8f6d2f7c11", "--json")
    assert (unknown.code, unknown.error) == (4, "unknown_ticket")


def test_one_that_is_unknown_leaves_the_others_as_they_were(shop: Evergrant) -> None:
    shop("grants", "connect-link", "a")
    (found,) = shop("tickets", "list", "--json").lines
    shop("tickets", "revoke", found["id"], "5d3c9a52-6f0e-4a53-9f0e-0a8f6d2f7c11")
    assert shop("tickets", "list", "--json").lines[0]["state"] == "waits"


def test_a_ticket_tells_what_became_of_it(shop: Evergrant, sql: Any) -> None:
    for ref in ("used", "expired", "connected", "denied", "failed", "left"):
        shop("grants", "connect-link", ref)
    sql("update evergrant.tickets set used_at = now() where ref <> 'expired'")
    sql("update evergrant.tickets set expires_at = now() where ref in ('expired', 'left')")
    sql(
        """insert into evergrant.visits (id, ticket_id, ended_at, answered_at, outcome, reason, code)
        select gen_random_uuid(), id, now(), now(), ref, case ref when 'failed' then 'pair_held' end,
            case ref when 'denied' then 'access_denied' end
        from evergrant.tickets where ref in ('connected', 'denied', 'failed')"""
    )
    found = {each["ref"]: each for each in shop("tickets", "list", "--json").lines}
    assert {ref: each["state"] for ref, each in found.items()} == {
        "used": "used",
        "expired": "expired",
        "left": "expired",
        "connected": "connected",
        "denied": "denied",
        "failed": "failed",
    }
    assert found["failed"]["reason"] == "pair_held"
    assert found["denied"]["code"] == "access_denied"


def test_of_a_customer_who_waits_it_is_told_since_when_and_what_is_in_the_way(shop: Evergrant, sql: Any) -> None:
    ((client_id,),) = sql("select id from evergrant.clients")
    a_visit(sql, client_id, "waits", back=40, held_by="client_paused")
    a_visit(sql, client_id, "late", back=700, held_by="client_paused")
    found = {each["ref"]: each for each in shop("tickets", "list", "--json").lines}
    assert (found["waits"]["state"], found["waits"]["held_by"]) == ("used", "client_paused")
    back = datetime.fromisoformat(found["waits"]["answered_at"])
    assert timedelta(seconds=39) < datetime.now(UTC) - back < timedelta(minutes=2)
    assert (found["late"]["state"], found["late"]["held_by"]) == ("failed", None)
    assert found["late"]["reason"] == "client_paused"
    assert "client_paused" in shop("tickets", "list", "--ref", "waits").out


def test_the_twenty_first_that_waits_is_too_many(shop: Evergrant) -> None:
    for _ in range(20):
        assert shop("grants", "connect-link", "a").code == 0
    done = shop("grants", "connect-link", "a", "--json")
    assert (done.code, done.error) == (75, "too_many_tickets")


def test_an_account_is_sealed_anew_with_the_other_secrets(shop: Evergrant, sql: Any) -> None:
    """Else a key could be retired that it needs."""
    from models.sealing import key_use, reseal

    assert any(place.table == "grant_accounts" for place in reseal.PLACES)
    assert "grant_accounts" in str(key_use.USED)


def test_whose_consent_is_missing_is_asked_by_a_link_wherever_that_is_told(shop: Evergrant, sql: Any) -> None:
    sql(
        """insert into evergrant.grants (id, client_id, ref, status, reason, generation, due_at)
        select gen_random_uuid(), id, 'lost', 'needs_consent', 'response_lost', 1, now() from evergrant.clients"""
    )
    sql(
        """insert into evergrant.dead_letters
            (kind, grant_id, client_id, ref, generation, cause, detail, attempts, first_failed_at, dead_at)
        select 'refresh', id, client_id, ref, 1, 'response_lost', 'x', 1, now(), now() from evergrant.grants"""
    )
    command = "evergrant grants reconnect-link lost --client temple"
    assert shop("explain", "lost", "--json").json["command"] == command
    assert shop("grants", "show", "lost", "--json").json["next"].endswith(command)
    assert command in shop("grants", "token", "lost").err
    assert shop("dead-letters", "show", "1", "--json").json["next"] == command
    sql("update evergrant.installation set public_url = null")
    command = "evergrant grants connect lost --client temple"
    assert shop("explain", "lost", "--json").json["command"] == command
    assert shop("grants", "show", "lost", "--json").json["next"].endswith(command)
    assert command in shop("grants", "token", "lost").err
    assert shop("dead-letters", "show", "1", "--json").json["next"] == command
