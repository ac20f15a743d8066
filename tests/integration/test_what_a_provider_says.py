"""What a provider repeats of a request reaches no row, event or log; and of what is not told the shape is."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import structlog

from tasks.oauth.answer import Response
from tests.harness import Harness, token_set

SECRET = "OnlyLettersAreInThisClientSecret"


@pytest.fixture
def client(harness: Harness) -> int:
    client_id = harness.client(keep_from_answer={"tenant": "tenant", "shard": "shard"})
    sealed = harness.runtime.vault.seal(SECRET, table="clients", row_id=client_id, purpose="secret")
    harness.run(
        "update evergrant.clients set sealed_client_secret = :sealed where id = :id", sealed=sealed, id=client_id
    )
    return client_id


def everything(harness: Harness) -> str:
    """All that stands in clear in the database, folded."""
    tables = ("grants", "events", "dead_letters", "valves", "witnesses", "clients", "former_tokens")
    rows = [row for table in tables for row in harness.all(f"select t::text as line from evergrant.{table} t")]  # noqa: S608
    return "\n".join(row["line"] for row in rows).lower()


def refused(word: Any, status: int = 400) -> Response:
    return Response(status, {}, json.dumps({"error": word, "error_description": f"{word} is wrong"}).encode())


WORDS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "a piece": lambda secret: secret[5:14],
    "upper": str.upper,
    "within": lambda secret: f"bad_{secret[3:12]}_there",
    "base64": lambda secret: base64.b64encode(secret.encode()).decode()[:40],
}


@pytest.mark.parametrize("write", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("what", ["client secret", "refresh token"])
def test_no_error_repeats_a_secret(harness: Harness, client: int, what: str, write: Callable[[str], str]) -> None:
    token = "onlyLettersAreInThisRefreshToken"
    grant = harness.grant(client, pair={"refresh_token": token, "access_token": "at-1"})
    word = write(SECRET if what == "client secret" else token)
    with structlog.testing.capture_logs() as logs:
        harness.ask(client, refused(word))
    row = harness.row(grant)
    assert row["last_error_code"] == "unrecognised"
    assert re.fullmatch(rf"<string {len(word)} #[0-9a-f]{{8}}>", row["last_error_shape"])
    assert [each["shape"] for each in logs if each["event"] == "refresh"] == [row["last_error_shape"]]
    for place in (everything(harness), str(logs).lower()):
        assert word.lower() not in place
        assert word[-9:].lower() not in place


def shape(harness: Harness, grant: UUID) -> str | None:
    found: str | None = harness.row(grant)["last_error_shape"]
    return found


def test_two_words_that_are_not_told_are_told_apart_and_a_success_forgets_them(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    seen = []
    for word in ("Zk3xF9Qm2LbT7vW1", "Zk3xF9Qm2LbT7vW2", "Zk3xF9Qm2LbT7vW1"):
        harness.ask(client, refused(word))
        seen.append(shape(harness, grant))
        harness.until_due(grant)
    assert seen[0] == seen[2] != seen[1]
    # Refused alike they are all the same: a provider that says something else each time would be asked for ever.
    assert harness.row(grant)["refusals"] == 3
    harness.ask(client, token_set("2"))
    assert shape(harness, grant) is None


def test_a_word_that_is_told_has_no_shape(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    harness.ask(client, refused("unauthorized_client"))
    assert (harness.row(grant)["last_error_code"], shape(harness, grant)) == ("unauthorized_client", None)


def test_scope_and_labels_of_a_token_set_keep_no_secret(harness: Harness, client: int) -> None:
    grant = harness.grant(client)
    answer = token_set("new-one", scope=f"crm_read {SECRET} rt-customer-1 at-new-one", tenant=SECRET, shard="s1")
    harness.ask(client, answer)
    row = harness.row(grant)
    assert (row["scope"], row["labels"], row["generation"]) == ("crm_read", {"shard": ["s1"]}, 2)
    assert harness.token(grant) == "rt-new-one"
    (event,) = harness.all("select data from evergrant.events where type = 'grant.label_refused'")
    assert event["data"] == {"refused": {"tenant": "repeats_secret"}}
    for each in (SECRET, "rt-customer-1", "at-new-one"):
        assert each.lower() not in everything(harness)
