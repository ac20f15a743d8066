"""`evergrant apps`: what keys may do, for which clients, how long, and how one takes over from another."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models.application_key import hashed
from tests.integration.cli.evergrant import Evergrant, use_actor

KEYS = """
    select k.key_hash, extract(epoch from k.expires_at - clock_timestamp())
    from evergrant.application_keys k join evergrant.applications a on a.id = k.application_id
    where a.name = :name order by k.id
"""


def keys(sql: Any, name: str) -> list[tuple[bytes, int | None]]:
    """Hash of each key and how many whole hours it lives yet, the oldest first."""
    return [(bytes(each), None if left is None else round(float(left) / 3600)) for each, left in sql(KEYS, name=name)]


def secret(path: Path) -> bytes:
    return hashed(path.read_text(encoding="utf-8").strip())


def test_a_key_gets_what_it_was_given_and_says_so(temple: Evergrant, sql: Any, tmp_path: Path) -> None:
    use_actor("alice")
    temple("clients", "add", "second", "--provider", "simulator", "--client-id", "x")
    limits = ("--client", "temple", "--client", "second", "--may", "refresh,read", "--expires", "90d")
    done = temple("apps", "add", "billing", *limits, "--key-file", str(tmp_path / "key"), "--json")
    told = done.json
    assert (told["client"], told["clients"], told["may"]) == (
        "temple,second",
        ["temple", "second"],
        ["read", "refresh"],
    )
    left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    (listed,) = temple("apps", "list", "--json").lines
    assert listed["clients"] == ["second", "temple"]
    assert listed["client"] == "second,temple"
    assert (listed["may"], listed["state"], listed["keys"]) == (["read", "refresh"], "opens", 1)
    assert (listed["expires_at"], listed["used_at"]) == (told["expires_at"], None)
    assert keys(sql, "billing") == [(secret(tmp_path / "key"), 90 * 24)]


def test_a_key_that_is_given_no_limits_may_all_as_before_and_that_is_told(temple: Evergrant, tmp_path: Path) -> None:
    said = temple("apps", "add", "billing", "--key-file", str(tmp_path / "key")).out
    assert "It may read, refresh, revoke, erase and connect, and it has no end." in said
    assert "--may" in said
    limited = temple("apps", "add", "limited", "--may", "read", "--key-file", str(tmp_path / "limited")).out
    assert "It may read, and it has no end." in limited
    assert "--may" not in limited


def test_a_key_that_the_release_before_made_is_listed_without_what_came_later(temple: Evergrant, sql: Any) -> None:
    sql("insert into evergrant.applications (name, key_hash, created_by) values ('old', 'x', 'tests')")
    assert temple("apps", "list", "--json").lines[0]["may"] == ["read", "refresh", "revoke", "erase"]


def test_another_key_takes_over_and_lives_as_long_as_the_one_before(
    temple: Evergrant, sql: Any, tmp_path: Path
) -> None:
    use_actor("bob")
    first, second, third = (tmp_path / name for name in ("1", "2", "3"))
    temple("apps", "add", "billing", "--expires", "90d", "--may", "read", "--key-file", str(first))
    sql(
        "update evergrant.application_keys set created_at = created_at - interval '80 d',"
        " expires_at = expires_at - interval '80 d'"
    )
    done = temple("apps", "rotate", "billing", "--key-file", str(second), "--json")
    assert done.json["overlap_seconds"] == 86400
    assert keys(sql, "billing") == [(secret(first), 24), (secret(second), 90 * 24)]
    assert temple("apps", "list", "--json").lines[0]["keys"] == 2
    said = temple("apps", "rotate", "billing", "--key-file", str(third), "--overlap", "0s", "--expires", "5d").out
    assert "The one before ends now." in said
    assert keys(sql, "billing") == [(secret(first), 0), (secret(second), 0), (secret(third), 5 * 24)]
    told = "select data ->> 'name', actor from evergrant.events where type = 'application.rotated'"
    assert sql(told) == [("billing", "bob")] * 2


def test_an_overlap_lengthens_nothing_and_what_ended_long_ago_is_forgotten(
    temple: Evergrant, sql: Any, tmp_path: Path
) -> None:
    first, second, third = (tmp_path / name for name in ("1", "2", "3"))
    temple("apps", "add", "billing", "--expires", "2h", "--key-file", str(first))
    temple("apps", "rotate", "billing", "--key-file", str(second), "--overlap", "24h")
    assert keys(sql, "billing")[0] == (secret(first), 2)
    sql(
        "update evergrant.application_keys set expires_at = expires_at - interval '31 d' where key_hash = :hash",
        hash=secret(first),
    )
    temple("apps", "rotate", "billing", "--key-file", str(third))
    assert [each for each, _ in keys(sql, "billing")] == [secret(second), secret(third)]


def test_a_key_that_ends_soon_or_has_ended_is_told(temple: Evergrant, sql: Any, tmp_path: Path) -> None:
    for name, life in (("later", "15d"), ("soon", "13d"), ("ended", "1h"), ("endless", None)):
        more = () if life is None else ("--expires", life)
        temple("apps", "add", name, *more, "--key-file", str(tmp_path / name))
    sql(
        "update evergrant.application_keys set expires_at = clock_timestamp() where expires_at < now() + interval '1 d'"
    )
    listed = {each["name"]: each["state"] for each in temple("apps", "list", "--json").lines}
    assert listed == {"later": "opens", "soon": "ends_soon", "ended": "ended", "endless": "opens"}
    status = temple("status", "--json").json
    assert {each["name"]: each["state"] for each in status["application_keys_ending"]} == {
        "soon": "ends_soon",
        "ended": "ended",
    }
    attention = [each for each in status["attention"] if "key of application" in each["what"]]
    assert [each["what"].split()[:6] for each in attention] == [
        ["the", "key", "of", "application", "ended", "ended"],
        ["the", "key", "of", "application", "soon", "ends"],
    ]
    assert all("evergrant apps rotate" in each["next"] for each in attention)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add", "x", "--may", "write"], "'write' is no right: write some of read,refresh,revoke,erase,connect"),
        (["add", "x", "--may", ","], "no right is named"),
        (["add", "x", "--may", "read,erase"], "write revoke,erase"),
        (["add", "x", "--expires", "0s"], "a key lives between 1s and 3650d"),
        (["add", "x", "--expires", "9999d"], "a key lives between 1s and 3650d"),
        (["add", "x", "--client", "temple", "--client", "nobody"], "nobody"),
        (["rotate", "nobody"], "no application 'nobody'"),
        (["rotate", "billing", "--overlap", "9999d"], "longer than 3650 days"),
        (["rotate", "billing", "--expires", "-1d"], "is not a length of time"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(
    temple: Evergrant, sql: Any, tmp_path: Path, words: list[str], told: str
) -> None:
    temple("apps", "add", "billing", "--key-file", str(tmp_path / "billing"))
    before = sql("select * from evergrant.application_keys")
    done = temple("apps", *words, "--key-file", str(tmp_path / "new"))
    assert done.code != 0
    assert told in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not (tmp_path / "new").exists()
    assert sql("select * from evergrant.application_keys") == before


def test_removing_an_application_takes_all_its_keys(temple: Evergrant, sql: Any, tmp_path: Path) -> None:
    temple("clients", "add", "second", "--provider", "simulator", "--client-id", "x")
    both = ("--client", "temple", "--client", "second")
    temple("apps", "add", "billing", *both, "--key-file", str(tmp_path / "1"))
    temple("apps", "rotate", "billing", "--key-file", str(tmp_path / "2"))
    assert temple("apps", "remove", "billing").code == 0
    for table in ("applications", "application_keys", "application_clients"):
        assert sql(f"select 1 from evergrant.{table}") == []  # noqa: S608
