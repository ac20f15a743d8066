"""The operators' listener, and where web may listen at all."""

import base64
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

import settings
from models import database, process, public_listener, roles, webhook
from models.database import transaction
from models.states.process import ProcessKind
from settings import SettingsError
from tasks.runtime import presence
from tests.certificates import written
from tests.customers import a_visit
from tests.harness import Harness
from tests.integration.web.asking import Web, ask
from tests.integration.web.conftest import bound, served
from tests.metrics_page import on_the_page, scraped
from tests.polling import eventually
from worker.web.listening import ops_listener, token_listener


@pytest.fixture
def alive(harness: Harness) -> Iterator[None]:
    """A beat and a worker that said just now that they live."""
    harness.run("delete from evergrant.processes")
    ids = [harness.one("select gen_random_uuid() as id")["id"] for _ in range(2)]
    with transaction() as connection:
        for kind, identity in zip((ProcessKind.BEAT, ProcessKind.WORKER), ids, strict=True):
            process.see(connection, presence.of_process(identity, kind, environment=None))
    yield
    harness.run("delete from evergrant.processes")


def test_ready_means_that_it_may_send(harness: Harness, alive: None, web: Web) -> None:
    assert web.ops("/healthz").json == {"alive": True}
    assert web.ops("/readyz").json == {"ready": True, "reasons": []}
    harness.run("delete from evergrant.processes where kind = 'worker'")
    harness.run("update evergrant.installation set database_name = 'another'")
    answer = web.ops("/readyz")
    assert (answer.status, answer.json["reasons"]) == (503, ["database_copied", "no_worker"])
    assert web.ops("/healthz").status == 200


def test_metrics_tell_what_the_database_knows_and_all_of_them_are_on_the_page(
    harness: Harness, alive: None, web: Web
) -> None:
    client = harness.client()
    harness.grant(client, "a")
    harness.grant(client, "b", status="needs_consent")
    harness.run("update evergrant.valves set paused_by_operator = true")
    harness.run(
        """insert into evergrant.dead_letters (kind, client_id, grant_id, ref, generation, cause, attempts,
            first_failed_at, dead_at)
        select 'refresh', client_id, id, ref, 1, 'revoked_or_expired', 2, now(), now()
        from evergrant.grants where ref = 'b'"""
    )
    with transaction() as connection:
        webhook.add(connection, "https://a.example/", types=None, client_ids=None, allow_private=False, who="tests")
    a_visit(harness.run, client, "c", back=40, held_by="exchange_not_sent")
    a_visit(harness.run, client, "d", back=20)
    a_visit(harness.run, client, "e", back=12, ended=2, outcome="failed", reason="keys")
    a_visit(harness.run, client, "f", back=12, ended=2, outcome="denied")
    with transaction() as connection:
        public_listener.begin(connection, "https://connect.test")
    web.get("a")
    eventually(lambda: b'processes_alive{kind="web"} 1.0' in web.ops("/metrics").body, timeout=20)
    told = web.ops("/metrics").body.decode()
    assert 'evergrant_grants{client="demo",status="needs_consent"} 1.0' in told
    assert 'evergrant_due{client="demo"} 1.0' in told
    assert 'evergrant_access_tokens_ending{client="demo",within="40m"} 1.0' in told
    assert 'evergrant_valve_shut{client="demo"} 1.0' in told
    assert 'evergrant_dead_letters_open{cause="revoked_or_expired"} 1.0' in told
    assert 'evergrant_web_requests_total{route="/v1/grants/{ref}/token",status="200"} 1.0' in told
    assert 'evergrant_database_state{state="fit"} 1.0' in told
    assert 'evergrant_database_state{state="copied"} 0.0' in told
    assert 'evergrant_webhook_open{webhook="1"} 1.0' in told
    assert 'evergrant_visits_waiting{client="demo"} 2.0' in told
    assert 40 <= value(told, 'evergrant_visits_lag_seconds{client="demo"}') < 100
    assert 'evergrant_visits_ended{client="demo",outcome="failed",reason="keys"} 1.0' in told
    assert 'evergrant_visits_ended{client="demo",outcome="denied",reason=""} 1.0' in told
    assert 9 < value(told, 'evergrant_visit_seconds{client="demo",quantile="0.95"}') < 11
    assert "evergrant_public_listener_served 1.0" in told
    assert scraped(told) == on_the_page("the fleet, from web")


