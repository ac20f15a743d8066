"""`grants export --handover`: no grant is kept by two homes, and none is lost on the way."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

import settings
from models.sealing.vault import Vault
from tests.integration.cli.evergrant import Evergrant


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "grants.jsonl"


def hand_over(evergrant: Evergrant, file: Path, *options: str) -> Any:
    return evergrant("grants", "export", "--handover", "--out", str(file), "--json", *options)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def kept(sql: Any) -> dict[str, tuple[str, str, Any, Any]]:
    """Everything that a handover must carry, by ref."""
    vault = Vault.from_settings(settings.current())
    rows = sql("select id, ref, sealed_refresh_token, sealed_access_token, labels, scope from evergrant.grants")
    return {
        ref: (
            vault.open(refresh, table="grants", row_id=grant_id, purpose="refresh"),
            vault.open(access, table="grants", row_id=grant_id, purpose="access"),
            labels,
            scope,
        )
        for grant_id, ref, refresh, access, labels, scope in rows
    }


def another_home(sql: Any) -> None:
    """What is known here is forgotten: the same database plays the other home."""
    sql("delete from evergrant.grants")


def test_what_is_handed_over_is_read_by_import_and_nothing_is_missing(temple: Evergrant, sql: Any, file: Path) -> None:
    temple.take_in("a", "b", left=5000)
    sql("""update evergrant.grants set refresh_expires_at = '2031-01-01Z', consent_expires_at = '2032-01-01Z'
        where ref = 'a'""")
    before = kept(sql)
    ends = sql("select ref, access_expires_at, life, due_at from evergrant.grants order by ref")
    horizons = "select ref, refresh_expires_at, consent_expires_at from evergrant.grants order by ref"
    known = sql(horizons)
    done = hand_over(temple, file)
    assert (done.code, done.json) == (0, {"client": "temple", "file": str(file), "handed_over": 2, "left": 0})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    another_home(sql)
    assert temple("grants", "import", str(file), "--client", "temple").code == 0
    assert kept(sql) == before
    assert sql(horizons) == known
    now = sql("select ref, access_expires_at, life, due_at from evergrant.grants order by ref")
    assert [(ref, at, life) for ref, at, life, _ in now] == [
        (ref, at.replace(microsecond=0), life) for ref, at, life, _ in ends
    ]


def test_what_was_handed_over_is_paused_here_and_stays_so(temple: Evergrant, sql: Any, file: Path) -> None:
    temple.take_in("a", "b")
    temple("grants", "pause", "b")
    hand_over(temple, file)
    assert sql("select distinct status, reason from evergrant.grants") == [("paused", "handed_over")]
    temple("grants", "resume", "--client", "temple")
    assert sql("select distinct status from evergrant.grants") == [("paused",)]
    shown = temple("grants", "show", "a", "--json").json
    assert (shown["reason"], shown["next"]) == (
        "handed_over",
        "another home keeps it; to take it back: evergrant grants resume a --client temple",
    )
    assert temple("grants", "resume", "a").code == 0
    assert sql("select status, reason from evergrant.grants where ref = 'a'") == [("active", None)]


def test_a_grant_that_comes_back_by_import_takes_its_row_again(temple: Evergrant, sql: Any, file: Path) -> None:
    temple.take_in("a")
    hand_over(temple, file)
    renewed = [line | {"refresh_token": "rt-renewed"} for line in lines(file)]
    done = temple(
        "grants", "import", "-", "--client", "temple", "--replace", stdin="".join(map(json.dumps, renewed)) + "\n"
    )
    assert done.code == 0, done.err
    assert sql("select status, reason, generation from evergrant.grants") == [("active", None, 2)]
    assert kept(sql)["a"][0] == "rt-renewed"


def test_a_pair_that_import_replaces_is_kept_until_it_is_dead(temple: Evergrant, sql: Any, file: Path) -> None:
    temple.take_in("a")
    line = json.dumps({"ref": "a", "refresh_token": "rt-renewed"})
    for _ in range(2):
        assert temple("grants", "import", "-", "--client", "temple", "--replace", stdin=line + "\n").code == 0
    assert sql("select kind, generation from evergrant.former_tokens") == [("surplus", 0)]


def test_a_grant_that_is_being_refreshed_is_waited_for_and_else_stays(temple: Evergrant, sql: Any, file: Path) -> None:
    temple.take_in("a", "b", "c")
    temple("grants", "pause", "c")
    sql(
        """update evergrant.grants set started_at = now(), due_at = now() + interval '1 h', claim_no = 5
        where ref in ('b', 'c')"""
    )
    done = hand_over(temple, file, "--timeout", "0.2s")
    assert (done.code, done.error, done.json["left"]) == (1, "left", 2)
    assert [line["ref"] for line in lines(file)] == ["a"]
    assert [json.loads(line).get("ref") for line in done.err.splitlines()] == ["b", "c", None]
    assert sql("select ref, status, reason from evergrant.grants order by ref") == [
        ("a", "paused", "handed_over"),
        ("b", "active", None),
        ("c", "paused", None),
    ]


@pytest.mark.parametrize("by", ["doubt_journals = array[1], doubt_since = now()", "started_at = now(), journal_id = 1"])
def test_a_grant_whose_newer_pair_may_be_in_a_journal_stays(temple: Evergrant, sql: Any, file: Path, by: str) -> None:
    temple.take_in("a")
    sql("insert into evergrant.journals (host, process) values ('h', 'p')")
    sql(f"update evergrant.grants set {by}, due_at = now() - interval '1 min'")  # noqa: S608
    assert hand_over(temple, file, "--timeout", "0.1s").code == 1
    assert not file.exists()
    assert sql("select status, reason from evergrant.grants") == [("active", None)]
    sql("update evergrant.journals set drained_at = now()")
    assert hand_over(temple, file, "--timeout", "0.1s").code == 0
    assert lines(file)[0]["in_doubt"] is True


def test_a_grant_that_was_in_doubt_is_never_called_verified_in_the_other_home(
    temple: Evergrant, sql: Any, file: Path
) -> None:
    temple.take_in("a", "b")
    sql("update evergrant.grants set ever_in_doubt = true where ref = 'a'")
    hand_over(temple, file)
    another_home(sql)
    temple("grants", "import", str(file), "--client", "temple")
    assert sql("select ref, ever_in_doubt from evergrant.grants order by ref") == [("a", True), ("b", False)]


def test_what_needs_consent_or_is_revoked_is_not_handed_over(temple: Evergrant, sql: Any, file: Path) -> None:
    temple.take_in("a", "b", "c")
    sql("update evergrant.grants set status = 'needs_consent', reason = 'response_lost' where ref = 'a'")
    temple("grants", "revoke", "b", "--yes")
    assert hand_over(temple, file).json["handed_over"] == 1
    assert sql("select ref, status from evergrant.grants order by ref") == [
        ("a", "needs_consent"),
        ("b", "active"),
        ("c", "paused"),
    ]


def test_a_file_that_cannot_be_made_pauses_nothing(temple: Evergrant, sql: Any, file: Path) -> None:
    temple.take_in("a")
    file.write_text("mine", encoding="utf-8")
    assert hand_over(temple, file).error == "file_exists"
    assert hand_over(temple, file.parent / "no" / "where").error == "file"
    assert temple("grants", "export", "--out", str(file)).code == 2
    assert (file.read_text(encoding="utf-8"), sql("select status from evergrant.grants")) == ("mine", [("active",)])


def test_a_full_disk_leaves_everything_as_it_was(temple: Evergrant, sql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    temple.take_in("a")
    full = Path("/dev/full")
    monkeypatch.setattr("worker.cli.grants.export._made", lambda _: full.open("wb"))
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    assert hand_over(temple, full).code == 1
    assert sql("select status, reason from evergrant.grants") == [("active", None)]


def test_grants_of_several_clients_do_not_share_a_file(temple: Evergrant, sql: Any, file: Path) -> None:
    command = "clients add other --provider event-temple --client-id id-2 --client-secret-file -"
    assert temple(*command.split(), stdin="hush\n").code == 0
    temple.take_in("a")
    temple.take_in("b", client="other")
    assert hand_over(temple, file).code == 2
    assert not file.exists()
    assert hand_over(temple, file, "--client", "other").json["handed_over"] == 1
    assert hand_over(temple, file, "--client", "nobody").code == 4
