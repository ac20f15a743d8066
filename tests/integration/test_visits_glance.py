"""What metrics, `status` and `doctor` count of visits: who waits and why, how they ended, how long they took."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

from models.database import transaction
from models.views import visits
from tests.customers import a_visit
from tests.harness import Harness

HOUR = 3600.0


def waiting(**said: Any) -> list[dict[str, Any]]:
    with transaction() as connection:
        return [dict(row) for row in visits.waiting(connection, **said)]


def ended() -> list[dict[str, Any]]:
    with transaction() as connection:
        return [dict(row) for row in visits.hour(connection).ended]


@pytest.fixture
def client(harness: Harness) -> int:
    return harness.client("shop")


def test_who_waits_is_counted_by_what_holds_them_up_with_the_first_of_them(harness: Harness, client: int) -> None:
    a_visit(harness.run, client, back=5)
    a_visit(harness.run, client, back=40, held_by="client_paused")
    a_visit(harness.run, client, back=90, held_by="client_paused")
    a_visit(harness.run, client, back=90, ended=80, outcome="connected")
    a_visit(harness.run, harness.client("other"), back=31)

    found = waiting()
    assert [(row["client"], row["held_by"], row["visits"]) for row in found] == [
        ("other", None, 1),
        ("shop", "client_paused", 2),
        ("shop", None, 1),
    ]
    assert 90 <= found[1]["lag"].total_seconds() < 120
    longer = waiting(longer_than=timedelta(seconds=30))
    assert [(row["client"], row["visits"]) for row in longer] == [("other", 1), ("shop", 2)]


def test_ends_are_counted_for_an_hour_by_how_and_why(harness: Harness, client: int) -> None:
    for reason in ("keys", "keys", "begun_again"):
        a_visit(harness.run, client, back=30, ended=20, outcome="failed", reason=reason)
    a_visit(harness.run, client, back=30, ended=20, outcome="denied")
    a_visit(harness.run, client, back=HOUR + 20, ended=HOUR - 20, outcome="connected")
    a_visit(harness.run, client, back=HOUR + 30, ended=HOUR + 20, outcome="connected")

    found = ended()
    assert [(row["outcome"], row["reason"], row["visits"]) for row in found] == [
        ("connected", None, 1),
        ("denied", None, 1),
        ("failed", "begun_again", 1),
        ("failed", "keys", 2),
    ]
    assert not any(row["recovered"] for row in found)
    a_visit(harness.run, client, back=2, ended=1, outcome="connected")
    assert [row["reason"] for row in ended() if row["recovered"]] == [None, "begun_again", "keys"]


def test_whose_token_set_a_journal_had_after_all_is_connected(harness: Harness, client: int) -> None:
    visit_id = a_visit(harness.run, client, back=30, ended=20, outcome="failed", reason="exchange_unclear")
    a_visit(harness.run, client, back=30, ended=20, outcome="failed", reason="exchange_unclear")
    harness.run(
        """insert into evergrant.grants (id, client_id, ref, status, due_at)
        values (:id, :client, 'customer', 'active', now())""",
        id=visit_id,
        client=client,
    )
    assert [(row["outcome"], row["reason"]) for row in ended()] == [
        ("connected", None),
        ("failed", "exchange_unclear"),
    ]


def test_how_long_it_took_is_told_of_those_who_brought_a_code(harness: Harness, client: int) -> None:
    for length in (1, 2, 3):
        a_visit(harness.run, client, back=100, ended=100 - length, outcome="connected")
    a_visit(harness.run, client, back=100, ended=60, outcome="failed", reason="exchange_not_sent")
    a_visit(harness.run, client, back=100, ended=99.999, outcome="denied")
    a_visit(harness.run, client, back=100, ended=99.999, outcome="failed", reason="provider_error")
    a_visit(harness.run, client, back=2 * HOUR, ended=1.5 * HOUR, outcome="connected")
    a_visit(harness.run, harness.client("other"), back=100, ended=99.999, outcome="denied")
    with transaction() as connection:
        found = visits.hour(connection).seconds
    assert found.keys() == {"shop"}
    assert {name: round(value) for name, value in found["shop"].items()} == {"0.5": 2, "0.95": 40, "1": 40}


MANY = text("""
with made as (
    insert into evergrant.tickets (ticket_hash, client_id, ref, labels, scopes, other_account_allowed, created_by,
        counted_as, expires_at)
    select sha256(n::text::bytea), :client_id, 'r' || n, '{}', '{}', false, 'tests', 'tests', now() - n * interval '1 s'
    from generate_series(1, :count) n
    returning id, expires_at
)
insert into evergrant.visits (id, ticket_id, answered_at, ended_at, outcome)
select gen_random_uuid(), id, expires_at - interval '1 s', expires_at, 'connected' from made
""")
STATEMENTS: dict[str, tuple[TextClause, dict[str, Any], str]] = {
    "hour": (visits.HOUR, {"within": visits.WITHIN, "quantiles": [0.5, 1.0]}, "ix_visits_ended_at"),
    "waiting": (visits.WAITING, {"longer_than": timedelta(0)}, "ix_visits_waiting"),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_week_of_visits_is_not_read_for_what_is_told_of_an_hour(harness: Harness, client: int, name: str) -> None:
    statement, parameters, index = STATEMENTS[name]
    with transaction() as connection:
        connection.execute(MANY, {"client_id": client, "count": 40_000})
        connection.execute(text("analyze evergrant.visits, evergrant.tickets"))
        plan = "\n".join(connection.execute(text(f"explain {statement.text}"), parameters).scalars())
    assert index in plan
    assert "Seq Scan on visits" not in plan
