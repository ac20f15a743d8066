"""`status` and `doctor` tell of customers who connect: who waits and why, who could not, and that nobody leads them."""

from collections.abc import Callable
from typing import Any

import pytest

import settings
from models.states.visit import VisitReason
from tests.customers import a_visit
from tests.integration.cli.evergrant import Evergrant
from tests.integration.cli.test_cli_status_causes import told

URL = "https://connect.acme.example"
WHO = "whom it concerns: evergrant tickets list --client temple --state failed"


@pytest.fixture
def visit(staffed: Evergrant, sql: Any) -> Callable[..., Any]:
    """`visit(back=40)`: a customer of `temple` who came back so many seconds ago."""
    ((client_id,),) = sql("select id from evergrant.clients")
    return lambda **said: a_visit(sql, client_id, **said)


def test_nothing_is_told_of_customers_who_get_on(staffed: Evergrant, visit: Any) -> None:
    visit(back=20)
    visit(back=20, held_by="exchange_not_sent")
    visit(back=50, ended=49, outcome="connected")
    visit(back=50, ended=49, outcome="denied")
    visit(back=50, ended=49, outcome="failed", reason="begun_again")
    assert told(staffed) == []
    assert staffed("status").code == 0


@pytest.mark.parametrize(
    ("said", "why", "then"),
    [
        (
            {"held_by": "client_paused"},
            "the client is paused (client_paused)",
            ("evergrant clients resume temple", True),
        ),
        ({"held_by": "keys"}, "no worker has the keys for it (keys)", ("evergrant doctor", True)),
        (
            {"held_by": "database_unfit"},
            "nothing is sent from this database (database_unfit)",
            ("evergrant db check", True),
        ),
        (
            {"held_by": "exchange_not_sent", "journal_id": 1},
            "it could not be sent to the provider (exchange_not_sent)",
            ("evergrant clients show temple", False),
        ),
        ({"journal_id": 1}, "the provider has not answered yet", ("evergrant clients show temple", False)),
        ({}, "no worker has taken it up", ("see that beats and workers live: evergrant doctor", True)),
    ],
)
def test_who_waits_for_long_is_told_with_what_is_in_the_way(
    staffed: Evergrant, visit: Any, said: dict[str, Any], why: str, then: tuple[str, bool]
) -> None:
    for back in (45, 95, 5):
        visit(back=back, **said)
    ((what, *rest),) = told(staffed)
    assert what.startswith("temple: 2 customers wait for an exchange since 20")
    assert what.endswith(f"Z: {why}")
    assert tuple(rest) == then
    assert staffed("status").code == (1 if then[1] else 0)
    (finding,) = staffed("doctor", "--json").lines[:1]
    assert (finding["check"], finding["finding"]) == ("fleet", what)


def test_who_could_not_connect_is_told_for_an_hour_by_reason(staffed: Evergrant, visit: Any, sql: Any) -> None:
    for _ in range(3):
        visit(back=60, ended=50, outcome="failed", reason="exchange_refused")
    visit(back=60, ended=50, outcome="failed", reason="another_account")
    refused, others = told(staffed)  # what needs a human first
    assert others[0].startswith("temple: 1 customer could not connect within the hour, the last 20")
    assert others[0].endswith("Z: another_account, the customer signed in with another account than before")
    assert others[1:] == (WHO, False)
    assert refused[0].startswith("temple: 3 customers could not connect within the hour")
    assert refused[1:] == (f"compare what it is registered as: evergrant clients show temple; {WHO}", True)
    assert staffed("status").code == 1

    visit(back=6, ended=5, outcome="connected")  # it is mended, and told of on
    assert [human for _, _, human in told(staffed)] == [False, False]
    sql("update evergrant.visits set ended_at = ended_at - interval '1 hour'")
    assert told(staffed) == []


def test_a_customer_who_could_not_connect_explains_no_token_that_has_lapsed(
    staffed: Evergrant, visit: Any, sql: Any
) -> None:
    staffed.take_in("a", left=-60)
    sql("update evergrant.grants set due_at = clock_timestamp() + interval '1 hour'")
    before = told(staffed)
    visit(back=60, ended=50, outcome="failed", reason="another_account")
    assert [each for each in told(staffed) if "customer" not in each[0]] == before
    assert any(human for _, _, human in before)


def test_whatever_holds_a_visit_up_or_ends_it_has_its_words(staffed: Evergrant, visit: Any, sql: Any) -> None:
    for reason in VisitReason:
        visit(back=60, ended=50, outcome="failed", reason=reason)
        visit(back=60, held_by=reason)
    found = told(staffed)
    assert len(found) == len(VisitReason) - 1 + len(VisitReason)  # none of those who began again
    assert not any("{" in what + step for what, step, _ in found)


def test_a_listener_that_no_web_serves_is_told_and_one_that_is_served_is_not(staffed: Evergrant, sql: Any) -> None:
    sql("update evergrant.installation set public_url = :url, public_url_seen_at = clock_timestamp()", url=URL)
    assert told(staffed) == []
    sql("update evergrant.installation set public_url_seen_at = '2026-01-02 14:02Z'")
    ((what, step, human),) = told(staffed)
    assert (
        what == f"no web serves the public listener {URL} any longer (last: 2026-01-02T14:02:00Z): links lead nowhere"
    )
    assert step == "start `evergrant web` with EVERGRANT_PUBLIC_BIND and EVERGRANT_PUBLIC_URL"
    assert human
    shown = staffed("status", "--json").json["public_listener"]
    assert shown == {"url": URL, "seen_at": "2026-01-02T14:02:00Z", "served": False, "url_here": None}


def test_a_listener_that_is_configured_here_and_that_no_process_has_told_of_is_told(staffed: Evergrant) -> None:
    settings.adopt(settings.current().model_copy(update={"public_url": URL}))
    ((what, step, human),) = told(staffed)
    assert what == f"EVERGRANT_PUBLIC_URL is {URL}, and no web has said that it serves a public listener"
    assert "EVERGRANT_PUBLIC_BIND" in step
    assert human
