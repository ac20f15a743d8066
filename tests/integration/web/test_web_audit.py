"""The audit of web: a line before each answer, and no answer without its line."""

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.database import transaction
from models.sealing.vault import Vault
from settings import SettingsError, current
from tests.harness import Harness
from tests.integration.web.asking import Web
from tests.integration.web.conftest import bound, served
from tests.polling import eventually
from worker.audit.trail import hashed

Key = Callable[..., str]


@contextmanager
def audited(tmp_path: Path, key: str, place: str, **more: Any) -> Iterator[Web]:
    """The listeners, with an audit."""
    with served(bound(tmp_path, audit_file=place, **more)) as addresses:
        yield Web(addresses, key)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def revocations() -> int:
    with transaction() as connection:
        return int(connection.execute(text("select count(*) from evergrant.revocations")).scalar_one())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_a_token_that_was_handed_out_is_told_with_who_had_it_and_never_shown(
    harness: Harness, tmp_path: Path, file: Path, key: Key
) -> None:
    harness.grant(harness.client(), "customer-42")
    with audited(tmp_path, key(), str(file)) as web:
        assert web.get("customer-42").status == 200
    (told,) = lines(file)
    access = hashed(Vault.from_settings(current()), "at-customer-42-1", purpose="access")
    assert told.pop("at").endswith("Z")
    assert len(told.pop("request")) == 16
    assert told == {
        "environment": current().environment,
        "by": "http",
        "what": "GET /v1/grants/{ref}/token",
        "who": "billing",
        "peer": "127.0.0.1",
        "client": "demo",
        "ref": "customer-42",
        "generation": 1,
        "access_token": access,
        "outcome": "ok",
    }
    assert "at-customer-42-1" not in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_refusal_is_told_with_its_code_and_what_only_hurries_a_refresh_is_not(
    harness: Harness, tmp_path: Path, file: Path, key: Key
) -> None:
    harness.grant(harness.client(), "customer")
    with audited(tmp_path, key(), str(file)) as web:
        assert web.get("nobody").error == (404, "unknown_ref")
        assert web.post("customer", "refresh").status == 202
        assert web.post("customer", "revocation", "no object").status == 400
    assert [(each["ref"], each["outcome"]) for each in lines(file)] == [
        ("<string 6>", "unknown_ref"),
        ("<string 8>", "bad_parameter"),
    ]


def test_who_was_not_let_in_fills_no_disk(harness: Harness, tmp_path: Path, file: Path, key: Key) -> None:
    harness.grant(harness.client(), "customer")
    with audited(tmp_path, key(), str(file), token_requests_per_second=0.1) as web:
        assert web.with_key("egk_wrong").get("customer").status == 401
        assert [web.get("customer").status for _ in range(3)] == [200, 429, 429]
    assert [each["outcome"] for each in lines(file)] == ["ok"]


def test_a_revocation_is_told_before_it_is_asked_for_and_after(
    harness: Harness, tmp_path: Path, file: Path, key: Key
) -> None:
    harness.grant(harness.client(), "customer")
    with audited(tmp_path, key(), str(file)) as web:
        answer = web.post("customer", "revocation", {"erase": True, "reason": "a secret reason"})
    before, after = lines(file)
    assert (before["outcome"], after["outcome"]) == ("begun", "ok")
    assert before["request"] == after["request"]
    assert (before["ref"], before["client"], before["erase"]) == ("customer", "demo", True)
    assert after["revocation"] == answer.json["id"]
    assert "secret reason" not in file.read_text(encoding="utf-8")


def test_what_a_key_may_not_is_told_with_who_tried(harness: Harness, tmp_path: Path, file: Path, key: Key) -> None:
    harness.grant(harness.client(), "customer")
    with audited(tmp_path, key("reader", may=("read",)), str(file)) as web:
        assert web.post("customer", "revocation").status == 403
    assert [(each["who"], each["ref"], each["outcome"]) for each in lines(file)] == [
        ("reader", "<string 8>", "not_allowed")
    ]


