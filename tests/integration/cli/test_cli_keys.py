"""Key rings: which key is needed, sealing anew while refreshes go on, and retiring a key."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

import settings
from models.sealing import reseal
from models.sealing.vault import KeyRing, Vault
from tests.integration.cli.evergrant import ALIVE, Evergrant

REFS = ("a", "b", "c")


@pytest.fixture
def rings(temple: Evergrant, tmp_path: Path) -> dict[str, Path]:
    """Rings in files, each with a new key above the one that has sealed three grants and a client secret."""
    now = settings.current()
    before = {"refresh": now.refresh_token_keys, "access": now.access_token_keys}
    temple.take_in(*REFS)
    files = {name: tmp_path / f"{name}.keys" for name in before}
    for name, file in files.items():
        secret = before[name]
        assert secret is not None
        file.write_text(f"{KeyRing.generate_line(f'{name}-new')}\n{secret.get_secret_value()}\n", encoding="utf-8")
        file.chmod(0o600)
    inline = dict.fromkeys(("refresh_token_keys", "access_token_keys"))
    named = {f"{name}_token_keys_file": file for name, file in files.items()}
    settings.adopt(now.model_copy(update={**inline, **named}))
    return files


def listed(evergrant: Evergrant) -> dict[str, tuple[bool, bool, int]]:
    return {row["id"]: (row["held"], row["active"], row["values"]) for row in evergrant("keys", "list", "--json").lines}


def test_the_list_tells_how_many_values_need_each_key_and_names_those_that_are_not_here(
    temple: Evergrant, rings: dict[str, Path]
) -> None:
    found = listed(temple)
    assert (found["refresh-new"], found["r1"]) == ((True, True, 0), (True, False, 4))
    assert (found["access-new"], found["a1"]) == ((True, True, 0), (True, False, 3))
    rings["refresh"].write_text(rings["refresh"].read_text().splitlines()[0])
    assert listed(temple)["r1"] == (False, False, 4)


def test_sealing_anew_leaves_nothing_to_the_old_keys_and_every_token_as_it_was(
    temple: Evergrant, rings: dict[str, Path], sql: Any
) -> None:
    sql(
        """insert into evergrant.former_tokens (grant_id, kind, generation, sealed_refresh_token, sealed_access_token,
            refresh_fingerprint) select id, 'surplus', 1, sealed_refresh_token, sealed_access_token, 'x'
        from evergrant.grants where ref = 'a'"""
    )
    done = temple("keys", "reseal", "--json")
    assert (done.code, done.json) == (0, {"sealed": 9, "left": []})
    assert {key: n for key, (_, _, n) in listed(temple).items() if n} == {"refresh-new": 5, "access-new": 4}
    assert temple("keys", "reseal").out == "Sealed 0 anew.\n"
    vault = Vault.from_settings(settings.current())
    query = "select id, ref, sealed_refresh_token, sealed_access_token from evergrant.grants"
    for grant_id, ref, refresh, access in sql(query):
        assert vault.open(refresh, table="grants", row_id=grant_id, purpose="refresh") == f"rt-temple-{ref}"
        assert vault.open(access, table="grants", row_id=grant_id, purpose="access") == f"at-temple-{ref}"
    ((client_id, secret),) = sql("select id, sealed_client_secret from evergrant.clients")
    assert vault.open(secret, table="clients", row_id=client_id, purpose="secret") == "hush"


def test_a_token_set_that_is_stored_meanwhile_and_a_row_that_somebody_holds_are_left_alone(
    temple: Evergrant, rings: dict[str, Path], sql: Any, database: Engine
) -> None:
    vault = Vault.from_settings(settings.current())
    with database.begin() as holder:
        holder.execute(text("select from evergrant.grants where ref = 'a' for no key update"))
        with database.begin() as connection:
            rows = connection.execute(
                text(reseal.PLACES[0].read), {"active": b"\x01\x0brefresh-new", "after": None, "most": 10}
            ).all()
            assert len(rows) == 3
            sql("update evergrant.grants set sealed_refresh_token = 'newer' where ref = 'b'")
            written = {"ids": [row.id for row in rows], "read": [row.sealed for row in rows], "fresh": [b"older"] * 3}
            assert len(connection.execute(text(reseal.PLACES[0].write), written).all()) == 1
    assert vault.refresh is not None
    assert sql("select sealed_refresh_token from evergrant.grants where ref = 'b'") == [(b"newer",)]
    assert sql("select count(*) from evergrant.grants where sealed_refresh_token = 'older'") == [(1,)]


def test_sealing_goes_on_where_it_was_stopped(
    temple: Evergrant, rings: dict[str, Path], monkeypatch: pytest.MonkeyPatch, database: Engine
) -> None:
    monkeypatch.setattr(reseal, "BATCH", 1)
    vault = Vault.from_settings(settings.current())
    with database.begin() as connection:
        first = reseal.batch(connection, vault, reseal.PLACES[0])
    assert (first.sealed, first.last is None) == (1, False)
    assert temple("keys", "reseal", "--json").json == {"sealed": 6, "left": []}


def test_what_needs_a_key_that_is_not_here_stays_and_is_told(temple: Evergrant, rings: dict[str, Path]) -> None:
    rings["refresh"].write_text(rings["refresh"].read_text().splitlines()[0])
    assert temple("keys", "reseal", "--json").json == {
        "sealed": 3,
        "left": [{"ring": "refresh", "id": "r1", "values": 4}],
    }
    waited = temple("keys", "reseal", "--wait", "--timeout", "0.2s", "--json")
    assert (waited.code, waited.error) == (75, "timeout")


def test_a_key_is_retired_once_nothing_needs_it_and_its_line_stays(temple: Evergrant, rings: dict[str, Path]) -> None:
    line = rings["refresh"].read_text().splitlines()[1]
    for key_id, code, error in (("r1", 1, "key_in_use"), ("refresh-new", 2, "key_active"), ("r9", 4, "unknown_key")):
        refused = temple("keys", "retire", key_id, "--yes", "--json")
        assert (refused.code, refused.error) == (code, error)
    temple("keys", "reseal")
    assert temple("keys", "retire", "r1", "--json").error == "needs_yes"
    assert temple("keys", "retire", "r1", "--yes").code == 0
    assert rings["refresh"].read_text().splitlines()[1].endswith(f": {line}")
    assert rings["refresh"].read_text().splitlines()[1].startswith("# retired 20")
    assert rings["refresh"].stat().st_mode & 0o777 == 0o600
    assert "r1" not in listed(temple)
    assert temple("status", "--json").json["missing_keys"] == []


def test_a_ring_in_a_variable_is_not_changed(temple: Evergrant) -> None:
    now = settings.current()
    assert now.refresh_token_keys is not None
    two = f"{KeyRing.generate_line('r2')}\n{now.refresh_token_keys.get_secret_value()}"
    settings.adopt(now.model_copy(update={"refresh_token_keys": type(now.refresh_token_keys)(two)}))
    temple("keys", "reseal")
    refused = temple("keys", "retire", "r1", "--yes", "--json")
    assert (refused.code, refused.error) == (2, "keys")


def test_who_holds_a_key_is_told_of_each_process_and_what_to_do_where_one_lacks_it(
    temple: Evergrant, rings: dict[str, Path], sql: Any
) -> None:
    sql("delete from evergrant.processes")
    for pid, keys in ((1, ["r1", "a1"]), (2, ["r0", "a1"])):
        sql(ALIVE, kind="worker", pid=pid, environment=settings.current().environment, keys=keys)
    sql(ALIVE, kind="web", pid=3, environment=None, keys=["a1"])
    found = {each["id"]: each for each in temple("keys", "list", "--json").lines}
    assert (found["r1"]["held"], found["r1"]["processes"]) == (True, "1 of 2")
    assert (found["r1"]["held_by"], found["r1"]["lacked_by"]) == (["worker 1 on box"], ["worker 2 on box"])
    assert found["a1"]["processes"] == "3 of 3"
    told = temple("keys", "list")
    assert "HELD HERE" in told.out
    (step,) = told.err.splitlines()
    assert step.startswith("worker 2 on box lacks r1: put its line into EVERGRANT_REFRESH_TOKEN_KEYS")
    assert "A new key opens nothing that is sealed already." in step


def test_nobody_is_advised_to_make_a_ring_anew_where_the_lost_one_has_sealed_something(
    temple: Evergrant, rings: dict[str, Path]
) -> None:
    settings.adopt(settings.current().model_copy(update={"refresh_token_keys_file": None}))
    listed_now = {each["id"]: each["held"] for each in temple("keys", "list", "--json").lines}
    assert listed_now["r1"] is False
    done = temple("clients", "add", "more", "--provider", "event-temple", "--client-id", "x", stdin="s")
    assert "to the ring that holds r1: 4 values are sealed with it, and a new one opens none of them" in done.err
    assert "keys generate" not in done.err


def test_for_an_empty_database_a_ring_is_made(evergrant: Evergrant) -> None:
    settings.adopt(settings.current().model_copy(update={"refresh_token_keys": None}))
    done = evergrant("clients", "add", "more", "--provider", "event-temple", "--client-id", "x", stdin="s")
    assert "or make one with `evergrant keys generate --ring refresh`" in done.err
