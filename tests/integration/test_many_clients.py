"""Very many clients with little due each: beat claims for some of them in one transaction."""

from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from pydantic import SecretStr
from sqlalchemy import Connection, text

import settings
from tasks.claim import Claimed
from tasks.claim import claim as claim_client
from tests.harness import Harness
from tests.integration.test_broker import channel_of
from tests.integration.test_neighbours_locks import stranger
from worker import beat as beats
from worker.beat import GrantScheduler

CLIENTS = 7


@pytest.fixture
def due(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """Clients with a grant each that is due; more than beat claims for one by one."""
    monkeypatch.setattr(beats, "MANY_CLIENTS", 3)
    monkeypatch.setattr(beats, "CLIENTS_AT_ONCE", 3)
    harness.run("update evergrant.chores set due_at = clock_timestamp() + interval '1 hour'")
    found = {harness.client(f"c{number}"): f"ref{number}" for number in range(CLIENTS)}
    for client, ref in found.items():
        harness.grant(client, ref, due_in=timedelta(seconds=-1))
    return found


@pytest.fixture
def beat(celery: Celery, broker_url: str, harness: Harness) -> GrantScheduler:
    settings.adopt(harness.settings.model_copy(update={"broker_url": SecretStr(broker_url)}))
    return GrantScheduler(celery, lazy=True)


def claimed(harness: Harness) -> set[str]:
    return {row["ref"] for row in harness.all("select ref from evergrant.grants where claimed_at is not null")}


def published(celery: Celery) -> int:
    with celery.connection_for_read() as opened:
        return int(channel_of(opened).client.llen("refresh"))


def transactions(harness: Harness) -> list[int]:
    """Of how many grants each claiming transaction was."""
    return sorted(row["n"] for row in harness.all("select count(*) as n from evergrant.grants group by xmin::text"))


def test_some_clients_are_claimed_for_in_one_transaction_and_each_has_its_message(
    harness: Harness, due: dict[int, str], beat: GrantScheduler, celery: Celery
) -> None:
    beat.tick()
    assert claimed(harness) == set(due.values())
    assert published(celery) == CLIENTS
    assert transactions(harness) == [1, 3, 3]


def test_few_clients_are_claimed_for_one_by_one(
    harness: Harness, due: dict[int, str], beat: GrantScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "MANY_CLIENTS", CLIENTS)
    beat.tick()
    assert transactions(harness) == [1] * CLIENTS


def test_a_client_whose_claim_fails_keeps_none_of_those_beside_it_waiting(
    harness: Harness, due: dict[int, str], beat: GrantScheduler, celery: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill = list(due)[1]

    def claim(connection: Connection, client_id: int, **more: Any) -> Claimed:
        if client_id == ill:
            connection.execute(text("select 1 / 0"))
        return claim_client(connection, client_id, **more)

    monkeypatch.setattr(beats, "claim_client", claim)
    beat.tick()
    assert claimed(harness) == set(due.values()) - {due[ill]}
    assert published(celery) == CLIENTS - 1


def test_a_valve_that_somebody_has_locked_is_passed_over(
    harness: Harness, due: dict[int, str], beat: GrantScheduler, celery: Celery
) -> None:
    locked = list(due)[1]
    with stranger("select from evergrant.valves where client_id = %(id)s for update", id=locked):
        beat.tick()
        assert claimed(harness) == set(due.values()) - {due[locked]}
    beat.tick()
    assert claimed(harness) == set(due.values())
