"""Where answers say things elsewhere than RFC 6749 §5.1: settled, replayed, and two grants of one consent."""

import json
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
import structlog.testing

from models import client as clients
from models import journal as register
from models.database import transaction
from tasks import journal
from tasks.journal import Entry, Journal
from tasks.oauth.answer import Response
from tasks.runtime import clock
from tasks.settling import consent, consent_replay, replay, strange
from tests.harness import Harness, token_set

NESTED = {"access_token": ["data.access_token"], "refresh_token": ["data.refresh_token"]}
NESTED |= {"expires_at": ["data.access_token_expire_in"], "expires_in": []}
SLACK = {"suffix": "user", "within": "authed_user"}
HOUR = timedelta(hours=1)


def answer(**members: Any) -> Response:
    return Response(200, {}, json.dumps(members).encode())


def nested(name: str, **more: Any) -> Response:
    return answer(code=0, data={"access_token": f"at-{name}", "refresh_token": f"rt-{name}", **more})


def slack(name: str) -> Response:
    """Slack's answer to a code: the bot's token set at the top, the user's within."""
    user = {"access_token": f"at-user-{name}", "refresh_token": f"rt-user-{name}", "expires_in": 43200}
    return answer(ok=True, access_token=f"at-{name}", refresh_token=f"rt-{name}", expires_in=43200, authed_user=user)


@pytest.fixture
def tell(harness: Harness) -> Callable[..., None]:
    """Leave a journal of a process that is gone, with these answers in it."""
    folder = harness.settings.home / "journals"

    def write(*entries: Entry) -> None:
        with transaction() as connection:
            journal_id = register.register(connection, host="here", process="1", above=max(journal.journal_ids(folder)))
        kept = Journal.open(folder, journal_id, vault=harness.runtime.vault)
        kept.append(entries)
        kept.close()

    return write


def entry(harness: Harness, grant: UUID, said: Response, *, generation: int = 0, **more: Any) -> Entry:
    sent = more.pop("sent", None)
    known: dict[str, Any] = {
        "kind": "refresh" if generation else "exchange",
        "grant_id": str(grant),
        "client": "demo",
        "ref": "customer",
        "labels": {"org": ["8f2"]},
        "generation": generation,
        "fingerprint": harness.runtime.vault.fingerprint(sent) if sent else b"",
        "credentials_no": 1,
        "started_at": clock.wall() - timedelta(minutes=2),
        "received_at": clock.wall() - timedelta(minutes=2),
        "status": 200,
        "body": said.body,
    }
    return Entry(**{**known, **more})


def rows(harness: Harness) -> dict[str, tuple[int, str, str]]:
    """Of each live ref its generation, its refresh token and its status."""
    found = harness.all("select * from evergrant.grants where status = 'active' order by ref")
    return {
        row["ref"]: (row["generation"], harness.open(row["id"], row["sealed_refresh_token"]), row["status"])
        for row in found
    }


# ── nested ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_nested_token_set_is_settled_with_the_end_that_it_tells(harness: Harness) -> None:
    client = harness.client(token_set=NESTED)
    grant = harness.grant(client)
    end = (clock.wall() + 5 * HOUR).replace(microsecond=0)
    harness.ask(client, nested("2", access_token_expire_in=end.timestamp()))
    row = harness.row(grant)
    assert (harness.token(grant), row["generation"]) == ("rt-2", 2)
    assert abs(row["access_expires_at"] - end.astimezone(UTC)) < timedelta(milliseconds=1)


def test_one_at_the_place_of_the_rfc_is_not_dropped_for_it(harness: Harness) -> None:
    client = harness.client(token_set=NESTED)
    grant = harness.grant(client)
    harness.ask(client, token_set("2"))
    assert harness.token(grant) == "rt-2"


def test_a_nested_one_is_replayed_from_a_journal(harness: Harness, tell: Any) -> None:
    client = harness.client(token_set=NESTED)
    grant, lost = harness.grant(client), uuid4()
    tell(
        entry(harness, grant, nested("2"), generation=1, sent="rt-customer-1"),
        entry(harness, lost, nested("x"), ref="other"),
    )
    replay.drain_others(harness.runtime)
    assert rows(harness) == {"customer": (2, "rt-2", "active"), "other": (1, "rt-x", "active")}


def test_an_end_that_makes_no_sense_costs_no_token_set_and_is_told_once(harness: Harness) -> None:
    strange.tell_once.cache_clear()
    client = harness.client(token_set=NESTED, default_life_seconds=600)
    grant = harness.grant(client)
    with structlog.testing.capture_logs() as logs:
        for name in ("2", "3"):
            harness.ask(client, nested(name, access_token_expire_in=clock.wall().timestamp() * 1e9))
            harness.until_due(grant)
    assert (harness.token(grant), harness.row(grant)["life"]) == ("rt-3", timedelta(minutes=10))
    assert [log["field"] for log in logs if log["event"] == "answer.strange_end"] == ["expires_at"]


def test_what_stands_around_a_token_set_and_a_refresh_token_that_is_none_cost_no_generation(harness: Harness) -> None:
    strange.tell_once.cache_clear()
    client = harness.client()
    grant = harness.grant(client)
    around = b"<br />\n<b>Deprecated</b>: x<br />\n"
    bodies = [
        around + b'{"access_token":"at-2","refresh_token":"rt-2","expires_in":600}',
        b'{"access_token":"at-3","refresh_token":false,"expires_in":600}',
        b'{"access_token":"at-4","refresh_token":{"token":"rt-4"},"expires_in":600}',
    ]
    with structlog.testing.capture_logs() as logs:
        for body in bodies:
            harness.ask(client, Response(200, {}, body))
            harness.until_due(grant)
    assert (harness.row(grant)["generation"], harness.token(grant)) == (4, "rt-2")
    assert [log["field"] for log in logs if log["event"] == "answer.strange_end"] == ["refresh_token"]


