"""What each process says of itself: its environment and the ids of its keys, and nothing that is secret."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import RowMapping

from tasks import heartbeat
from tests.harness import Harness
from tests.polling import eventually
from worker.beat import GrantScheduler
from worker.web.server import serving


@pytest.fixture
def alone(harness: Harness) -> Iterator[Harness]:
    """Nobody else has ever said that it lives."""
    harness.run("delete from evergrant.processes")
    yield harness
    harness.run("delete from evergrant.processes")


def said(harness: Harness, kind: str) -> RowMapping | None:
    found = harness.all("select * from evergrant.processes where kind = :kind", kind=kind)
    return found[0] if found else None


def once(harness: Harness, kind: str) -> Any:
    eventually(lambda: said(harness, kind) is not None)
    return said(harness, kind)


def test_a_worker_tells_the_ids_of_its_keys_its_environment_and_its_disk_and_no_key(alone: Harness) -> None:
    beating = heartbeat.Heartbeat(alone.runtime)
    beating.start()
    try:
        row = once(alone, "worker")
    finally:
        beating.end()
    vault = alone.runtime.vault
    assert vault.refresh is not None
    assert vault.access is not None
    assert (row["refresh_key_ids"], row["access_key_ids"]) == (vault.refresh.ids, vault.access.ids)
    assert row["environment"] == alone.settings.environment
    assert row["disk_free"] > 0
    assert row["fault"] is None
    assert abs(row["clock_at"] - row["seen_at"]) < timedelta(minutes=1)
    assert row["consumed_at"] <= row["seen_at"]
    secrets = [getattr(alone.settings, f"{ring}_token_keys") for ring in ("refresh", "access")]
    material = [line.partition(":")[2] for each in secrets if each for line in each.get_secret_value().splitlines()]
    assert material
    assert not any(each in str(dict(row)) for each in material)


def test_a_variable_that_is_no_setting_is_told_by_its_name(alone: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_CONCURENCY", "hush")
    beating = heartbeat.Heartbeat(alone.runtime)
    beating.start()
    try:
        row = once(alone, "worker")
    finally:
        beating.end()
    assert "EVERGRANT_CONCURENCY" in row["ignored_variables"]
    assert "hush" not in str(dict(row))


def test_a_beat_holds_no_key_and_says_so(alone: Harness) -> None:
    beat = GrantScheduler(Celery(broker="memory://"), lazy=True)
    beat.tick()
    row = once(alone, "beat")
    assert (row["refresh_key_ids"], row["access_key_ids"], row["consumed_at"]) == ([], [], None)
    assert row["environment"] == alone.settings.environment


def test_a_web_holds_the_access_ring_alone(alone: Harness) -> None:
    seen: list[Any] = []

    async def serve() -> None:
        async with serving(alone.settings.model_copy(update={"ops_bind": "127.0.0.1:0"})):
            seen.append(await asyncio.to_thread(once, alone, "web"))

    asyncio.run(serve())
    (row,) = seen
    assert alone.runtime.vault.access is not None
    assert (row["refresh_key_ids"], row["access_key_ids"]) == ([], alone.runtime.vault.access.ids)


def test_a_process_of_the_release_before_may_go_on_beside_and_says_nothing_of_its_keys(alone: Harness) -> None:
    alone.run(
        """insert into evergrant.processes (id, kind, host, pid, metrics_port)
        values (gen_random_uuid(), 'worker', 'old', 1, null)"""
    )
    row = once(alone, "worker")
    assert (row["refresh_key_ids"], row["environment"]) == (None, None)


def test_the_ids_of_a_grants_keys_are_told_to_whoever_may_not_read_what_is_sealed(alone: Harness) -> None:
    grant = alone.grant(alone.client())
    query = "select * from evergrant.key_ids_of_grant(:id)"
    told = alone.one(query, id=grant)
    vault = alone.runtime.vault
    assert vault.refresh is not None
    assert vault.access is not None
    assert dict(told) == {
        "refresh_key_id": vault.refresh.active.key_id,
        "access_key_id": vault.access.active.key_id,
        "secret_key_id": vault.refresh.active.key_id,
    }
    for shredded in (None, b"", b"\x01"):
        alone.set(grant, sealed_refresh_token=shredded)
        assert alone.one(query, id=grant)["refresh_key_id"] is None
