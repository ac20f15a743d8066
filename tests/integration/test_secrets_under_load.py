"""Secrets and private keys that are replaced while a worker refreshes over HTTP: nobody notices."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import jwt
import pytest

from models import operator_actions
from models.database import transaction
from tasks import refresh
from tasks.oauth import client_key
from tasks.oauth.client_key import ClientKey
from tasks.settling.settle import journal_answers, settle
from tests.harness import Harness
from tests.polling import eventually
from tests.raw_servers import Bench, Peer

GRANTS = 8
LIFE = 1  # second: each grant is refreshed again and again


class Provider:
    """A token endpoint that rotates, kills whoever sends a spent token, and asks who it is first."""

    def __init__(self) -> None:
        self.secrets = {"s3cret"}
        self.keys: dict[str, ClientKey] = {}
        self.audience = ""
        self.seen: list[str] = []  # the secret, or the id of the key, of each request that was let in
        self.refused: list[str] = []
        self.ids: set[str] = set()
        self.spent: list[str] = []
        self.present: dict[str, int] = {}

    async def behave(self, peer: Peer) -> None:
        while request := await peer.request():
            status, body = self.answer(request)
            raw = json.dumps(body).encode()
            await peer.say(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(raw), raw))

    def answer(self, request: bytes) -> tuple[int, dict[str, Any]]:
        head, _, body = request.partition(b"\r\n\r\n")
        members = dict(parse_qsl(body.decode()))
        who, is_known = self.who(head.decode(), members)
        if not is_known:
            self.refused.append(who)
            return 401, {"error": "invalid_client"}
        self.seen.append(who)
        name, _, number = members["refresh_token"].removeprefix("rt-").rpartition("-")
        if self.present.setdefault(name, int(number)) != int(number):
            self.spent.append(members["refresh_token"])
            return 400, {"error": "invalid_grant"}
        self.present[name] += 1
        pair = f"{name}-{self.present[name]}"
        return 200, {"access_token": f"at-{pair}", "refresh_token": f"rt-{pair}", "expires_in": LIFE}

    def who(self, head: str, members: dict[str, str]) -> tuple[str, bool]:
        if "client_assertion" in members:
            return self.who_signed(members["client_assertion"])
        basic = next(line for line in head.split("\r\n") if line.startswith("Authorization: Basic "))
        secret = unquote_plus(base64.b64decode(basic.split(" ")[2]).decode().partition(":")[2])
        return secret, secret in self.secrets

    def who_signed(self, assertion: str) -> tuple[str, bool]:
        kid = jwt.get_unverified_header(assertion)["kid"]
        key = self.keys.get(kid)
        if key is None:
            return kid, False
        claims = jwt.decode(assertion, jwt.PyJWK(key.public_jwk), algorithms=[key.algorithm], audience=self.audience)
        is_new = claims["jti"] not in self.ids
        self.ids.add(claims["jti"])
        return kid, is_new and claims["sub"] == claims["iss"] == "app"


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def url(provider: Provider) -> Iterator[str]:
    bench = Bench()
    provider.audience = bench.serve(provider.behave).url()
    yield provider.audience
    bench.close()


@contextmanager
def working(harness: Harness, client: int) -> Iterator[None]:
    """A beat and a worker that claim, start, ask and settle, as long as the block lasts."""
    stopped = threading.Event()
    harness.runtime.handle_answers(journal=journal_answers, settle=settle)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            while not stopped.wait(0.05):
                refresh.carry_out(harness.runtime, harness.claim(client).due, client)
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(30)
        assert harness.runtime.admission.wait_until_quiet(timedelta(seconds=30))
        assert failed == []


def give(harness: Harness, client: int, secret: str) -> None:
    with transaction() as connection:
        sealed = harness.runtime.vault.seal(secret, table="clients", row_id=client, purpose="secret")
        operator_actions.set_client_secret(connection, client, sealed, who="tests")


def goes_on(harness: Harness, provider: Provider) -> None:
    """Wait until every grant was refreshed twice from now on, so that nothing of before is under way or unsettled."""
    before = dict(provider.present)
    eventually(
        lambda: (
            len(provider.present) == GRANTS
            and all(number >= before.get(name, 1) + 2 for name, number in provider.present.items())
        ),
        timeout=60,
    )


def kept(harness: Harness, client: int) -> Any:
    return harness.one("select * from evergrant.clients where id = :id", id=client)["sealed_former_secret"]


def nobody_noticed(harness: Harness, client: int, provider: Provider) -> bool:
    rows = harness.all("select * from evergrant.grants")
    events = set(harness.events(client_id=client))
    well = all(row["failures"] == row["refusals"] == 0 and row["suspect_at"] is None for row in rows)
    active = {row["status"] for row in rows} == {"active"}
    return well and active and provider.spent == [] and "client.paused" not in events


def test_a_private_key_is_replaced_again_and_again_and_not_one_request_is_refused(
    harness: Harness, provider: Provider, url: str
) -> None:
    client = harness.client(rotation="family", auth="private_key_jwt", body="form", token_url=url)
    harness.grants(client, GRANTS)
    first = client_key.made("ES256")
    provider.keys[first.key_id] = first
    give(harness, client, first.pem)
    with working(harness, client):
        goes_on(harness, provider)
        for algorithm in ("EdDSA", "RS256", "ES256"):
            former, new = list(provider.keys)[-1], client_key.made(algorithm)
            provider.keys[new.key_id] = new  # registered beside the former one
            give(harness, client, new.pem)
            eventually(lambda: kept(harness, client) is None, timeout=60)
            goes_on(harness, provider)
            del provider.keys[former]
        goes_on(harness, provider)
    assert provider.refused == []
    assert len(set(provider.seen)) == 4
    assert nobody_noticed(harness, client, provider)
    assert harness.events(client_id=client).count("client.secret_proven") == 3


def test_a_secret_that_was_typed_in_wrong_stops_no_fleet_and_the_right_one_is_proven_later(
    harness: Harness, provider: Provider, url: str
) -> None:
    client = harness.client(rotation="family", auth="basic", body="form", token_url=url)
    harness.grants(client, GRANTS)
    with working(harness, client):
        goes_on(harness, provider)
        give(harness, client, "typed wrong")
        eventually(lambda: "client.secret_refused" in harness.events(client_id=client), timeout=60)
        goes_on(harness, provider)
        assert set(provider.refused) == {"typed wrong"}
        assert len(provider.refused) <= GRANTS  # those that were under way when the first was refused
        provider.secrets.add("right")
        give(harness, client, "right")
        eventually(lambda: kept(harness, client) is None, timeout=60)
        goes_on(harness, provider)
        provider.secrets.remove("s3cret")
        goes_on(harness, provider)
    assert nobody_noticed(harness, client, provider)
    assert set(provider.refused) == {"typed wrong"}
    assert provider.seen[-1] == "right"


def test_a_secret_that_is_not_known_everywhere_yet_proves_itself_in_the_end(
    harness: Harness, provider: Provider, url: str
) -> None:
    client = harness.client(rotation="family", auth="basic", body="form", token_url=url)
    harness.grants(client, GRANTS)
    with working(harness, client):
        goes_on(harness, provider)
        give(harness, client, "early")
        eventually(lambda: "client.secret_refused" in harness.events(client_id=client), timeout=60)
        before = len(provider.refused)
        goes_on(harness, provider)
        assert len(provider.refused) <= max(before, GRANTS)
        provider.secrets.add("early")
        harness.run(
            """update evergrant.clients set secret_refused_at = secret_refused_at - interval '1 h',
                former_secret_at = former_secret_at - interval '1 h'"""
        )
        eventually(lambda: kept(harness, client) is None, timeout=60)
        goes_on(harness, provider)
        provider.secrets.remove("s3cret")
        goes_on(harness, provider)
    assert nobody_noticed(harness, client, provider)
    assert provider.seen[-1] == "early"