def value(told: str, series: str) -> float:
    (found,) = (line for line in told.splitlines() if line.startswith(series))
    return float(found.rpartition(" ")[2])


def test_a_listener_that_nobody_serves_is_told_of_and_one_that_never_was_is_not(harness: Harness, web: Web) -> None:
    assert "\nevergrant_public_listener_served " not in web.ops("/metrics").body.decode()
    harness.run(
        """update evergrant.installation set public_url = 'https://connect.test',
            public_url_seen_at = clock_timestamp() - interval '3 minutes'"""
    )
    eventually(lambda: b"evergrant_public_listener_served 0.0" in web.ops("/metrics").body, timeout=30)


def test_metrics_tell_of_a_database_in_which_nothing_may_be_sent(harness: Harness, web: Web) -> None:
    harness.run("update evergrant.installation set database_name = 'another'")
    told = web.ops("/metrics").body.decode()
    assert 'evergrant_database_state{state="copied"} 1.0' in told
    assert 'evergrant_database_state{state="fit"} 0.0' in told


def test_without_a_place_for_tokens_there_is_the_operators_listener_alone(harness: Harness, tmp_path: Path) -> None:
    with served(bound(tmp_path, token_bind=None)) as addresses:
        assert addresses.token is None
        assert ask(addresses.ops, "GET", "/healthz").status == 200
        assert ask(addresses.ops, "GET", "/metrics").status == 200


def test_the_two_listeners_have_nothing_in_common(harness: Harness, web: Web) -> None:
    assert urlsplit(web.addresses.ops).port != urlsplit(web.url).port
    assert web.ops("/v1/grants/customer/token").status == 404
    assert web.ask("GET", "/metrics").error == (404, "unknown_path")
    assert web.ask("GET", "/healthz").error == (404, "unknown_path")


def test_with_a_password_only_healthz_is_open(harness: Harness, tmp_path: Path, key: Callable[..., str]) -> None:
    file = tmp_path / "ops"
    file.touch(mode=0o600)
    file.write_text("correct horse\n", encoding="utf-8")
    with served(bound(tmp_path, ops_password_file=file)) as addresses:
        web = Web(addresses, key())
        assert web.ops("/healthz").status == 200
        wrong = [
            {},
            {"Authorization": "Basic !"},
            {"Authorization": "Basic pässwort"},
            basic("wrong"),
            basic("wröng"),
            {"Authorization": "Bearer correct horse"},
        ]
        for headers in wrong:
            answer = web.ops("/metrics", **headers)
            assert answer.error == (401, "password")
            assert answer.headers["www-authenticate"].startswith("Basic")
        assert web.ops("/metrics", **basic("correct horse")).status == 200


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()}


@pytest.mark.parametrize("bind", ["0.0.0.0:9465", "10.0.0.1:9465", "[::]:9465", "web.internal:9465"])
def test_beyond_loopback_nothing_is_served_in_clear_or_without_a_password(bind: str) -> None:
    with pytest.raises(SettingsError, match="EVERGRANT_TOKEN_TLS_CERTIFICATE"):
        token_listener(settings.Settings(token_bind=bind))
    with pytest.raises(SettingsError, match="EVERGRANT_OPS_PASSWORD_FILE"):
        ops_listener(settings.Settings(ops_bind=bind))


@pytest.mark.parametrize("bind", ["127.0.0.1:9465", "127.1.2.3:1", "[::1]:9465", "localhost:9465", "/run/x.sock"])
def test_on_this_machine_neither_is_needed(bind: str) -> None:
    assert token_listener(settings.Settings(token_bind=bind)) is not None
    assert ops_listener(settings.Settings(ops_bind=bind)) is not None
    assert token_listener(settings.Settings()) is None


