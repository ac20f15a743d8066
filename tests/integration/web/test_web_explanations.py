"""Why is there no token? The token interface tells it in the words of `evergrant explain`."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from models import operator_actions, process
from models.database import transaction
from models.states.process import ProcessKind
from tasks.runtime import presence
from tests.harness import BUSY, Harness
from tests.integration.web.asking import Web

Key = Callable[..., str]
ENDED = timedelta(minutes=-1)


@pytest.fixture
def client(harness: Harness) -> int:
    """A client, and a beat and a worker that live."""
    harness.run("delete from evergrant.processes")
    with transaction() as connection:
        for kind in (ProcessKind.BEAT, ProcessKind.WORKER):
            keys = presence.ids_of(harness.runtime.vault.refresh) if kind == ProcessKind.WORKER else ()
            identity = harness.one("select gen_random_uuid() as id")["id"]
            said = presence.of_process(identity, kind, environment=harness.settings.environment, refresh_key_ids=keys)
            process.see(connection, said)
    return harness.client()


def explained(web: Web, ref: str = "customer") -> dict[str, Any]:
    answer = web.ask("GET", f"/v1/grants/{ref}")
    assert answer.status == 200, answer.json
    found: dict[str, Any] = answer.json
    return found


def test_a_grant_that_is_well_is_explained_without_a_token(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, due_in=timedelta(hours=1))
    told = explained(web)
    assert told["explanation"]["cause"] == "grant_is_well"
    assert (told["ref"], told["client"], told["status"], told["generation"]) == ("customer", "demo", "active", 1)
    assert "at-customer" not in str(told)


def test_what_sleeps_is_not_woken_by_the_question_why(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, keep="on-demand", access_left=ENDED, due_in=timedelta(days=1))
    assert explained(web)["explanation"]["cause"] == "grant_sleeps"
    assert harness.all("select * from evergrant.refresh_requests") == []


def test_while_an_operator_pauses_the_client_the_answer_comes_at_once_and_says_so(
    harness: Harness, client: int, web: Web
) -> None:
    harness.grant(client, access_left=ENDED)
    with transaction() as connection:
        operator_actions.pause_client(connection, client, who="maria")
    answer = web.get("customer", wait=60)
    assert answer.error == (503, "not_fresh_yet")
    assert answer.headers["retry-after"] == "60"
    told = answer.json["explanation"]
    assert told["cause"] == "client_is_paused"
    assert told["command"] == "evergrant clients resume demo"
    assert "maria" not in answer.body.decode()  # who it was is told to operators


def test_a_provider_that_says_503_is_told_by_the_refusal_with_the_next_try(
    harness: Harness, client: int, web: Web
) -> None:
    harness.grant(client, access_left=ENDED)
    harness.ask(client, BUSY)
    told = web.get("customer").json["explanation"]
    assert told["cause"] == "valve_is_shut"
    assert "http_503" in told["headline"]
    assert told["will_retry_at"] is not None


def test_a_grant_that_needs_consent_says_in_a_sentence_why(harness: Harness, client: int, web: Web) -> None:
    harness.grant(client, status="needs_consent", reason="password_changed")
    answer = web.get("customer")
    assert answer.error == (409, "needs_consent")
    assert "the user's password was changed" in answer.json["explanation"]["headline"]
    assert web.post("customer", "refresh").json["explanation"]["cause"] == "consent_is_needed"


def test_a_key_that_no_worker_holds_is_told_by_a_web_that_may_read_no_sealed_column(
    harness: Harness, client: int, web: Web
) -> None:
    harness.grant(client, access_left=ENDED)
    harness.run("update evergrant.processes set refresh_key_ids = '{other}' where kind = 'worker'")
    assert web.get("customer").json["explanation"]["cause"] == "key_is_missing"


def test_where_a_broker_is_and_which_process_to_end_is_no_business_of_an_application(
    harness: Harness, client: int, web: Web
) -> None:
    harness.grant(client, access_left=ENDED)
    fault = "the broker hangs: it takes connections and does not answer (/run/v.sock, process 4711 of `evergrant up`)"
    harness.run("update evergrant.processes set fault = :fault where kind = 'beat'", fault=fault)
    answer = web.get("customer")
    told = answer.json["explanation"]
    assert told["headline"] == ("The broker hangs: it takes connections and does not answer, so nothing is handed out.")
    assert told["command"] is None
    assert "4711" not in answer.body.decode()


def test_nobody_is_told_of_a_grant_that_his_key_does_not_see(harness: Harness, client: int, web: Web, key: Key) -> None:
    harness.grant(client, "ours")
    harness.grant(harness.client("other"), "theirs")
    limited = web.with_key(key("limited", client="demo"))
    assert limited.ask("GET", "/v1/grants/ours").status == 200
    assert limited.ask("GET", "/v1/grants/theirs").error == (404, "unknown_ref")
    assert limited.ask("GET", "/v1/grants/theirs?client=other").error == (404, "unknown_ref")
    assert web.with_key(None).ask("GET", "/v1/grants/ours").error == (401, "missing_key")
    assert web.ask("GET", "/v1/grants/nobody").error == (404, "unknown_ref")