# ── the same access token again ─────────────────────────────────────────────────────────────────────────────────


def test_a_repeated_access_token_is_stored_with_its_rest_and_not_asked_for_before_it_helps(harness: Harness) -> None:
    client = harness.client(rotation="none", same_token_above_seconds=3600)
    grant = harness.grant(client, access_left=2 * HOUR)
    harness.ask(client, token_set("2", access_token="at-customer-1", refresh_token=..., expires_in=7200))
    row = harness.row(grant)
    assert (row["generation"], harness.token(grant)) == (2, "rt-customer-1")
    assert timedelta(minutes=59) < row["due_at"] - clock.wall() < timedelta(minutes=67)
    harness.until_due(grant)
    harness.ask(client, token_set("3", refresh_token=..., expires_in=6 * 3600))
    assert harness.row(grant)["due_at"] - clock.wall() > timedelta(hours=4.9)


# ── two grants of one consent ───────────────────────────────────────────────────────────────────────────────────


def connect(harness: Harness, client: int, said: Response, *, grant: UUID | None = None) -> consent.StoredConsent:
    """Store a consent as its exchange does."""
    with transaction() as connection:
        registered = harness.runtime.registrations.ready(clients.known(connection, [client])[client])
        given = consent_replay._given(entry(harness, grant or uuid4(), said), registered)
        assert given is not None
        return consent.store(connection, given, vault=harness.runtime.vault, who="ada")


def test_two_token_sets_of_one_consent_become_two_grants_with_the_same_labels(harness: Harness) -> None:
    client = harness.client(second_token_set=SLACK)
    stored = connect(harness, client, slack("1"))
    assert rows(harness) == {"customer": (1, "rt-1", "active"), "customer/user": (1, "rt-user-1", "active")}
    assert (stored.ref, stored.how) == ("customer", "connected")
    assert stored.second is not None
    assert (stored.second.ref, stored.second.how) == ("customer/user", "connected")
    labels = harness.all("select labels from evergrant.grants")
    assert [row["labels"] for row in labels] == [{"org": ["8f2"]}] * 2
    assert harness.events() == ["client.added", "client.secret_changed", "grant.connected", "grant.connected"]


@pytest.mark.parametrize(
    "user", [{"id": "U1"}, {"access_token": "at-user"}, {"access_token": "at-user", "refresh_token": "rt-1"}, None]
)
def test_where_the_second_cannot_be_kept_alive_there_is_only_the_first(harness: Harness, user: Any) -> None:
    client = harness.client(second_token_set=SLACK)
    stored = connect(harness, client, answer(access_token="at-1", refresh_token="rt-1", authed_user=user))
    assert stored.second is None
    assert list(rows(harness)) == ["customer"]


def test_a_new_consent_replaces_both(harness: Harness) -> None:
    client = harness.client(second_token_set=SLACK)
    connect(harness, client, slack("1"))
    stored = connect(harness, client, slack("2"))
    assert stored.second is not None
    assert (stored.how, stored.second.how) == ("reconnected", "reconnected")
    assert rows(harness) == {"customer": (2, "rt-2", "active"), "customer/user": (2, "rt-user-2", "active")}
    reasons = harness.all("select ref, reason from evergrant.revocations order by ref")
    assert [tuple(row.values()) for row in reasons] == [("customer", "replaced"), ("customer/user", "replaced")]


def test_neither_comes_in_where_another_ref_holds_one_of_the_pairs(harness: Harness) -> None:
    client = harness.client(second_token_set=SLACK)
    harness.grant(client, "holder", token="user-1")
    with pytest.raises(consent.PairHeld, match="holder"):
        connect(harness, client, slack("1"))
    assert list(rows(harness)) == ["holder"]


def test_they_are_refreshed_each_by_itself(harness: Harness) -> None:
    client = harness.client(second_token_set=SLACK)
    connect(harness, client, slack("1"))
    harness.run("update evergrant.grants set due_at = clock_timestamp() where ref = 'customer/user'")
    harness.ask(client, answer(ok=True, access_token="at-user-2", refresh_token="rt-user-2", expires_in=43200))
    assert rows(harness) == {"customer": (1, "rt-1", "active"), "customer/user": (2, "rt-user-2", "active")}


@pytest.mark.parametrize("refreshed", [[], ["customer"], ["customer/user"], ["customer", "customer/user"]])
@pytest.mark.parametrize("together", [True, False])
def test_a_replay_makes_both_whatever_was_refreshed_since_and_whatever_is_read_first(
    harness: Harness, tell: Any, refreshed: list[str], together: bool
) -> None:
    harness.client(second_token_set=SLACK)
    bot = uuid4()
    ids = {"customer": bot, "customer/user": uuid5(bot, "user")}
    tokens = {"customer": "rt-1", "customer/user": "rt-user-1"}
    later = [
        entry(harness, ids[ref], token_set(f"{ref}-2"), generation=1, ref=ref, sent=tokens[ref]) for ref in refreshed
    ]
    for entries in (
        [[*later, entry(harness, bot, slack("1"))]] if together else [later, [entry(harness, bot, slack("1"))]]
    ):
        tell(*entries)
    replay.drain_others(harness.runtime)
    replay.drain_others(harness.runtime)
    expected = {ref: (1, token, "active") for ref, token in tokens.items()}
    expected |= {ref: (2, f"rt-{ref}-2", "active") for ref in refreshed}
    assert rows(harness) == expected
    assert harness.all("select id from evergrant.journals where drained_at is null and process = '1'") == []
