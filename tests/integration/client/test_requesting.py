"""Requests in the transaction of the application: committed with it, rolled back with it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from evergrant_client import AmbiguousGrant, Evergrant, EvergrantError, IdempotencyKeyTaken, NotConfigured, UnknownGrant
from tests.harness import Harness


@pytest.fixture
def url(harness: Harness) -> str:
    assert harness.settings.database_url is not None
    return harness.settings.database_url.get_secret_value()


Use = Callable[[str, Callable[[object], object]], object]


def in_psycopg(url: str, work: Callable[[object], object]) -> object:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return work(connection)


def in_sqlalchemy(url: str, work: Callable[[object], object]) -> object:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


def in_a_session(url: str, work: Callable[[object], object]) -> object:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with Session(engine) as session, session.begin():
            return work(session)
    finally:
        engine.dispose()


def _revoke(evergrant: Evergrant, arguments: dict[str, Any], connection: object) -> object:
    return evergrant.request_revocation(**arguments, connection=connection)


class _Gone(Exception):
    """The application changed its mind."""


@pytest.fixture(params=[in_psycopg, in_sqlalchemy, in_a_session], ids=["psycopg", "sqlalchemy", "session"])
def use(request: pytest.FixtureRequest) -> Use:
    found: Use = request.param
    return found


def test_a_request_commits_with_the_application(
    harness: Harness, client: int, evergrant: Evergrant, url: str, use: Use
) -> None:
    harness.grant(client)
    assert use(url, lambda c: evergrant.request_refresh("customer", connection=c)) == 2
    made = use(
        url,
        lambda c: evergrant.request_revocation(
            "customer", client="demo", reason="account deleted", idempotency_key="k", erase=True, connection=c
        ),
    )
    row = harness.one("select id, reason, idempotency_key from evergrant.revocations")
    assert row == {"id": made, "reason": "account deleted", "idempotency_key": "k"}
    assert len(harness.all("select grant_id from evergrant.erasures")) == 1
    assert use(url, lambda c: evergrant.request_revocation("nobody", missing_ok=True, connection=c)) is None


def test_a_request_is_rolled_back_with_the_application(
    harness: Harness, client: int, evergrant: Evergrant, url: str, use: Use
) -> None:
    harness.grant(client)

    def fail(connection: object) -> None:
        evergrant.request_revocation("customer", connection=connection)
        evergrant.request_refresh("customer", connection=connection)
        raise _Gone

    with pytest.raises(_Gone):
        use(url, fail)
    assert harness.all("select id from evergrant.revocations") == []
    assert harness.all("select id from evergrant.refresh_requests") == []
    assert evergrant.access_token("customer").generation == 1


def test_what_the_functions_refuse_is_told_in_the_same_words(
    harness: Harness, client: int, evergrant: Evergrant, url: str, use: Use
) -> None:
    harness.grant(client)
    harness.grant(client, "other")
    harness.grant(harness.client("second"))
    evergrant.request_revocation("other", idempotency_key="k")
    refused: list[tuple[type[EvergrantError], dict[str, Any]]] = [
        (UnknownGrant, {"ref": "nobody"}),
        (AmbiguousGrant, {"ref": "customer"}),
        (IdempotencyKeyTaken, {"ref": "customer", "client": "demo", "idempotency_key": "k"}),
    ]
    for error, arguments in refused:
        with pytest.raises(error):
            use(url, partial(_revoke, evergrant, arguments))
        with pytest.raises(error):
            evergrant.request_revocation(**arguments)


def test_what_is_no_connection_is_refused(client: int, evergrant: Evergrant) -> None:
    for wrong in ("postgresql://…", object()):
        with pytest.raises(NotConfigured, match="pass a Connection of psycopg"):
            evergrant.request_revocation("customer", connection=wrong)


async def _asynchronously(url: str, evergrant: Evergrant) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        evergrant.request_revocation("customer", connection=connection)


def test_an_asynchronous_connection_is_refused(harness: Harness, client: int, evergrant: Evergrant, url: str) -> None:
    """It would return a coroutine that nobody awaits, and the request would be lost in silence."""
    import asyncio

    harness.grant(client)
    with pytest.raises(NotConfigured, match="none asynchronous"):
        asyncio.run(_asynchronously(url, evergrant))
    assert harness.all("select id from evergrant.revocations") == []
