"""A provider that answers late keeps its own customers waiting, and no other client's."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import pytest
import structlog

from models import credentials, ticket, visit
from models.database import transaction
from models.ticket import Wanted
from tasks import exchange
from tasks.runtime import exchanges
from tasks.runtime import runtime as runtimes
from tasks.runtime.runtime import Runtime
from tasks.settling import replay
from tests.harness import Harness
from tests.integration.public.browser import PUBLIC_URL
from tests.integration.public.conftest import Scene
from tests.integration.public.test_connecting import back, words
from tests.integration.test_neighbours_locks import stranger
from tests.polling import eventually


class Late:
    """A token endpoint that answers nobody until it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        late = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # its name
                self.rfile.read(int(self.headers["Content-Length"]))
                late.asked.append(self.path)
                late.released.wait(60)
                number = len(late.asked)
                pair = {"access_token": f"at-{id(self)}-{number}", "refresh_token": f"rt-{id(self)}-{number}"}
                body = json.dumps(pair | {"token_type": "bearer", "expires_in": 7200}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"


@pytest.fixture
def late() -> Iterator[Late]:
    made = Late()
    serving = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    serving.start()
    yield made
    made.released.set()
    made.server.shutdown()
    made.server.server_close()
    serving.join()


@pytest.fixture
def slow(harness: Harness, scene: Scene, late: Late) -> int:
    """A client of that provider."""
    base = scene.provider.url
    return harness.client("slow", authorize_url=f"{base}/oauth/authorize", token_url=late.url, revoke_url=None)


def come_back(scene: Scene, link: str) -> str:
    """Say yes at the provider and come back; where the page is that waits."""
    return PUBLIC_URL + scene.browser.open(back(scene.browser, link), follow=False).headers["location"]


def come_back_slowly(scene: Scene, client_id: int, count: int) -> None:
    for number in range(count):
        with transaction() as connection:
            made = ticket.make(connection, client_id, Wanted(f"s{number}"), other_account_allowed=True, who="tests")
        come_back(scene, f"{PUBLIC_URL}/connect/{made}")


def offered(runtime: Runtime) -> list[UUID]:
    """Take what beat would offer now, in a worker's threads."""
    with transaction() as connection:
        found = visit.offer(connection)
    runtime.exchanges.submit(partial(exchange.carry_out, runtime, found))
    return found


def open_ones(scene: Scene) -> int:
    return len(scene.rows("select from evergrant.visits where ended_at is null"))


def test_more_customers_at_a_provider_that_hangs_than_there_are_threads_hold_up_no_other(
    scene: Scene, slow: int, late: Late
) -> None:
    count = scene.harness.settings.concurrency + 1
    come_back_slowly(scene, slow, count)
    assert len(offered(scene.harness.runtime)) == count
    eventually(lambda: len(late.asked) == count)

    outcome = come_back(scene, scene.link())
    assert len(offered(scene.harness.runtime)) == 1
    assert "is connected" in words(scene.browser.open(outcome))
    assert open_ones(scene) == count

    late.released.set()
    eventually(lambda: open_ones(scene) == 0)
    refs = scene.rows("select ref from evergrant.grants where client_id = :id and status = 'active'", id=slow)
    assert len(refs) == count


def test_whoever_has_no_room_begins_as_soon_as_there_is_some(
    scene: Scene, slow: int, late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "MOST_OF_A_CLIENT", 2)
    come_back_slowly(scene, slow, 5)
    offered(scene.harness.runtime)
    eventually(lambda: len(late.asked) == 2)

    late.released.set()
    eventually(lambda: open_ones(scene) == 0)
    assert len(late.asked) == 5


def test_a_client_has_half_of_the_room_and_whoever_has_none_is_offered_again(
    scene: Scene, slow: int, late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "MOST_OF_A_CLIENT", 2)
    monkeypatch.setattr(exchanges, "LEASE", timedelta(0))  # the room comes later than the next offer
    come_back_slowly(scene, slow, 3)
    offered(scene.harness.runtime)
    eventually(lambda: len(late.asked) == 2)
    outcome = come_back(scene, scene.link())
    offered(scene.harness.runtime)
    assert "is connected" in words(scene.browser.open(outcome))

    late.released.set()
    eventually(lambda: open_ones(scene) == 1)
    scene.harness.run("update evergrant.visits set offered_at = offered_at - interval '1 minute'")
    assert len(offered(scene.harness.runtime)) == 1
    eventually(lambda: open_ones(scene) == 0)
    assert len(late.asked) == 3


def test_a_worker_that_ends_waits_for_the_answers_that_are_under_way(
    scene: Scene, slow: int, late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "WHOLE_DEADLINE", timedelta(seconds=0.2))  # but for their deadlines
    come_back_slowly(scene, slow, 3)
    ending = Runtime.open(scene.harness.settings)
    offered(ending)
    eventually(lambda: len(late.asked) == 3)

    closing = threading.Thread(target=ending.close)
    closing.start()
    assert ending.giving_up.wait(20)
    late.released.set()
    closing.join()

    assert ending.exchanges.wait_until_quiet(timedelta(0))
    replay.drain_others(scene.harness.runtime)  # an end that was given up is in the journal
    assert len(scene.rows("select from evergrant.grants where status = 'active'")) == 3


def test_a_worker_that_is_told_to_stop_sends_no_code_any_more(scene: Scene) -> None:
    come_back(scene, scene.link())
    stopping = Runtime.open(scene.harness.settings)
    stopping.stop()

    (visit_id,) = offered(stopping)
    with structlog.testing.capture_logs() as logs:
        exchange.carry_out(stopping, [visit_id])
    stopping.close()

    assert [each["event"] for each in logs] == ["visit.worker_stops"]

    assert scene.provider.requests(endpoint="token") == []
    assert scene.rows("select used_at from evergrant.connect_requests") == [(None,)]


def test_a_lock_in_the_way_of_one_clients_customers_holds_up_no_others_and_no_refresh(
    scene: Scene, client: int, slow: int, late: Late
) -> None:
    """An application of that client's forgets to commit; more answers than there are threads wait for its valve."""
    count = scene.harness.settings.concurrency + 1
    come_back_slowly(scene, slow, count)
    offered(scene.harness.runtime)
    eventually(lambda: len(late.asked) == count)
    with stranger("select from evergrant.valves where client_id = %(id)s for update", id=slow):
        late.released.set()
        eventually(lambda: scene.harness.runtime.exchanges._asked[slow] == 0)

        outcome = come_back(scene, scene.link())
        offered(scene.harness.runtime)
        assert "is connected" in words(scene.browser.open(outcome))
        assert open_ones(scene) == count
    eventually(lambda: open_ones(scene) == 0)


def test_a_provider_that_does_not_say_whose_account_it_is_keeps_only_its_own_customers_waiting(
    scene: Scene, late: Late
) -> None:
    base = scene.provider.url
    asked = scene.harness.client(
        "asked",
        authorize_url=f"{base}/oauth/authorize",
        token_url=f"{base}/oauth/token",
        introspect_url=late.url,
        revoke_url=None,
    )
    count = scene.harness.settings.concurrency + 1
    come_back_slowly(scene, asked, count)
    offered(scene.harness.runtime)
    eventually(lambda: len(late.asked) == count)

    outcome = come_back(scene, scene.link())
    offered(scene.harness.runtime)
    assert "is connected" in words(scene.browser.open(outcome))
    assert open_ones(scene) == count

    late.released.set()
    eventually(lambda: open_ones(scene) == 0)
    assert len(scene.rows("select from evergrant.grants where client_id = :id", id=asked)) == count


def test_a_new_secret_that_is_wrong_fails_no_customer_who_is_under_way(scene: Scene, client: int) -> None:
    """Each code was not looked at: it is sent again with the secret that is in force by then."""
    scene.harness.run("update evergrant.valves set credentials_proven_no = 1")
    with transaction() as connection:
        sealed = scene.harness.runtime.vault.seal("wrong", table="clients", row_id=client, purpose="secret")
        assert credentials.set_secret(connection, client, sealed)
    outcomes = [come_back(scene, scene.link(f"c{number}")) for number in range(5)]

    assert [scene.worker.once(), scene.worker.once()] == [5, 5]

    assert all("is connected" in words(scene.browser.open(outcome)) for outcome in outcomes)
    assert len(scene.provider.requests(endpoint="token")) == 10


def test_a_message_that_comes_when_the_code_has_lapsed_does_not_end_a_visit_that_is_under_way(
    scene: Scene, slow: int, late: Late
) -> None:
    come_back_slowly(scene, slow, 1)
    (visit_id,) = offered(scene.harness.runtime)
    eventually(lambda: len(late.asked) == 1)
    scene.harness.run("update evergrant.connect_requests set expires_at = clock_timestamp() - interval '1 second'")

    exchange.carry_out(scene.harness.runtime, [visit_id])

    assert open_ones(scene) == 1
    late.released.set()
    eventually(lambda: open_ones(scene) == 0)
    assert scene.rows("select outcome from evergrant.visits") == [("connected",)]