def test_where_the_disk_is_full_nothing_is_handed_out_and_nothing_changed(
    harness: Harness, tmp_path: Path, key: Key
) -> None:
    harness.grant(harness.client(), "customer")
    with audited(tmp_path, key(), "/dev/full") as web:
        answer = web.get("customer")
        assert answer.error == (503, "audit_unwritable")
        assert int(answer.headers["retry-after"]) > 0
        assert b"at-customer" not in answer.body
        assert web.post("customer", "revocation").error == (503, "audit_unwritable")
        assert revocations() == 0
        assert web.post("customer", "refresh").status == 202
        assert web.ops("/healthz").status == 200


def test_a_folder_that_is_gone_stops_the_answers_until_it_is_there_again(
    harness: Harness, tmp_path: Path, key: Key
) -> None:
    harness.grant(harness.client(), "customer")
    folder = tmp_path / "var"
    folder.mkdir()
    with audited(tmp_path, key(), str(folder / "audit.jsonl")) as web:
        assert web.get("customer").status == 200
        folder.rename(tmp_path / "away")
        assert web.get("customer").error == (503, "audit_unwritable")
        folder.mkdir()
        assert web.get("customer").status == 200
    assert len(lines(folder / "audit.jsonl")) == 1


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_collector_takes_the_lines_and_where_it_is_gone_nothing_is_handed_out(
    harness: Harness, tmp_path: Path, key: Key, kind: socket.SocketKind
) -> None:
    harness.grant(harness.client(), "customer")
    path = tmp_path / "collector.sock"
    with audited(tmp_path, key(), f"unix:{path}") as web:
        assert web.get("customer").error == (503, "audit_unwritable")
        with collector(path, kind) as taken:
            assert web.get("customer").status == 200
            assert json.loads(taken())["ref"] == "customer"
        path.unlink()
        assert web.get("customer").error == (503, "audit_unwritable")
        with collector(path, kind) as taken:
            assert web.get("customer").status == 200
            assert json.loads(taken())["outcome"] == "ok"


@contextmanager
def collector(path: Path, kind: socket.SocketKind) -> Iterator[Callable[[], bytes]]:
    """Listens at a socket; called, it gives what came first."""
    accepted: list[socket.socket] = []

    def taken() -> bytes:
        if kind == socket.SOCK_STREAM and not accepted:
            accepted.append(door.accept()[0])
        return (accepted[0] if accepted else door).recv(4096)

    with socket.socket(socket.AF_UNIX, kind) as door:
        door.settimeout(10)
        door.bind(str(path))
        if kind == socket.SOCK_STREAM:
            door.listen()
        yield taken
        for each in accepted:
            each.close()


def test_who_asks_over_a_unix_socket_is_known_by_the_kernel(
    harness: Harness, tmp_path: Path, file: Path, key: Key
) -> None:
    harness.grant(harness.client(), "customer")
    with audited(tmp_path, key(), str(file), token_bind=str(tmp_path / "tokens.sock")) as web:
        assert web.get("customer").status == 200
    assert lines(file)[0]["peer"] == f"uid {os.getuid()} pid {os.getpid()}"


def test_web_does_not_start_with_a_file_that_others_may_write_or_that_cannot_be_made(
    harness: Harness, tmp_path: Path, file: Path
) -> None:
    file.touch()
    file.chmod(0o666)
    with (
        pytest.raises(SettingsError, match=r"EVERGRANT_AUDIT_FILE: .* is open to other users; run chmod o-w"),
        served(bound(tmp_path, audit_file=str(file))),
    ):
        pass
    with (
        pytest.raises(SettingsError, match=r"EVERGRANT_AUDIT_FILE: .* cannot be used: No such file or directory"),
        served(bound(tmp_path, audit_file=str(tmp_path / "no" / "where"))),
    ):
        pass


def test_who_leaves_before_the_answer_is_told_to_be_gone(
    harness: Harness, tmp_path: Path, file: Path, key: Key
) -> None:
    harness.grant(harness.client(), "customer", access_left=timedelta(seconds=1))
    with audited(tmp_path, key(), str(file)) as web:
        host, port = web.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as door:
            target = "/v1/grants/customer/token?wait=60"
            door.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {web.key}\r\n\r\n".encode())
            eventually(lambda: "evergrant_web_waiting 1.0" in web.ops("/metrics").body.decode())
        eventually(lambda: file.stat().st_size > 0)
    assert [(each["ref"], each["outcome"]) for each in lines(file)] == [("customer", "gone")]
