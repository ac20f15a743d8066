"""The simulator over real HTTP: bodies, pages, faults on the wire, control, and as a process."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from simulator.control import ControlError, SimulatorControl, as_json_lines
from simulator.launch import simulator_process, simulator_thread

CREDENTIALS = {"client_id": "acme", "client_secret": "acme-secret"}
CALLBACK = "http://127.0.0.1:1/callback"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}

Eventually = Callable[..., Any]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def send(
    control: SimulatorControl,
    method: str,
    path: str,
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    connection = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def refresh(control: SimulatorControl, row: dict[str, Any], **more: Any) -> Reply:
    params = {**CREDENTIALS, "grant_type": "refresh_token", "refresh_token": row["refresh_token"], **more}
    return send(control, "POST", "/oauth/token", json.dumps(params), JSON)


@pytest.fixture
def simulator() -> Iterator[SimulatorControl]:
    with simulator_thread(profile="immediate", dialect="doorkeeper") as control:
        control.create_client("acme", "acme-secret", redirect_uri=CALLBACK, name="Acme <Events>")
        yield control


@pytest.fixture
def row(simulator: SimulatorControl) -> dict[str, Any]:
    return simulator.mint("acme")[0]


def test_json_and_form_bodies_both_refresh(simulator: SimulatorControl) -> None:
    first, second = simulator.mint("acme", 2)
    assert refresh(simulator, first).status == 200
    params = {**CREDENTIALS, "grant_type": "refresh_token", "refresh_token": second["refresh_token"]}
    answer = send(simulator, "POST", "/oauth/token", urlencode(params), FORM)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")


def test_basic_credentials_refresh(simulator: SimulatorControl, row: dict[str, Any]) -> None:
    basic = {"Authorization": "Basic " + b64encode(b"acme:acme-secret").decode()}
    params = {"grant_type": "refresh_token", "refresh_token": row["refresh_token"]}
    assert send(simulator, "POST", "/oauth/token", urlencode(params), FORM | basic).status == 200


def test_malformed_json_is_400_with_an_empty_body(simulator: SimulatorControl) -> None:
    answer = send(simulator, "POST", "/oauth/token", '{"grant_type": ', JSON)
    assert (answer.status, answer.body) == (400, b"")


@pytest.mark.parametrize("body", ["[]", "null", '"text"', '{"grant_type": {"a": 1}}', "[" * 100_000])
def test_json_of_another_shape_is_400(simulator: SimulatorControl, body: str) -> None:
    assert send(simulator, "POST", "/oauth/token", body, JSON).status == 400


def test_get_on_the_token_endpoint_is_404(simulator: SimulatorControl) -> None:
    assert send(simulator, "GET", "/oauth/token").status == 404


def test_an_oidc_server_refuses_json_and_consumes_nothing() -> None:
    with simulator_thread(profile="family", dialect="oidc") as control:
        control.create_client("acme", "acme-secret")
        row = control.mint("acme")[0]
        answer = refresh(control, row)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_request")
        assert control.grants(row["ref"])[0]["pairs"][0]["spent"] == 0


def test_the_api_opens_with_bearer_and_organization(simulator: SimulatorControl, row: dict[str, Any]) -> None:
    bearer = {"Authorization": f"Bearer {row['access_token']}"}
    assert send(simulator, "GET", "/v2/bookings", headers=bearer | {"X-API-ORG": "org-1"}).status == 200
    assert send(simulator, "GET", "/v2/bookings", headers=bearer).status == 400
    refresh(simulator, row)
    dead = send(simulator, "GET", "/v2/bookings", headers=bearer | {"X-API-ORG": "org-1"})
    assert (dead.status, dead.body) == (401, b"")
    assert 'error_description="The access token was revoked"' in dead.headers["WWW-Authenticate"]


@pytest.mark.parametrize("before", ["X-Shopify-Access-Token: ", "Authorization: Zoho-oauthtoken "])
def test_an_api_that_wants_its_token_in_another_header_takes_it_nowhere_else(
    simulator: SimulatorControl, row: dict[str, Any], before: str
) -> None:
    simulator.configure(habits={"api_header": before})
    name, _, scheme = before.partition(": ")
    wanted, bearer = {name: scheme + row["access_token"]}, {"Authorization": f"Bearer {row['access_token']}"}
    assert send(simulator, "GET", "/v2/organizations", headers=wanted).status == 200
    assert send(simulator, "GET", "/v2/organizations", headers=bearer).status == 401


def authorize(simulator: SimulatorControl, **more: str) -> Reply:
    query = {"client_id": "acme", "redirect_uri": CALLBACK, "response_type": "code", "state": "s 1", **more}
    return send(simulator, "GET", f"/oauth/authorize?{urlencode(query)}")


def test_the_authorize_page_asks_and_its_form_brings_a_code_back(simulator: SimulatorControl) -> None:
    page = authorize(simulator, scope="crm_read")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"Authorize Acme &lt;Events&gt; to use your account?" in page.body
    form = {
        "client_id": "acme",
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "crm_read",
        "state": "s 1",
        "user": "bob",
        "decision": "allow",
    }
    sent = send(simulator, "POST", "/oauth/authorize", urlencode(form), FORM)
    assert sent.status == 302
    back = parse_qs(urlsplit(sent.headers["Location"]).query)
    assert back["state"] == ["s 1"]
    params = {**CREDENTIALS, "grant_type": "authorization_code", "code": back["code"][0], "redirect_uri": CALLBACK}
    tokens = send(simulator, "POST", "/oauth/token", json.dumps(params), JSON).json()
    assert tokens["scope"] == "crm_read"
    assert simulator.judge({"bob": tokens["access_token"]})["bob"]["same_ref"]


def test_the_page_can_decide_by_itself_for_tests(simulator: SimulatorControl) -> None:
    allowed = authorize(simulator, auto="allow", user="bob")
    assert (allowed.status, "code=" in allowed.headers["Location"]) == (302, True)
    simulator.decide_automatically("deny")
    assert "error=access_denied" in authorize(simulator).headers["Location"]


def test_a_comma_joined_scope_is_a_200_page_without_a_redirect(simulator: SimulatorControl) -> None:
    page = authorize(simulator, scope="crm_read,crm_manage", auto="allow")
    assert (page.status, "Location" in page.headers) == (200, False)
    assert b"The requested scope is invalid, unknown, or malformed." in page.body


@pytest.mark.parametrize("act", ["drop", "reset", "hang"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_never_comes(simulator: SimulatorControl, row: dict[str, Any], act: str, when: str) -> None:
    simulator.add_fault(act, when=when, count=1, hang_seconds=0.2)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        refresh(simulator, row)
    (request,) = simulator.requests(endpoint="token")
    assert request["outcome"] == ("refreshed" if when == "after" else "not_processed")
    assert simulator.summary()["grants"]["lost"] == (1 if when == "after" else 0)


def test_a_reset_is_a_real_one(simulator: SimulatorControl) -> None:
    simulator.add_fault("reset", where="api")
    with socket.create_connection(_address(simulator), timeout=20) as client:
        client.sendall(b"GET /v2/bookings HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_an_answer_cut_in_its_body(simulator: SimulatorControl, row: dict[str, Any]) -> None:
    simulator.add_fault("truncate", at=25)
    with pytest.raises(http.client.IncompleteRead) as caught:
        refresh(simulator, row)
    assert len(caught.value.partial) == 25


def test_an_answer_cut_in_its_head(simulator: SimulatorControl, row: dict[str, Any]) -> None:
    simulator.add_fault("truncate", at=11, part="answer")
    with pytest.raises(http.client.HTTPException):
        refresh(simulator, row)


def test_a_dripping_answer_arrives_byte_by_byte_and_is_no_loss(
    simulator: SimulatorControl, row: dict[str, Any]
) -> None:
    simulator.add_fault("drip", interval_seconds=0.001)
    assert refresh(simulator, row).status == 200
    assert simulator.summary()["grants"]["lost"] == 0


def test_a_client_that_goes_away_while_the_answer_is_delayed_is_entered_as_a_loss(
    simulator: SimulatorControl, row: dict[str, Any], eventually: Eventually
) -> None:
    simulator.add_fault("delay", when="after", delay_seconds=0.5)
    body = json.dumps({**CREDENTIALS, "grant_type": "refresh_token", "refresh_token": row["refresh_token"]})
    head = f"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(_address(simulator)) as client:
        client.sendall(f"{head}\r\n{body}".encode())
        eventually(lambda: simulator.requests(endpoint="token"))
    eventually(lambda: simulator.summary()["grants"]["lost"] == 1)
    (lost,) = simulator.lost()
    assert lost["request"] == 1
    assert "the client was gone" in lost["why"]


def test_a_loss_is_attributed_to_the_request_whose_answer_was_faulted(
    simulator: SimulatorControl, row: dict[str, Any]
) -> None:
    simulator.add_fault("status", when="after", status=504, count=1)
    assert refresh(simulator, row).status == 504
    assert refresh(simulator, row).json()["error"] == "invalid_grant"
    (lost,) = simulator.summary()["lost"]
    assert (lost["ref"], lost["request"]) == (row["ref"], 1)
    assert lost["why"] == "request 1: fault 1 (status, after processing)"


def test_html_huge_patched_and_redirected_answers(simulator: SimulatorControl) -> None:
    rows = simulator.mint("acme", 4)
    simulator.add_fault("html", when="after", status=200, count=1)
    simulator.add_fault("huge", when="after", size=200_000, count=1)
    simulator.add_fault("patch", patch={"expires_in": "soon"}, remove=["refresh_token"], count=1)
    simulator.add_fault("redirect", count=1)
    html, huge, patched, redirected = (refresh(simulator, row) for row in rows)
    assert html.headers["Content-Type"].startswith("text/html")
    assert len(huge.body) > 199_000
    assert (patched.json()["expires_in"], "refresh_token" in patched.json()) == ("soon", False)
    assert (redirected.status, redirected.headers["Location"]) == (307, "/elsewhere")


def test_whoever_follows_a_redirect_is_found_out(simulator: SimulatorControl) -> None:
    send(simulator, "POST", "/elsewhere", "{}", JSON)
    (request,) = simulator.requests(endpoint="elsewhere")
    assert (request["path"], request["status"]) == ("POST /elsewhere", 404)


def test_a_fault_for_one_ref_spares_the_others(simulator: SimulatorControl) -> None:
    spared, struck = simulator.mint("acme", refs=["spared", "struck"])
    simulator.add_fault("status", status=503, ref="struck", headers={"Retry-After": "2"})
    assert refresh(simulator, spared).status == 200
    answer = refresh(simulator, struck)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    simulator.clear_faults()
    assert refresh(simulator, struck).status == 200


def test_a_fault_at_the_authorize_page(simulator: SimulatorControl) -> None:
    simulator.add_fault("html", where="authorize", status=502, count=1)
    assert authorize(simulator).status == 502
    assert authorize(simulator).status == 200


def test_minted_rows_are_json_lines_for_the_import(simulator: SimulatorControl) -> None:
    rows = simulator.mint("acme", 3, ref_prefix="hotel-", lifetime=20, scope="crm_read")
    assert [row["ref"] for row in rows] == ["hotel-1", "hotel-2", "hotel-3"]
    assert set(rows[0]) == {"ref", "refresh_token", "access_token", "scope", "expires_in", "created_at"}
    assert (rows[0]["expires_in"], rows[0]["scope"]) == (20, "crm_read")
    assert [json.loads(line) for line in as_json_lines(rows).splitlines()] == rows


def test_settings_change_while_it_runs(simulator: SimulatorControl, row: dict[str, Any]) -> None:
    facts = simulator.configure(profile="grace:20", lifetime=5, rate=1, habits={"mended_revocation": True})
    assert (facts["lifetime"], facts["rate"]) == (5, 1)
    assert (facts["habits"]["profile"], facts["habits"]["mended_revocation"]) == ("grace", True)
    assert refresh(simulator, row).status == 200
    assert refresh(simulator, row).status == 429
    assert simulator.configure(rate=None)["rate"] is None
    assert refresh(simulator, row).status == 200


def test_a_user_ends_a_grant_and_a_secret_is_rotated(simulator: SimulatorControl) -> None:
    first, second = simulator.mint("acme", 2)
    assert simulator.revoke_as_user(first["ref"]) == 1
    assert refresh(simulator, first).json()["error"] == "invalid_grant"
    simulator.set_secret("acme", "second-secret")
    assert refresh(simulator, second).status == 401
    assert refresh(simulator, second, client_secret="second-secret").status == 200
    assert simulator.dead_refs({row["ref"]: row["access_token"] for row in (first, second)}) == [
        first["ref"],
        second["ref"],  # replaced by the refresh just now
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.mint("nobody"),
        lambda c: c.set_secret("nobody", "x"),
        lambda c: c.configure(profile="sometimes"),
        lambda c: c.configure(habits={"colour": "red"}),
        lambda c: c.add_fault("explode"),
        lambda c: c.add_fault("drip", when="before"),
        lambda c: c.create_client("", "x"),
        lambda c: c.add_fault("status", status=99),
    ],
)
def test_a_wrong_control_call_is_refused_in_one_sentence(
    simulator: SimulatorControl, call: Callable[[SimulatorControl], Any]
) -> None:
    with pytest.raises(ControlError, match=r"40[04]"):
        call(simulator)


def test_requests_come_in_pages(simulator: SimulatorControl) -> None:
    for row in simulator.mint("acme", 5):
        refresh(simulator, row)
    first = simulator.requests(limit=2)
    rest = simulator.requests(after=first[-1]["number"])
    assert [each["number"] for each in first + rest] == [1, 2, 3, 4, 5]
    assert len(simulator.requests(ref="customer-3")) == 1


def test_under_many_clients_at_once_every_refresh_token_is_spent_once() -> None:
    with simulator_thread(profile="immediate") as control:
        control.create_client("acme", "acme-secret")
        row = control.mint("acme")[0]
        barrier = threading.Barrier(8)

        def race(_: int) -> int:
            barrier.wait(10)
            return refresh(control, row).status

        with ThreadPoolExecutor(8) as pool:
            statuses = sorted(pool.map(race, range(8)))
        assert statuses == [200] + [400] * 7
        assert control.summary()["reuse"] == {"tokens_used_twice": 1, "accepted": 0, "refused": 7}


def test_it_runs_as_a_process_with_faults_from_its_command_line() -> None:
    options = {"profile": "family", "rate": "5/minute", "seed": 3, "faults": ["status,where=revoke,status=503"]}
    with simulator_process(lifetime=timedelta(seconds=9), **options) as control:
        facts = control.configure()
        assert (facts["lifetime"], facts["rate"], facts["habits"]["profile"]) == (9, 5, "family")
        assert send(control, "POST", "/oauth/revoke", "{}", JSON).status == 503
        with simulator_process(seed=3) as twin:
            for each in (control, twin):
                each.create_client("acme", "acme-secret")
            ours, theirs = control.mint("acme")[0], twin.mint("acme")[0]
            assert ours["refresh_token"] == theirs["refresh_token"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_even_while_a_request_hangs(number: int, eventually: Eventually) -> None:
    command = [sys.executable, "-m", "simulator", "--port", "0", "--fault", "hang"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        control = SimulatorControl(next(word for word in line.split() if word.startswith("http")))
        with socket.create_connection(_address(control)) as client:
            client.sendall(b"GET /v2/bookings HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda: control.requests(endpoint="api"))
            os.kill(process.pid, number)
            _, said = process.communicate(timeout=20)
        assert (process.returncode, said) == (0, "")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("option", "told"),
    [("--profile=sometimes", "no rotation profile"), ("--rate=often", "requests per minute"), ("--fault=x", "fault")],
)
def test_a_wrong_option_is_one_sentence(option: str, told: str) -> None:
    command = [sys.executable, "-m", "simulator", "--port=0", option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_sentence(simulator: SimulatorControl) -> None:
    with (
        pytest.raises(RuntimeError, match="address already in use") as caught,
        simulator_process(port=_port(simulator)),
    ):
        pass
    assert "Traceback" not in str(caught.value)


def _address(control: SimulatorControl) -> tuple[str, int]:
    return "127.0.0.1", _port(control)


def _port(control: SimulatorControl) -> int:
    return urlsplit(control.url).port or 0
