"""Webhooks are told what happens: signed, in order, at least once, and whatever one of them does, the others are."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models import database, event, webhook, webhook_delivery, webhook_upkeep
from models.database import transaction
from models.errors import WebhookExists, WebhookPaused
from models.sealing.keys import KeyRing
from models.sealing.vault import Vault
from models.states.event import TOLD_OF_ITSELF, EventType
from models.views import events as told
from tasks.telling import signature, teller
from tasks.telling.teller import Teller
from tests.harness import INVALID_GRANT, Harness, token_set
from tests.other_languages import node
from tests.polling import eventually
from tests.receivers import FORGED, OK, SECRET, SECRET_2, VERIFIED, Answer, Got, receiving

JAVASCRIPT = Path(__file__).resolve().parents[1] / "javascript"
Start = Callable[[], Teller]


@pytest.fixture
def start(harness: Harness) -> Iterator[Start]:
    """Let another process send, as far as threads are processes."""
    running: list[Teller] = []

    def begin() -> Teller:
        made = Teller(harness.runtime.vault, harness.settings)
        made.start()
        running.append(made)
        return made

    yield begin
    for each in running:
        each.end()


def add(
    harness: Harness,
    url: str,
    *,
    secret: str = SECRET,
    types: Sequence[str] | None = None,
    clients: Sequence[int] | None = None,
    allow_private: bool = True,
) -> int:
    with transaction() as connection:
        made = webhook.add(connection, url, types=types, client_ids=clients, allow_private=allow_private, who="tests")
        sealed = harness.runtime.vault.seal(secret, table="webhooks", row_id=made, purpose="secret")
        webhook.seal(connection, made, sealed)
    return made


def say(grant_ids: Sequence[UUID], kind: str = EventType.GRANT_LATE, **more: Any) -> None:
    with transaction() as connection:
        event.of_grants(connection, grant_ids, kind, **more)


def tend() -> None:
    with transaction() as connection:
        webhook_upkeep.tend(connection)


def found(webhook_id: int) -> Any:
    with transaction() as connection:
        return webhook.found(connection, webhook_id)


def deliveries(harness: Harness) -> list[tuple[int, str, int]]:
    """Of each delivery its webhook, how it stands, and how often it was tried."""
    rows = harness.all(
        "select webhook_id, coalesce(outcome, 'queued') as it, tries from evergrant.webhook_deliveries order by id"
    )
    return [(row["webhook_id"], row["it"], row["tries"]) for row in rows]


# What is told


def test_what_happens_to_a_grant_is_told_signed_and_in_its_order(harness: Harness, start: Start) -> None:
    client = harness.client()
    grant = harness.grant(client, labels={"org": ["8f2"]})
    with receiving() as receiver:
        add(harness, receiver.url)
        harness.ask(client, token_set("2", scope="crm_read crm_write"))
        for _ in range(5):
            harness.until_due(grant)
            harness.later(minutes=10)
            harness.ask(client, INVALID_GRANT)
            if harness.row(grant)["status"] == "needs_consent":
                break
        start()
        eventually(lambda: EventType.GRANT_NEEDS_CONSENT in receiver.types())

    assert {each.verdict for each in receiver.got} == {VERIFIED}
    changed, dead = receiver.taken
    assert changed["type"] == EventType.GRANT_SCOPE_CHANGED
    assert list(changed) == [
        *("id", "type", "occurred_at", "environment", "client", "ref", "generation", "labels", "reason", "data"),
    ]
    assert (changed["client"], changed["ref"], changed["generation"]) == ("demo", "customer", 2)
    assert (changed["environment"], changed["labels"]) == ("test", {"org": ["8f2"]})
    assert dead["reason"] == "revoked_or_expired"
    assert dead["connect"] == "/v1/grants/customer/connect?client=demo"
    assert [each.headers["webhook-id"] for each in receiver.got] == [each.body["id"] for each in receiver.got]
    assert "rt-" not in json.dumps(receiver.taken)
    assert "at-" not in json.dumps([each["data"] for each in receiver.taken])
    assert harness.row(grant)["status"] == "needs_consent"


def test_the_words_that_a_webhook_is_told_of_itself_are_those_of_the_database(harness: Harness) -> None:
    known = harness.all(
        "select t.type from unnest(cast(:types as text[])) t (type) where evergrant.told_of_itself(t.type)",
        types=[*EventType.meanings()],
    )
    assert {row["type"] for row in known} == set(map(str, TOLD_OF_ITSELF))


def test_a_webhook_is_told_of_the_types_and_the_clients_that_it_names(harness: Harness) -> None:
    mine, other = harness.client("mine"), harness.client("other")
    grants = [harness.grant(mine, "a"), harness.grant(other, "b")]
    everything = add(harness, "https://all.example/")
    of_mine = add(harness, "https://mine.example/", clients=[mine])
    of_pauses = add(harness, "https://pauses.example/", types=[EventType.GRANT_PAUSED])
    say(grants)
    say(grants, EventType.GRANT_PAUSED)
    say(grants, EventType.GRANT_IMPORTED)

    queued = [webhook_id for webhook_id, *_ in deliveries(harness)]
    assert sorted(queued) == [everything, everything, of_mine, of_pauses, of_pauses]


def test_what_an_application_provokes_in_sql_is_told_as_well(harness: Harness, start: Start) -> None:
    harness.grant(client := harness.client())
    harness.run("update evergrant.clients set revocation_limit = 0 where id = :id", id=client)
    with receiving() as receiver:
        add(harness, receiver.url)
        start()
        harness.run("select evergrant.request_revocation('customer')")
        eventually(lambda: EventType.REVOCATIONS_HELD in receiver.types())


def test_what_is_rolled_back_is_told_to_nobody(harness: Harness) -> None:
    grant = harness.grant(harness.client())
    add(harness, "https://app.example/")
    with database.engine().connect() as connection:
        event.of_grants(connection, [grant], EventType.GRANT_LATE)
        connection.rollback()
    assert deliveries(harness) == []


def test_what_was_forgotten_is_not_told_any_more(harness: Harness, start: Start) -> None:
    """What waits for a webhook holds no copy of it."""
    grant = harness.grant(harness.client())
    with receiving() as receiver:
        made = add(harness, receiver.url)
        with transaction() as connection:
            webhook.pause(connection, made, who="tests")
        say([grant], reason="of a customer", data={"who": "customer"})
        harness.run("select evergrant.request_revocation('customer', erase => true)")
        harness.set(grant, status="revoked")
        with transaction() as connection:
            connection.execute(text("select evergrant.forget_events(array[:id]::uuid[])"), {"id": grant})
            webhook.resume(connection, made, who="tests")
        start()
        eventually(lambda: receiver.taken)
    assert (receiver.taken[0]["ref"], receiver.taken[0]["data"]) == (f"erased-{grant}", {})


def test_the_secret_before_signs_beside_the_new_one_until_its_time_is_over(harness: Harness, start: Start) -> None:
    grant = harness.grant(harness.client())
    vault = harness.runtime.vault
    with receiving() as old, receiving(secret=SECRET_2) as new:
        ids = [add(harness, old.url), add(harness, new.url)]
        with transaction() as connection:
            for each in ids:
                fresh = vault.seal(SECRET_2, table="webhooks", row_id=each, purpose="secret")
                webhook.rotate(connection, each, fresh, overlap=timedelta(hours=1), who="tests")
        start()
        say([grant])
        eventually(lambda: old.got and new.got)
        assert [each.verdict for each in (old.got[0], new.got[0])] == [VERIFIED, VERIFIED]
        eventually(lambda: {status for _, status, _ in deliveries(harness)} == {"delivered"})
        harness.later(hours=2)
        tend()
        say([grant])
        eventually(lambda: len(old.got) == len(new.got) == 2)
        assert [each.verdict for each in (old.got[1], new.got[1])] == [FORGED, VERIFIED]
    rows = harness.all("select sealed_former_secret as it from evergrant.webhooks")
    assert [row["it"] for row in rows] == [None, None]


def test_the_javascript_library_verifies_what_is_sent(harness: Harness, start: Start) -> None:
    grant = harness.grant(harness.client())
    with receiving() as receiver:
        add(harness, receiver.url)
        start()
        say([grant], data={"city": "Zürich"})
        eventually(lambda: receiver.taken)
    got = receiver.got[0]
    # Byte for byte as it came: what Python reads and writes again is what was sent.
    raw = json.dumps(got.body)
    script = JAVASCRIPT / "verify.cjs"
    done = node(script, SECRET, json.dumps(got.headers), raw, NODE_PATH=str(JAVASCRIPT))
    assert json.loads(done.stdout)["data"] == {"city": "Zürich"}, done.stderr
    forged = node(script, SECRET_2, json.dumps(got.headers), raw, NODE_PATH=str(JAVASCRIPT))
    assert (forged.returncode, forged.stdout) == (1, "")


@pytest.mark.parametrize("secret", ["hush", "whsec_", "whsec_hush!", "whsec_c2hvcnQ=", "whsec_" + "QUFB" * 30])
def test_what_is_no_secret_of_standard_webhooks_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(signature.BadSecret) as error:
        signature.key_of(secret)
    assert secret.removeprefix("whsec_") not in str(error.value) or secret == "whsec_"


# How it is told


def of_every(n: int, answer: Answer) -> Callable[[Got], Answer]:
    """Every n-th request gets this answer."""
    count = iter(range(1, 10**6))
    return lambda _: answer if next(count) % n == 0 else OK


def test_a_receiver_that_fails_every_fifth_gets_each_event_once_and_of_each_grant_in_order(
    harness: Harness, start: Start
) -> None:
    client = harness.client()
    grants = [harness.grant(client, f"customer-{n}") for n in range(5)]
    with receiving(of_every(5, (500, {}, b""))) as receiver:
        add(harness, receiver.url)
        start()
        start()
        for n in range(10):
            for each in grants:
                say([each], data={"n": n})
        eventually(lambda: len(receiver.taken) == 50, timeout=90)
    assert len({each["id"] for each in receiver.taken}) == 50
    for n in range(5):
        assert [each["data"]["n"] for each in receiver.taken if each["ref"] == f"customer-{n}"] == [*range(10)]


def test_one_grants_event_that_is_refused_holds_up_that_grant_alone(harness: Harness, start: Start) -> None:
    client = harness.client()
    sick, well = harness.grant(client, "sick"), harness.grant(client, "well")

    def behave(got: Got) -> Answer:
        return (400, {}, b"") if got.body["data"].get("n") == 0 and got.body["ref"] == "sick" else OK

    with receiving(behave) as receiver:
        add(harness, receiver.url)
        start()
        for n in range(3):
            say([sick, well], data={"n": n})
        eventually(lambda: [each["ref"] for each in receiver.taken] == ["well"] * 3)
        assert found(1)["failures"] <= 1
        harness.run("update evergrant.webhook_deliveries set first_tried_at = now() - interval '4 days'")
        harness.run("update evergrant.webhook_deliveries set try_at = now() where ended_at is null")
        eventually(lambda: [each["ref"] for each in receiver.taken].count("sick") == 2)
    assert [status for _, status, _ in deliveries(harness)].count("dead") == 1


def test_a_receiver_that_hangs_delays_no_other(harness: Harness, start: Start) -> None:
    """It has as many requests as one webhook may have, and nobody else waits for them."""
    client = harness.client()
    grants = [harness.grant(client, f"customer-{n}") for n in range(teller.AT_ONCE + 10)]
    going_on = threading.Event()

    def hang(_: Got) -> Answer:
        going_on.wait(30)
        return OK

    with receiving(hang) as hanging, receiving() as well:
        add(harness, hanging.url)
        start()
        say(grants)
        eventually(lambda: len(hanging.got) == teller.AT_ONCE)
        add(harness, well.url)
        say(grants)
        eventually(lambda: len(well.taken) == len(grants))
        assert len(hanging.got) == teller.AT_ONCE
        going_on.set()
        eventually(lambda: len(hanging.taken) == 2 * len(grants))


def test_what_a_killed_process_was_sending_is_sent_by_another_once_its_lease_is_over(
    harness: Harness, start: Start
) -> None:
    grant = harness.grant(harness.client())
    with receiving() as receiver:
        made = add(harness, receiver.url)
        say([grant])
        say([grant])
        with transaction() as connection:
            (taken,) = webhook_delivery.take(connection, made, most=10, lease=teller.LEASE)
        with transaction() as connection:
            assert webhook_delivery.take(connection, made, most=10, lease=teller.LEASE) == []
        harness.later(seconds=4)
        start()
        eventually(lambda: len(receiver.taken) == 2)
        late = webhook_delivery.Sent(
            *(taken.id, made, taken.tries), delivered=False, code="timeout", http_status=None,
            wait=timedelta(seconds=1), strikes=True,
        )  # fmt: skip
        with transaction() as connection:
            webhook_delivery.end(connection, [late])
    # What came of the other one is written a moment after its receiver has it.
    eventually(lambda: deliveries(harness) == [(made, "delivered", 2), (made, "delivered", 1)])


def test_what_takes_longer_than_a_lease_is_sent_once_by_whoever_has_it(harness: Harness, start: Start) -> None:
    grant = harness.grant(harness.client())
    going_on = threading.Event()

    def slow(_: Got) -> Answer:
        going_on.wait(30)
        return OK

    with receiving(slow) as receiver:
        made = add(harness, receiver.url)
        start()
        start()
        say([grant])
        eventually(lambda: receiver.got)
        first = harness.one("select leased_until as it from evergrant.webhook_deliveries")["it"]
        eventually(
            lambda: harness.one(
                "select clock_timestamp() > cast(:first as timestamptz) + interval '1 second' as it", first=first
            )["it"]
        )
        assert deliveries(harness) == [(made, "queued", 1)]
        going_on.set()
        eventually(lambda: deliveries(harness) == [(made, "delivered", 1)])
    assert len(receiver.got) == 1


def nothing_is_under_way(harness: Harness) -> bool:
    query = "select count(*) as n from evergrant.webhook_deliveries where leased_until is not null"
    return bool(harness.one(query)["n"] == 0)


def test_a_webhook_that_nothing_reaches_is_tried_by_one_delivery_at_a_time_and_catches_up_at_once(
    harness: Harness, start: Start
) -> None:
    client = harness.client()
    down = threading.Event()
    down.set()
    with receiving(lambda _: (503, {}, b"") if down.is_set() else OK) as receiver:
        made = add(harness, receiver.url)
        start()
        say([harness.grant(client, f"customer-{n}") for n in range(40)])
        eventually(lambda: found(made)["failures"] >= webhook.STRIKES and found(made)["retry_at"] is not None)
        # What was under way when it was shut has yet to end: it would be counted, and put the next try off.
        eventually(lambda: nothing_is_under_way(harness))
        seen = len(receiver.got)
        harness.run("update evergrant.webhooks set retry_at = now()")
        eventually(lambda: len(receiver.got) > seen and nothing_is_under_way(harness))
        assert len(receiver.got) == seen + 1
        down.clear()
        harness.run("update evergrant.webhooks set retry_at = now()")
        eventually(lambda: len(receiver.taken) == 40)
    assert (found(made)["failures"], found(made)["failing_since"]) == (0, None)


def test_a_receiver_may_ask_for_time(harness: Harness, start: Start) -> None:
    grant = harness.grant(harness.client())
    with receiving(lambda _: (429, {"Retry-After": "120"}, b"")) as receiver:
        made = add(harness, receiver.url)
        start()
        say([grant])
        eventually(lambda: found(made)["retry_at"])
        waits = harness.one("select retry_at - clock_timestamp() as it from evergrant.webhooks")["it"]
    assert len(receiver.got) == 1
    assert timedelta(seconds=100) < waits <= timedelta(seconds=120)


def test_whoever_says_gone_is_sent_nothing_before_somebody_resumes_it(harness: Harness, start: Start) -> None:
    grant = harness.grant(harness.client())
    gone = threading.Event()
    gone.set()
    with receiving(lambda _: (410, {}, b"") if gone.is_set() else OK) as receiver:
        made = add(harness, receiver.url)
        start()
        say([grant])
        eventually(lambda: found(made)["paused_reason"] == "gone")
        say([grant])
        gone.clear()
        with transaction() as connection:
            with pytest.raises(WebhookPaused):
                webhook.test(connection, made, who="tests")
            webhook.resume(connection, made, who="tests")
        eventually(lambda: len(receiver.taken) == 2)


def test_what_nothing_has_reached_for_three_days_is_paused_and_loses_nothing(harness: Harness, start: Start) -> None:
    grant = harness.grant(harness.client())
    with receiving() as receiver:
        made = add(harness, receiver.url)
        say([grant])
        harness.run("update evergrant.webhooks set failures = 9, failing_since = now() - interval '2 days 23 hours'")
        tend()
        assert found(made)["paused_reason"] is None
        harness.later(hours=2)
        tend()
        assert found(made)["paused_reason"] == "unreachable"
        say([grant])
        with transaction() as connection:
            webhook.resume(connection, made, who="tests")
        start()
        eventually(lambda: len(receiver.taken) == 2)


def test_a_queue_has_an_end_and_what_it_has_no_room_for_is_queued_later(
    harness: Harness, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_upkeep, "MOST_QUEUED", 10)
    monkeypatch.setattr(webhook_upkeep, "BATCH", 7)
    grant = harness.grant(harness.client())
    with receiving() as receiver:
        made = add(harness, receiver.url)
        for _ in range(10):
            say([grant])
        tend()
        assert found(made)["stopped_at"] is not None
        for _ in range(15):
            say([grant])
        assert found(made)["queued"] == 10
        start()
        eventually(lambda: len(receiver.taken) == 10)
        for _ in range(4):
            tend()
            eventually(lambda: found(made)["queued"] == 0)
        assert found(made)["stopped_at"] is None
        say([grant])
        eventually(lambda: len(receiver.taken) == 26)
        tend()
        assert found(made)["queued"] == 0
    assert [each["id"] for each in receiver.taken] == [
        event.told_id(row["id"], row["occurred_at"])
        for row in harness.all("select id, occurred_at from evergrant.events where grant_id is not null order by id")
    ]


def test_what_was_written_while_a_webhook_was_added_is_found_afterwards(harness: Harness) -> None:
    """A transaction that did not see it yet queues nothing for it."""
    grant = harness.grant(harness.client())
    made = add(harness, "https://app.example/")
    harness.run("alter table evergrant.events disable trigger queue_deliveries")
    say([grant])
    harness.run("alter table evergrant.events enable trigger queue_deliveries")
    assert found(made)["queued"] == 0
    tend()
    tend()
    assert found(made)["queued"] == 1
    harness.later(minutes=11)
    tend()
    assert harness.one("select catch_up_from from evergrant.webhooks")["catch_up_from"] is None


def test_what_was_delivered_is_forgotten_after_a_week_and_what_is_dead_after_a_month(harness: Harness) -> None:
    grant = harness.grant(harness.client())
    add(harness, "https://app.example/")
    for _ in range(3):
        say([grant])
    harness.run("update evergrant.webhook_deliveries set ended_at = now(), outcome = 'delivered' where id = 1")
    harness.run("update evergrant.webhook_deliveries set ended_at = now(), outcome = 'dead' where id = 2")
    left = []
    for days in (6, 2, 21, 2):
        harness.later(days=days)
        tend()
        left.append(len(deliveries(harness)))
    assert left == [3, 2, 2, 1]


def test_from_a_copy_of_the_database_nothing_is_sent(harness: Harness, start: Start) -> None:
    grant = harness.grant(harness.client())
    with receiving() as receiver:
        made = add(harness, receiver.url)
        say([grant])
        harness.run("update evergrant.installation set database_name = 'elsewhere'")
        with transaction() as connection:
            assert webhook.ready(connection, "test") == []
        harness.run("update evergrant.installation set database_name = current_database(), environment = 'staging'")
        with transaction() as connection:
            assert webhook.ready(connection, "staging") == []
            assert webhook.found(connection, made)["is_foreign"]
            webhook.resume(connection, made, who="tests")
        with transaction() as connection:
            assert [each.id for each in webhook.ready(connection, "staging")] == [made]
        assert receiver.got == []


def test_whoever_lacks_the_key_leaves_it_to_others(harness: Harness, start: Start) -> None:
    grant = harness.grant(harness.client())
    poor = Teller(Vault(refresh=KeyRing.parse(KeyRing.generate_line("r9")), access=None), harness.settings)
    with receiving() as receiver:
        made = add(harness, receiver.url)
        poor.start()
        say([grant])
        eventually(lambda: poor._unopened == {made})
        assert deliveries(harness) == [(made, "queued", 0)]
        start()
        eventually(lambda: receiver.taken)
    poor.end()


def test_two_of_a_url_are_one_too_many(harness: Harness) -> None:
    add(harness, "https://app.example/")
    with pytest.raises(WebhookExists):
        add(harness, "https://app.example/")


def test_a_webhook_that_is_removed_in_the_midst_breaks_no_transaction_that_writes_an_event(harness: Harness) -> None:
    grant = harness.grant(harness.client())
    made = add(harness, "https://app.example/")
    with transaction() as writing:
        event.of_grants(writing, [grant], EventType.GRANT_LATE)
        with transaction() as removing:
            webhook.remove(removing, made, who="tests")
    assert EventType.GRANT_LATE in harness.events(grant_id=grant)
    tend()
    assert deliveries(harness) == []


# The stream


def test_events_since_a_time_are_found_by_halves(harness: Harness) -> None:
    grant = harness.grant(harness.client())
    for n in range(40):
        say([grant], data={"n": n})
    harness.run("update evergrant.events set occurred_at = now() - (50 - id) * interval '1 hour'")
    with transaction() as connection:
        for hours in (0, 1, 17, 49, 100):
            at = connection.execute(
                text("select now() - make_interval(hours => :hours) - interval '1 minute'"), {"hours": hours}
            ).scalar_one()
            after = told.before(connection, at)
            numbers = [row["id"] for row in told.events(connection, after=after, since=at, most=100)]
            wanted = text("select id from evergrant.events where occurred_at >= :at order by id")
            assert numbers == list(connection.execute(wanted, {"at": at}).scalars())
