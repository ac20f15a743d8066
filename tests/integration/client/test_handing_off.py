"""A 401 from the API: however many threads, processes and adapters see it at once, there is one refresh."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

import evergrant_client.requests
from evergrant_client import Evergrant, GrantRevoked, NotFreshYet
from evergrant_client.database import Database
from models.database import engine
from tests.harness import Harness, token_set
from tests.integration.client.conftest import LATER, Refresher
from tests.polling import eventually

PACKAGE = Path(__file__).resolve().parents[3] / "client"


class Api(ThreadingHTTPServer):
    """An API that accepts one access token and counts its answers; it may hold requests until all have come."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.accepted = "at-customer-1"
        self.answers: list[int] = []
        self.gate: threading.Barrier | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v2/bookings"


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization")
        status = 200 if sent == f"Bearer {self.server.accepted}" else 401
        if status == 401 and self.server.gate is not None:
            self.server.gate.wait(30)
        self.server.answers.append(status)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def running(server: Api) -> Iterator[Api]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api() -> Iterator[Api]:
    with running(Api()) as server:
        yield server


def test_fifty_threads_that_see_a_401_at_once_cause_one_refresh(
    harness: Harness, client: int, evergrant: Evergrant, refresher: Refresher, api: Api
) -> None:
    harness.grant(client, due_in=LATER)
    auth = evergrant_client.requests.auth(evergrant, "customer")
    evergrant.access_token("customer")
    api.accepted, api.gate = "at-refreshed-1", threading.Barrier(50)
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: requests.get(api.url, auth=auth, timeout=60).status_code, range(50)))
    assert found == [200] * 50
    assert (api.answers.count(401), api.answers.count(200)) == (50, 50)
    assert refresher.refreshed == 1
    assert harness.one("select generation from evergrant.grants")["generation"] == 2


PROGRAM = """
import sys, requests, evergrant_client.requests
from evergrant_client import Evergrant
reader = Evergrant()
auth = evergrant_client.requests.auth(reader, "customer")
print(requests.get(sys.argv[1], auth=auth, timeout=60).status_code)
reader.close()
"""


def test_processes_that_see_a_401_at_once_cause_one_refresh(
    harness: Harness, client: int, in_environment: dict[str, str], refresher: Refresher, api: Api
) -> None:
    harness.grant(client, due_in=LATER)
    api.accepted, api.gate = "at-refreshed-1", threading.Barrier(3)
    command = [sys.executable, "-c", PROGRAM, api.url]
    env = {**os.environ, **in_environment, "PYTHONPATH": str(PACKAGE)}
    started = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [each.communicate(timeout=60)[0] for each in started] == ["200\n"] * 3
    assert refresher.refreshed == 1


def test_a_401_rereads_and_finds_what_another_process_has_refreshed(
    harness: Harness, client: int, evergrant: Evergrant
) -> None:
    harness.grant(client)
    token = evergrant.access_token("customer")
    harness.ask(client, token_set("2"))
    assert evergrant.access_token("customer") == token
    assert evergrant.access_token("customer", rejected=token).value == "at-2"
    assert evergrant.access_token("customer").value == "at-2"
    assert harness.all("select id from evergrant.refresh_requests") == []


def test_a_401_rereads_though_something_newer_is_remembered(
    harness: Harness, client: int, evergrant: Evergrant
) -> None:
    """A slow request, sent with the token before last, must not be repeated with one that has ended as well."""
    harness.grant(client)
    first = evergrant.access_token("customer")
    harness.ask(client, token_set("2"))
    evergrant.access_token("customer", rejected=first)
    harness.later(hours=2)
    harness.ask(client, token_set("3"))
    assert evergrant.access_token("customer", rejected=first).value == "at-3"


def test_a_401_to_a_token_that_is_seconds_old_asks_for_nothing_and_is_passed_on(
    harness: Harness, client: int, evergrant: Evergrant, api: Api
) -> None:
    harness.grant(client)
    harness.ask(client, token_set("2"))
    api.accepted = "another"
    auth = evergrant_client.requests.auth(evergrant, "customer")
    assert requests.get(api.url, auth=auth, timeout=60).status_code == 401
    assert api.answers == [401]
    with pytest.raises(NotFreshYet, match="refreshed a moment ago"):
        evergrant.access_token("customer", rejected=evergrant.access_token("customer"))
    assert harness.all("select id from evergrant.refresh_requests") == []


def test_a_401_to_a_token_whose_grant_was_revoked_meanwhile_says_so(
    harness: Harness, client: int, evergrant: Evergrant, api: Api
) -> None:
    harness.grant(client)
    evergrant.access_token("customer")
    harness.run("select evergrant.request_revocation('customer')")
    api.accepted = "nothing"
    with pytest.raises(GrantRevoked):
        requests.get(api.url, auth=evergrant_client.requests.auth(evergrant, "customer"), timeout=60)


def test_somebody_who_asks_in_a_transaction_that_stays_open_keeps_no_reader_waiting(
    harness: Harness, client: int, evergrant: Evergrant
) -> None:
    grant = harness.grant(client, due_in=LATER)
    token = evergrant.access_token("customer")
    with engine().connect() as connection, connection.begin():
        connection.exec_driver_sql("select evergrant.request_refresh('customer', if_generation => 1)")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(evergrant.access_token, "customer", rejected=token)
            harness.until_due(grant)
            harness.ask(client, token_set("2"))
            assert waiting.result(20).value == "at-2"


def test_news_of_a_stored_token_set_wakes_who_waits(
    harness: Harness, client: int, evergrant: Evergrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = harness.grant(client, due_in=LATER, access_left=None)
    monkeypatch.setattr("evergrant_client.evergrant.FIRST_PAUSE", 600.0)
    monkeypatch.setattr("evergrant_client.evergrant.LONGEST_PAUSE", 600.0)
    listening = "select from pg_stat_activity where application_name = 'evergrant-client' and query ilike 'listen%'"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(evergrant.access_token, "customer", timeout=60)
        eventually(lambda: harness.all(listening))
        harness.until_due(grant)
        harness.ask(client, token_set("2"))
        assert waiting.result(20).value == "at-2"


def backend(evergrant: Evergrant) -> int:
    """The server's process behind the connection that is used next."""
    source = evergrant._source
    assert isinstance(source, Database)
    return source._connections.run(lambda connection: connection.info.backend_pid)


def test_a_child_of_a_fork_reads_on_connections_of_its_own_and_leaves_the_parents_alone(
    harness: Harness, client: int, evergrant: Evergrant
) -> None:
    harness.grant(client)
    harness.grant(client, "second")
    evergrant.access_token("customer")
    ours = backend(evergrant)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # Neither pytest nor its fixtures may go on in here.
        try:
            values = [evergrant.access_token(ref).value for ref in ("customer", "second")]
            os.write(writing, " ".join([*values, str(backend(evergrant))]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(reading) as said:
        *values, theirs = said.read().split()
    assert values == ["at-customer-1", "at-second-1"]
    assert int(theirs) != backend(evergrant) == ours
    assert evergrant.access_token("second").value == "at-second-1"
