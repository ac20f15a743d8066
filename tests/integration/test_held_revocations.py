"""The brake on revocations: what one asker wants beyond the limit is held, harms nobody, and goes on when told to."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from models import application_requests, held_revocation, operator_actions
from models.application_requests import Asked, Ending
from models.database import engine, transaction
from models.views import fleet, listing
from tasks import upkeep
from tests.harness import Harness, token_set

LIMIT = 3


@pytest.fixture
def client(harness: Harness) -> int:
    made = harness.client()
    harness.run("update evergrant.clients set revocation_limit = :limit where id = :id", limit=LIMIT, id=made)
    return made


@pytest.fixture
def application(harness: Harness) -> Iterator[Connection]:
    """A connection of some application, in a transaction of its own."""
    with engine().connect() as connection, connection.begin() as own:
        yield connection
        if own.is_active:
            own.rollback()


def ask(connection: Connection, ref: str, **more: Any) -> int:
    arguments = {"ref": ref, **more}
    named = ", ".join(f"{name} => :{name}" for name in arguments)
    return int(connection.execute(text(f"select evergrant.request_revocation({named})"), arguments).scalar_one())


def ask_all(harness: Harness, count: int, *, first: int = 0, **more: Any) -> list[int]:
    """Each in a transaction of its own; returns the ids."""
    made = []
    for n in range(first, first + count):
        with transaction() as connection:
            made.append(ask(connection, f"customer-{n}", **more))
    return made


def asked_over_http(ref: str, application: str, **more: Any) -> Asked:
    ending = Ending(ref, None, None, None, missing_ok=False, erase=False)
    with transaction() as connection:
        return application_requests.revocation(connection, ending, application=application, **more)


def opened(harness: Harness) -> list[str]:
    return [row["ref"] for row in harness.all("select ref from evergrant.revocations order by id")]


def held(harness: Harness) -> list[str]:
    query = """select g.ref from evergrant.held_revocations h join evergrant.grants g on g.id = h.grant_id
        order by h.id"""
    return [row["ref"] for row in harness.all(query)]


def accept(client: int) -> int:
    with transaction() as connection:
        return held_revocation.accept(connection, client, who="tests")


def test_what_one_asker_wants_beyond_the_limit_is_held_and_the_rest_goes_on(harness: Harness, client: int) -> None:
    harness.grants(client, 5)
    ask_all(harness, 5)
    assert opened(harness) == ["customer-0", "customer-1", "customer-2"]
    assert held(harness) == ["customer-3", "customer-4"]


def test_one_statement_holds_what_is_beyond_the_limit_too(harness: Harness, client: int) -> None:
    harness.grants(client, 5)
    harness.run("select evergrant.request_revocation(ref) from evergrant.grants")
    assert (len(opened(harness)), len(held(harness))) == (3, 2)


def test_a_held_one_stops_neither_handing_out_nor_refreshing(harness: Harness, client: int) -> None:
    harness.run("update evergrant.clients set revocation_limit = 0")
    grant = harness.grant(client)
    with transaction() as connection:
        ask(connection, "customer")
    seen = harness.one("select status, sealed_access_token is not null as out from evergrant.access_tokens")
    assert seen == {"status": "active", "out": True}
    harness.ask(client, token_set("2"))
    assert harness.token(grant) == "rt-2"
    harness.later(hours=3)
    claimed = harness.claim(client)
    assert (claimed.revocations, len(claimed.due)) == ([], 1)


def test_what_is_held_is_told_once_with_who_asked(harness: Harness, client: int) -> None:
    harness.grants(client, 6)
    ask_all(harness, 6)
    told = harness.one("select * from evergrant.events where type = 'revocations.held'")
    assert (told["client_id"], told["data"]) == (client, {"limit": 3})
    with transaction() as connection:
        (each,) = held_revocation.held(connection)
        assert fleet.open_revocations(connection) == {"queued": 3, "held": 3}
    assert (each.client, each.count, each.asked_by) == ("demo", 3, told["actor"])


def test_whoever_asks_is_told_by_a_notice(harness: Harness, client: int) -> None:
    harness.grants(client, 4)
    ask_all(harness, 3)
    heard: list[str] = []
    assert harness.settings.database_url is not None
    with psycopg.connect(harness.settings.database_url.get_secret_value()) as connection:
        connection.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
        connection.execute("select evergrant.request_revocation('customer-3')")
        login = connection.info.user
    assert heard == [f"revocation 4 is held: {login} asked for more than 3 in ten minutes"]


def test_held_ones_are_listed_and_shown_by_the_id_that_was_told(harness: Harness, client: int) -> None:
    harness.grants(client, 4)
    ids = ask_all(harness, 4, reason="left")
    with transaction() as connection:
        statuses = {row["id"]: row["status"] for row in listing.revocations(connection)}
        row = listing.revocation(connection, ids[3])
        assert [each["id"] for each in listing.revocations(connection, status="held")] == [ids[3]]
    assert statuses == dict.fromkeys(ids[:3], "queued") | {ids[3]: "held"}
    assert row is not None
    assert (row["ref"], row["reason"], row["status"]) == ("customer-3", "left", "held")


def test_accepted_ones_go_on_under_the_id_that_was_told(harness: Harness, client: int) -> None:
    harness.grants(client, 5)
    ids = ask_all(harness, 5, reason="left")
    assert accept(client) == 2
    assert held(harness) == []
    rows = harness.all("select id, ref, reason, requested_by from evergrant.revocations order by id")
    assert [(row["id"], row["ref"], row["reason"]) for row in rows] == [
        (each, f"customer-{n}", "left") for n, each in enumerate(ids)
    ]
    assert len({row["requested_by"] for row in rows}) == 1
    assert len(harness.claim(client).revocations) == 5
    told = harness.one("select data, actor from evergrant.events where type = 'revocations.accepted'")
    assert told == {"data": {"count": 2}, "actor": "tests"}


def test_after_that_it_is_counted_anew(harness: Harness, client: int) -> None:
    harness.grants(client, 9)
    ask_all(harness, 5)
    accept(client)
    ask_all(harness, 4, first=5)
    assert held(harness) == ["customer-8"]


def test_accepting_nothing_gives_nobody_another_limit(harness: Harness, client: int) -> None:
    harness.grants(client, 5)
    ask_all(harness, 3)
    assert accept(client) == 0
    ask_all(harness, 2, first=3)
    assert len(held(harness)) == 2


def test_discarded_ones_were_never_asked_for(harness: Harness, client: int) -> None:
    harness.grants(client, 4)
    ask_all(harness, 4, erase=True)
    with transaction() as connection:
        assert held_revocation.discard(connection, client, who="tests") == 1
    assert (held(harness), len(opened(harness))) == ([], 3)
    assert len(harness.all("select from evergrant.erasures")) == 3
    assert "revocations.discarded" in harness.events()
    assert accept(client) == 0


def test_ten_minutes_later_as_many_again_go_on_and_what_is_held_stays_so(harness: Harness, client: int) -> None:
    harness.grants(client, 8)
    ask_all(harness, 4)
    harness.later(minutes=9)
    ask_all(harness, 1, first=4)
    assert held(harness) == ["customer-3", "customer-4"]
    harness.later(minutes=2)
    ask_all(harness, 3, first=5)
    assert held(harness) == ["customer-3", "customer-4", "customer-7"]  # one of the window before counts still
    assert opened(harness)[3:] == ["customer-5", "customer-6"]


def test_one_that_goes_on_asking_is_let_through_nothing_more(harness: Harness, client: int) -> None:
    """What is held counts as well: a job that runs wild is not let through a limit every ten minutes."""
    harness.grants(client, 12)
    for n in range(12):
        ask_all(harness, 1, first=n)
        harness.later(minutes=2)
    assert (len(opened(harness)), len(held(harness))) == (3, 9)


def test_one_that_was_asked_for_again_has_the_same_id_and_counts_once(harness: Harness, client: int) -> None:
    harness.grants(client, 4)
    ids = ask_all(harness, 4)
    assert ask_all(harness, 4) == ids
    harness.later(minutes=11)
    assert ask_all(harness, 4) == ids
    assert harness.one("select count(*) as n from evergrant.revocation_asks")["n"] == 4


def test_askers_are_counted_one_by_one(harness: Harness, client: int) -> None:
    harness.grants(client, 8)
    for n in range(4):
        assert asked_over_http(f"customer-{n}", "billing").held == (n == 3)
    assert not asked_over_http("customer-4", "shop").held
    with transaction() as connection:
        (each,) = held_revocation.held(connection)
    assert each.asked_by.endswith("/billing")


def test_another_asker_may_end_what_the_first_ones_limit_holds(harness: Harness, client: int) -> None:
    harness.grants(client, 4)
    for n in range(4):
        asked_over_http(f"customer-{n}", "billing")
    assert not asked_over_http("customer-3", "support").held
    assert opened(harness)[-1] == "customer-3"
    with transaction() as connection:
        assert held_revocation.held(connection) == []
    upkeep.upkeep("forget_asks")
    assert held(harness) == []


def test_the_operator_is_not_held_up_and_does_not_count(harness: Harness, client: int) -> None:
    ids = harness.grants(client, 6)
    with transaction() as connection:
        for each in ids[:5]:
            operator_actions.request_revocation(connection, each, reason=None, who="operator")
    ask_all(harness, 1, first=5)
    assert (len(opened(harness)), held(harness)) == (6, [])


def test_a_message_is_counted_as_a_request(harness: Harness, client: int) -> None:
    harness.grants(client, 4)
    for n in range(4):
        upkeep.request_revocation(f"customer-{n}")
    assert held(harness) == ["customer-3"]


def test_an_erasure_is_held_with_its_revocation_and_asked_for_with_it(harness: Harness, client: int) -> None:
    harness.grants(client, 4)
    ask_all(harness, 4, erase=True)
    erasures = "select from evergrant.erasures"
    assert len(harness.all(erasures)) == 3
    accept(client)
    assert len(harness.all(erasures)) == 4


def test_to_erase_what_is_revoked_already_counts_and_is_held_as_well(harness: Harness, client: int) -> None:
    harness.grants(client, 3)
    ids = ask_all(harness, 3)
    assert ask_all(harness, 3, erase=True) == ids
    assert harness.all("select from evergrant.erasures") == []
    assert len(held(harness)) == 3
    with transaction() as connection:
        assert [each.count for each in held_revocation.held(connection)] == [3]
    accept(client)
    assert len(harness.all("select from evergrant.erasures")) == 3
    assert len(opened(harness)) == 3


def test_an_idempotency_key_is_kept_while_it_is_held(harness: Harness, client: int) -> None:
    harness.run("update evergrant.clients set revocation_limit = 0")
    harness.grants(client, 2)
    with transaction() as connection:
        first = ask(connection, "customer-0", idempotency_key="k")
        assert ask(connection, "customer-0", idempotency_key="k") == first
    with pytest.raises(application_requests.NotAsked), transaction() as connection:
        application_requests.revocation(
            connection, Ending("customer-1", None, None, "k", missing_ok=False, erase=False), application=""
        )
    accept(client)
    assert harness.one("select id, idempotency_key as key from evergrant.revocations") == {"id": first, "key": "k"}


def test_a_key_that_two_askers_have_used_keeps_neither_grant_alive(harness: Harness, client: int) -> None:
    harness.run("update evergrant.clients set revocation_limit = 0")
    harness.grants(client, 2)
    for n, application in enumerate(("billing", "shop")):
        ending = Ending(f"customer-{n}", None, None, "k", missing_ok=False, erase=False)
        with transaction() as connection:
            assert application_requests.revocation(connection, ending, application=application).held
    assert accept(client) == 2
    keys = harness.all("select idempotency_key as key from evergrant.revocations order by id")
    assert [row["key"] for row in keys] == ["k", None]


def test_a_customer_that_came_back_meanwhile_keeps_the_new_grant(harness: Harness, client: int) -> None:
    harness.run("update evergrant.clients set revocation_limit = 0")
    old = harness.grant(client)
    with transaction() as connection:
        ask(connection, "customer")
    harness.run(
        "insert into evergrant.revocations (client_id, grant_id, ref) values (:c, :g, 'customer')", c=client, g=old
    )
    harness.set(old, status="revoked")
    harness.grant(client, token="new")
    accept(client)
    assert harness.one("select count(*) as n from evergrant.revocations")["n"] == 1


def test_without_a_setting_a_hundred_go_on_or_a_tenth_of_the_grants(harness: Harness) -> None:
    client = harness.client()
    _fill(harness, client, 102)
    harness.run("select evergrant.request_revocation('c-' || n) from generate_series(1, 102) n")
    assert (len(opened(harness)), len(held(harness))) == (100, 2)
    harness.later(minutes=11)
    other = harness.client("other")
    _fill(harness, other, 1100, prefix="o")
    harness.run("select evergrant.request_revocation('o-' || n) from generate_series(1, 111) n")
    query = "select count(*) as n from evergrant.{} where client_id = :id"
    assert harness.one(query.format("revocations"), id=other)["n"] == 110
    assert harness.one(query.format("held_revocations"), id=other)["n"] == 1


def test_many_clients_with_few_grants_each_are_one_limit_of_the_asker(harness: Harness) -> None:
    for n in range(15):
        _fill(harness, harness.client(f"shop-{n}"), 7, prefix=f"shop-{n}")
    harness.run("select evergrant.request_revocation(ref) from evergrant.grants")
    assert (len(opened(harness)), len(held(harness))) == (100, 5)


def test_a_low_limit_of_one_client_is_not_used_up_by_another(harness: Harness, client: int) -> None:
    _fill(harness, harness.client("other"), 50, prefix="o")
    harness.grants(client, 4)
    harness.run("select evergrant.request_revocation('o-' || n) from generate_series(1, 50) n")
    ask_all(harness, 4)
    assert held(harness) == ["customer-3"]


def test_a_limit_is_each_clients_own(harness: Harness, client: int) -> None:
    other = harness.client("other")
    harness.grants(client, 4)
    _fill(harness, other, 4, prefix="o")
    ask_all(harness, 4)
    harness.run("select evergrant.request_revocation('o-' || n) from generate_series(1, 4) n")
    assert len(held(harness)) == 1


def test_an_open_transaction_that_asks_for_many_holds_up_nobody(
    harness: Harness, client: int, application: Connection
) -> None:
    """Neither the next asker, of whatever name, nor a claim, a start or a settle of what it wants."""
    grants = harness.grants(client, 8)
    for n in range(6):
        ask(application, f"customer-{n}")
    harness.runtime.giving_up.set()
    harness.run("set local lock_timeout = '500ms'; select evergrant.request_revocation('customer-6')")
    assert not asked_over_http("customer-7", "shop").held
    started = harness.start(harness.claim(client).due)
    assert {attempt.job.grant_id for attempt in started} == set(grants[:6])
    harness.settle(*((attempt, token_set(f"new-{n}")) for n, attempt in enumerate(started)))
    assert harness.row(grants[0])["generation"] == 2
    application.get_transaction().commit()  # type: ignore[union-attr]
    assert (len(opened(harness)), len(held(harness))) == (5, 3)


def test_what_was_rolled_back_was_neither_asked_nor_counted(
    harness: Harness, client: int, application: Connection
) -> None:
    harness.grants(client, 5)
    for n in range(5):
        ask(application, f"customer-{n}")
    application.get_transaction().rollback()  # type: ignore[union-attr]
    ask_all(harness, 3)
    assert (len(opened(harness)), held(harness), harness.events(type="revocations.held")) == (3, [], [])


def test_asks_are_forgotten_after_an_hour(harness: Harness, client: int) -> None:
    harness.grants(client, 4)
    ask_all(harness, 4)
    harness.later(minutes=61)
    upkeep.upkeep("forget_asks")
    assert harness.all("select from evergrant.revocation_asks") == []
    assert held(harness) == ["customer-3"]


def test_what_is_held_is_forgotten_with_its_grant(harness: Harness, client: int) -> None:
    harness.run("update evergrant.clients set revocation_limit = 0")
    grant = harness.grant(client)
    with transaction() as connection:
        ask(connection, "customer", reason="Ada Lovelace left")
        operator_actions.request_revocation(connection, grant, reason=None, who="operator")
        connection.execute(text("insert into evergrant.erasures (grant_id) values (:id)"), {"id": grant})
    harness.run("update evergrant.revocations set status = 'done', evidence = 'verified'")
    harness.set(grant, status="revoked")
    from models import erasure

    with transaction() as connection:
        erasure.erase(connection, [grant], who="tests")
    assert harness.all("select from evergrant.held_revocations") == []


def test_a_tenth_of_many_grants_is_counted_by_an_index(harness: Harness, client: int) -> None:
    with transaction() as connection:
        connection.exec_driver_sql("set local enable_seqscan = off")
        for query, index in (
            (
                "select from evergrant.revocation_asks where client_id = 1 and asked_by = 'a' and asked_at > now()",
                "ix_revocation_asks_asked_by_asked_at_client_id",
            ),
            (
                "select from evergrant.grants where client_id = 1 and status not in ('revoking', 'revoked')",
                "uq_grants_client_id_ref",
            ),
        ):
            plan = "\n".join(connection.exec_driver_sql(f"explain (costs off) {query}").scalars())
            assert index in plan, plan


def _fill(harness: Harness, client: int, count: int, *, prefix: str = "c") -> None:
    """Grants without tokens: this is about how many there are."""
    harness.run(
        """insert into evergrant.grants (id, client_id, ref, status, generation, due_at)
        select gen_random_uuid(), :client, :prefix || '-' || n, 'active', 1, now() + interval '1 h'
        from generate_series(1, :count) n""",
        client=client,
        prefix=prefix,
        count=count,
    )
