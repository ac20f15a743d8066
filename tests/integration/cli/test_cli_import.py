"""`evergrant grants import`: bad lines are named, good ones kept, and no pair comes in twice."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

import settings
from models.sealing.vault import Vault
from tests.integration.cli.evergrant import Done, Evergrant
from worker.cli.imports.flow import PORTION


def lines_of(*members: dict[str, Any]) -> str:
    return "".join(json.dumps(each) + "\n" for each in members)


def grant(ref: str, **more: Any) -> dict[str, Any]:
    return {"ref": ref, "refresh_token": f"rt-{ref}", **more}


def take(evergrant: Evergrant, stdin: str, *options: str, client: str = "temple") -> Done:
    return evergrant("grants", "import", "-", "--client", client, "--json", *options, stdin=stdin)


def bad(done: Done) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, done.err.splitlines()) if "line" in line]


def test_a_grant_comes_in_sealed_for_its_row_and_due_at_two_thirds_of_its_life(temple: Evergrant, sql: Any) -> None:
    told = grant("a", access_token="at-a", expires_in=7200, created_at=time.time() - 100, labels={"org": "x"})
    assert take(temple, lines_of(told)).json == {"imported": 1, "replaced": 0, "skipped": 0, "bad": 0}
    ((grant_id, refresh, access, in_s, left, labels),) = sql(
        "select id, sealed_refresh_token, sealed_access_token, extract(epoch from due_at - clock_timestamp()),"
        " extract(epoch from access_expires_at - clock_timestamp()), labels from evergrant.grants"
    )
    vault = Vault.from_settings(settings.current())
    assert vault.open(refresh, table="grants", row_id=grant_id, purpose="refresh") == "rt-a"
    assert vault.open(access, table="grants", row_id=grant_id, purpose="access") == "at-a"
    assert 7090 < left <= 7100
    assert 7200 * (2 / 3 - 0.1) - 101 < in_s < 7200 * (2 / 3 + 0.1)
    assert labels == {"org": ["x"]}


def test_what_has_no_expiry_or_no_access_token_is_due_now(temple: Evergrant, sql: Any) -> None:
    take(temple, lines_of(grant("a"), grant("b", access_token="x"), grant("c")))
    assert sql("select count(*) from evergrant.grants where due_at <= clock_timestamp()") == [(3,)]
    assert sql("select count(*) from evergrant.access_tokens where sealed_access_token is not null") == [(0,)]


@pytest.mark.parametrize("text", ["ref,refresh_token\na,rt-a\n", '[{"ref": "a"}]\n', '{\n"ref": "a"\n}\n'])
def test_where_no_line_is_read_the_form_of_one_is_told(temple: Evergrant, text: str) -> None:
    done = take(temple, text)
    assert (done.code, done.error) == (1, "bad_lines")
    assert "one line of JSON" in done.err
    assert "one line of JSON" not in take(temple, lines_of(grant("a")) + text).err
    assert "one line of JSON" not in take(temple, lines_of(grant("b") | {"refresh_token": "rt-a"})).err  # a's own


def test_bad_lines_are_named_and_the_good_ones_kept(temple: Evergrant, sql: Any) -> None:
    stdin = (
        lines_of(grant("a"))
        + '{"ref": "broken"\n'
        + lines_of(grant("neg", expires_in=-1, created_at=1), grant("nul\0"))
        + '{"ref":"big","refresh_token":"'
        + "x" * 10_000_000
        + '"}\n'
        + "\n"
        + lines_of(grant("a", refresh_token="other"), grant("thief", refresh_token="rt-a"), grant("b"))
    )
    done = take(temple, stdin)
    assert (done.code, done.error) == (1, "bad_lines")
    assert done.json == {"imported": 2, "replaced": 0, "skipped": 0, "bad": 6}
    told = {each["line"]: (each["ref"], each["reason"]) for each in bad(done)}
    assert list(told) == [2, 3, 4, 5, 7, 8]
    assert told[3] == ("neg", "expires_in is negative")
    assert "longer than 1 MiB" in told[5][1]
    assert told[7] == ("a", "its ref stands in line 1 already")
    assert told[8] == ("thief", "its refresh token stands in line 1 already")
    assert "rt-a" not in done.err + done.out
    assert sql("select ref from evergrant.grants order by ref") == [("a",), ("b",)]


def test_a_ref_that_exists_is_skipped_and_counted(temple: Evergrant, sql: Any) -> None:
    take(temple, lines_of(grant("a"), grant("b")))
    before = sql("select * from evergrant.grants order by ref")
    done = take(temple, lines_of(grant("a", refresh_token="newer"), grant("b"), grant("c")))
    assert (done.code, done.json["imported"], done.json["skipped"]) == (0, 1, 2)
    assert sql("select * from evergrant.grants where ref <> 'c' order by ref") == before


def test_replace_puts_the_set_in_its_place_and_fences_off_who_is_under_way(temple: Evergrant, sql: Any) -> None:
    take(temple, lines_of(grant("a", labels={"org": "x"}), grant("b")))
    sql(
        "update evergrant.grants set status = 'needs_consent', failures = 3, suspect_at = clock_timestamp(),"
        " started_at = clock_timestamp(), claim_no = 7 where ref = 'a'"
    )
    done = take(temple, lines_of(grant("a", refresh_token="newer"), grant("c")), "--replace")
    assert done.json == {"imported": 1, "replaced": 1, "skipped": 0, "bad": 0}
    ((grant_id, sealed, *facts),) = sql(
        "select id, sealed_refresh_token, status, generation, failures, suspect_at, started_at, claim_no, labels"
        " from evergrant.grants where ref = 'a'"
    )
    assert facts == ["active", 2, 0, None, None, 8, {"org": ["x"]}]
    vault = Vault.from_settings(settings.current())
    assert vault.open(sealed, table="grants", row_id=grant_id, purpose="refresh") == "newer"
    assert sql("select count(*) from evergrant.revocations") == [(0,)]


def test_what_is_being_revoked_is_not_replaced(temple: Evergrant, sql: Any) -> None:
    take(temple, lines_of(grant("a")))
    temple("grants", "revoke", "a", "--yes")
    done = take(temple, lines_of(grant("a", refresh_token="newer")), "--replace")
    assert done.json["replaced"] == 0
    assert sql("select generation from evergrant.grants") == [(1,)]


def test_a_pair_that_another_ref_holds_is_refused_naming_that_ref(temple: Evergrant, sql: Any) -> None:
    temple("clients", "add", "shop", "--provider", "generic", "--client-id", "x")
    take(temple, lines_of(grant("a")))
    for client in ("temple", "shop"):
        done = take(temple, lines_of(grant("b", refresh_token="rt-a"), grant(f"c-{client}")), client=client)
        assert done.code == 1
        assert [each["reason"] for each in bad(done)] == ["its refresh token is held by a of client temple"]
    assert sql("select count(*) from evergrant.grants where ref = 'b'") == [(0,)]


def test_paused_grants_wait_for_resume(temple: Evergrant, sql: Any) -> None:
    take(temple, lines_of(grant("a")), "--paused")
    assert sql("select status from evergrant.grants") == [("paused",)]


def test_a_dry_run_stores_nothing_and_shows_the_load_against_the_rate(temple: Evergrant, sql: Any) -> None:
    stdin = lines_of(*(grant(f"g{n}") for n in range(1000)), grant("neg", expires_in=-1, created_at=0))
    done = take(temple, stdin, "--dry-run")
    assert done.code == 1
    assert (done.json["imported"], done.json["bad"]) == (1000, 1)
    assert done.json["load"] == {
        "grants": 1000,
        "life_seconds": 7200,
        "requests_per_minute": 12.5,
        "rate_per_minute": 100,
        "share": 0.125,
        "fits": True,
    }
    assert sql("select count(*) from evergrant.grants") == [(0,)]
    assert sql("select count(*) from evergrant.events where type = 'grant.imported'") == [(0,)]


def test_many_grants_come_in_by_batches_each_once(temple: Evergrant, sql: Any) -> None:
    stdin = lines_of(*(grant(f"g{n}") for n in range(1234)))
    assert take(temple, stdin).json["imported"] == 1234
    assert take(temple, stdin).json == {"imported": 0, "replaced": 0, "skipped": 1234, "bad": 0}
    assert sql("select count(*), count(distinct id) from evergrant.grants") == [(1234, 1234)]
    assert sql("select count(*) from evergrant.events where type = 'grant.imported'") == [(1234,)]


def test_what_another_process_is_faster_with_is_skipped_and_counted(
    temple: Evergrant, database: Engine, sql: Any
) -> None:
    other = (
        "insert into evergrant.grants (id, client_id, ref, status, due_at)"
        " select gen_random_uuid(), id, 'b', 'active', clock_timestamp() from evergrant.clients"
    )
    others = [other]

    def be_faster(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "insert into evergrant.grants" in statement and others:
            sql(others.pop())

    event.listen(database, "before_cursor_execute", be_faster)
    done = take(temple, lines_of(grant("a"), grant("b"), grant("c")))
    event.remove(database, "before_cursor_execute", be_faster)
    assert (done.code, done.json["imported"], done.json["skipped"]) == (0, 2, 1)
    told = sql("select ref from evergrant.events where type = 'grant.imported' order by ref")
    assert told == [("a",), ("c",)]


def test_bad_lines_of_every_kind_are_told_in_the_order_of_the_file(temple: Evergrant) -> None:
    take(temple, lines_of(grant("a")))
    broken = "{\n"
    stolen = lines_of(grant("thief", refresh_token="rt-a"))
    done = take(temple, broken + stolen + broken + lines_of(grant("b")) + broken)
    assert [each["line"] for each in bad(done)] == [1, 2, 3, 5]


@pytest.mark.parametrize("name", ["none.jsonl", "."])
def test_a_file_that_cannot_be_read_is_named(temple: Evergrant, tmp_path: Path, name: str) -> None:
    done = temple("grants", "import", str(tmp_path / name), "--client", "temple", "--json")
    assert (done.code, done.error) == (2, "file")


def test_when_the_database_goes_away_what_came_in_is_told_and_kept(
    temple: Evergrant, database: Engine, sql: Any
) -> None:
    inserts = []

    def cut(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "insert into evergrant.grants" in statement:
            inserts.append(statement)
            if len(inserts) == 2:
                connection.connection.driver_connection.close()

    event.listen(database, "before_cursor_execute", cut)
    done = take(temple, lines_of(*(grant(f"g{n}") for n in range(PORTION + 700))))
    event.remove(database, "before_cursor_execute", cut)
    assert (done.code, done.error) == (75, "database_away")
    assert f"{PORTION} imported so far" in done.err
    assert sql("select count(*) from evergrant.grants") == [(PORTION,)]
    assert take(temple, lines_of(*(grant(f"g{n}") for n in range(PORTION + 700)))).json["imported"] == 700


def test_members_that_mean_nothing_are_named_with_how_many_lines_have_them(temple: Evergrant) -> None:
    rows = [
        {"ref": "a", "refresh_token": "r1", "paused": True},
        {"ref": "b", "refresh_token": "r2", "expire_at": "2026-11-24T09:20:53Z", "token_type": "Bearer"},
        {"ref": "c", "refresh_token": "r3", "expire_at": "2026-11-24T09:20:53Z"},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = temple("grants", "import", "-", "--client", "temple", stdin=text)
    assert done.code == 0
    assert (
        "paused means nothing here and was not read (1 line, the first is 1); to import paused, give --paused"
        in done.err
    )
    assert (
        "expire_at means nothing here and was not read (2 lines, the first is 2); did you mean expires_at?" in done.err
    )
    assert "token_type" not in done.err
    again = temple("grants", "import", "-", "--client", "temple", "--json", stdin=text)
    assert again.json["unread"]["expire_at"] == {"lines": 2, "first": 2}
