"""`evergrant apps`: keys for the token interface."""

import socket
from pathlib import Path
from typing import Any

import pytest

import settings
from models.application import hashed
from tests.integration.cli.evergrant import Evergrant, use_actor


def test_a_key_is_written_once_to_a_private_file_and_kept_as_a_hash(
    temple: Evergrant, sql: Any, tmp_path: Path
) -> None:
    use_actor("alice")
    file = tmp_path / "billing.key"
    done = temple("apps", "add", "billing", "--key-file", str(file), "--json")
    assert {"name": "billing", "client": None, "key_file": str(file)}.items() <= done.json.items()
    assert file.stat().st_mode & 0o777 == 0o600
    key = file.read_text(encoding="utf-8").strip()
    assert len(key) > 40
    assert key not in done.out + done.err
    assert sql("select key_hash, created_by from evergrant.applications") == [(hashed(key), "alice")]
    assert not any(key in str(row) for row in sql("select * from evergrant.events"))


def test_applications_are_listed_with_their_clients_and_removed_by_name(
    temple: Evergrant, sql: Any, tmp_path: Path
) -> None:
    use_actor("alice")
    assert temple("apps", "list").err.startswith("No application")
    for name, more in (("wide", []), ("narrow", ["--client", "temple"])):
        assert temple("apps", "add", name, "--key-file", str(tmp_path / name), *more).code == 0
    listed = temple("apps", "list", "--json").lines
    assert [(each["name"], each["client"], each["created_by"]) for each in listed] == [
        ("narrow", "temple", "alice"),
        ("wide", None, "alice"),
    ]
    assert "every client" in temple("apps", "list").out
    assert temple("apps", "remove", "wide").code == 0
    assert [each["name"] for each in temple("apps", "list", "--json").lines] == ["narrow"]
    told = "select type, data ->> 'name', actor from evergrant.events where type like 'application.%' order by id"
    assert sql(told)[-1] == ("application.removed", "wide", "alice")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add", "billing", "--key-file", "{free}"], (1, "application_exists")),
        (["add", "other", "--key-file", "{free}", "--client", "nobody"], (4, "unknown_client")),
        (["add", "other", "--key-file", "{taken}"], (2, "file_exists")),
        (["add", "bad name", "--key-file", "{free}"], (2, "application_name")),
        (["add", "other", "--key-file", "/nowhere/at/all"], (1, "file")),
        (["remove", "other"], (4, "unknown_application")),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(
    temple: Evergrant, sql: Any, tmp_path: Path, words: list[str], told: tuple[int, str]
) -> None:
    taken, free = tmp_path / "taken", tmp_path / "free"
    assert temple("apps", "add", "billing", "--key-file", str(taken)).code == 0
    before = taken.read_bytes()
    done = temple("apps", *[word.format(taken=taken, free=free) for word in words], "--json")
    assert (done.code, done.error) == told
    assert not free.exists()
    assert taken.read_bytes() == before
    assert len(sql("select 1 from evergrant.applications")) == 1


@pytest.mark.parametrize("command", ["web", "up"])
def test_tokens_are_not_served_in_clear_beyond_loopback(temple: Evergrant, command: str) -> None:
    settings.adopt(settings.current().model_copy(update={"token_bind": "0.0.0.0:9465"}))
    done = temple(command)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "EVERGRANT_TOKEN_TLS_CERTIFICATE" in done.err


def test_web_without_the_access_keys_says_so(temple: Evergrant) -> None:
    settings.adopt(settings.current().model_copy(update={"access_token_keys": None}))
    assert "access key ring" in temple("web").err


def test_a_web_that_lives_is_shown_and_found_by_a_check(temple: Evergrant, sql: Any) -> None:
    assert temple("web", "--check").code == 1
    alive = "insert into evergrant.processes (id, kind, host, pid) values (gen_random_uuid(), 'web', :host, 7)"
    sql(alive, host=socket.gethostname())
    assert temple("web", "--check", "--json").json == {"healthy": True, "pids": [7]}
    assert [each["kind"] for each in temple("status", "--json").json["processes"]] == ["web"]


def test_a_label_has_several_values_where_it_is_given_several_times(temple: Evergrant) -> None:
    temple.take_in("a", "b")
    assert temple("grants", "set", "a", "--label", "org=8f2", "--label", "org=9a1", "--label", "team=x").code == 0
    assert temple("grants", "show", "a", "--json").json["labels"] == {"org": ["8f2", "9a1"], "team": ["x"]}
    for label in ("org=9a1", "org=8f2", "team=x"):
        assert [each["ref"] for each in temple("grants", "list", "--label", label, "--json").lines] == ["a"]
    both = ("--label", "org=8f2", "--label", "org=9a1")
    assert [each["ref"] for each in temple("grants", "list", *both, "--json").lines] == ["a"]
    assert temple("grants", "set", "a", "--label", "org=").code == 0
    assert temple("grants", "show", "a", "--json").json["labels"] == {"team": ["x"]}