def test_a_certificate_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    for certificate in (None, tmp_path / "no"):
        wanted = settings.Settings(token_bind="127.0.0.1:0", token_tls_key=tmp_path, token_tls_certificate=certificate)
        with pytest.raises(SettingsError, match="EVERGRANT_TOKEN_TLS_CERTIFICATE and EVERGRANT_TOKEN_TLS_KEY"):
            token_listener(wanted)
    key = tmp_path / "key.pem"
    key.touch(mode=0o644)
    with pytest.raises(SettingsError, match=r"EVERGRANT_TOKEN_TLS_KEY: .* is open to other users"):
        token_listener(settings.Settings(token_bind="127.0.0.1:0", token_tls_key=key, token_tls_certificate=key))
    empty = tmp_path / "empty"
    empty.touch(mode=0o600)
    for file in (empty, tmp_path / "no"):
        with pytest.raises(SettingsError, match="EVERGRANT_OPS_PASSWORD_FILE"):
            ops_listener(settings.Settings(ops_password_file=file))


def test_tokens_travel_over_tls_where_a_certificate_is_set(
    harness: Harness, tmp_path: Path, key: Callable[..., str]
) -> None:
    certificate, private = written(tmp_path)
    harness.grant(harness.client())
    with served(bound(tmp_path, token_tls_certificate=certificate, token_tls_key=private)) as addresses:
        assert addresses.token is not None
        place = urlsplit(addresses.token)
        assert place.scheme == "https"
        trusting = ssl.create_default_context(cafile=str(certificate))
        with (
            socket.create_connection(("127.0.0.1", place.port or 0)) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as door,
        ):
            head = f"GET /v1/grants/customer/token HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key()}\r\n\r\n"
            door.sendall(head.encode())
            assert door.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_unix_socket_is_shut_to_others_and_taken_over_from_the_dead_alone(
    harness: Harness, tmp_path: Path, key: Callable[..., str]
) -> None:
    path = tmp_path / "t.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    harness.grant(harness.client())
    with served(bound(tmp_path, token_bind=str(path))):
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(str(path))
            head = f"GET /v1/grants/customer/token HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key()}\r\n\r\n"
            door.sendall(head.encode())
            assert door.recv(65536).startswith(b"HTTP/1.1 200")
        with pytest.raises(SettingsError, match=r"EVERGRANT_TOKEN_BIND: another process listens on .* already"):
            serve_briefly(bound(tmp_path, token_bind=str(path)))


def test_a_port_that_is_taken_is_one_sentence(harness: Harness, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        for variable, more in (("EVERGRANT_TOKEN_BIND", "token_bind"), ("EVERGRANT_OPS_BIND", "ops_bind")):
            with pytest.raises(SettingsError, match=f"{variable}: another process listens on .* already"):
                serve_briefly(bound(tmp_path, **{more: bind}))


def serve_briefly(wanted: settings.Settings) -> None:
    with served(wanted):
        pytest.fail("it listens")


def test_the_role_of_the_web_process_is_enough_for_all_that_it_does(
    harness: Harness, alive: None, tmp_path: Path, key: Callable[..., str]
) -> None:
    made = key()
    harness.grant(harness.client())
    name, password = f"web_{secrets.token_hex(6)}", secrets.token_hex(8)
    with transaction() as connection:
        roles.apply(connection)
        connection.exec_driver_sql(f"create role {name} login password '{password}' in role evergrant_web")
    theirs = database.engine().url.set(drivername="postgresql", username=name, password=password)
    owner = settings.current()
    database.dispose()
    url = SecretStr(theirs.render_as_string(hide_password=False))
    settings.adopt(owner.model_copy(update={"database_url": url}))
    try:
        with served(bound(tmp_path)) as addresses:
            web = Web(addresses, made)
            assert web.get("customer").status == 200
            assert web.ops("/readyz").status == 200
            eventually(lambda: b'processes_alive{kind="web"} 1.0' in web.ops("/metrics").body, timeout=20)
            assert web.post("customer", "refresh").status == 202
            assert web.post("customer", "revocation").status == 202
            assert web.get("customer").error == (410, "revoked")
            paths = ("/", "/clients/demo", "/grants?state=failing", "/grants/demo/customer", "/revocations?status=held")
            for path in (*paths, "/grants?label=a%3Db&cause=c&ref=d", "/dead-letters", "/processes", "/events"):
                assert web.ops(path).status == 200, path
    finally:
        database.dispose()
        settings.adopt(owner)
    asked = harness.one("select requested_by from evergrant.revocations")
    assert asked["requested_by"] == f"{name}/billing"
    harness.run(f"drop role {name}")
