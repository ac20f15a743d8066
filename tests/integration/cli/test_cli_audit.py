"""The audit of commands: what changes or hands out is noted first, and where it cannot be, nothing is done."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import settings
from models.sealing.vault import Vault
from tests.integration.cli.evergrant import Evergrant, use_actor
from worker.audit.file import AuditFile
from worker.audit.trail import hashed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def note_in(place: Path | str) -> None:
    """Note from now on what is done, there."""
    settings.adopt(settings.current().model_copy(update={"audit_file": str(place)}))


def lines(file: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    file.write_bytes(b"")
    return found


def told(file: Path, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(each.get(name) for name in names) for each in lines(file)]


def test_a_token_that_is_printed_is_noted_with_its_generation_and_hash(temple: Evergrant, file: Path) -> None:
    temple.take_in("a")
    note_in(file)
    use_actor("anna")
    assert temple("grants", "token", "a").out == "at-temple-a\n"
    begun, handed = lines(file)
    common = {
        "environment": "test",
        "by": "cli",
        "what": "grants token",
        "request": begun["request"],
        "who": "anna",
        "peer": f"uid {os.getuid()} pid {os.getpid()}",
    }
    assert begun == {"at": begun["at"], **common, "refs": ["a"], "outcome": "begun"}
    access = hashed(Vault.from_settings(settings.current()), "at-temple-a", purpose="access")
    found = {"client": "temple", "ref": "a", "generation": 1, "access_token": access}
    assert handed == {"at": handed["at"], **common, **found, "outcome": "ok"}


def test_what_is_asked_for_and_refused_is_noted_with_its_code(temple: Evergrant, file: Path) -> None:
    note_in(file)
    assert temple("grants", "token", "nobody").code == 4
    assert temple("clients", "pause", "nobody").code == 4
    assert told(file, "what", "client", "refs", "outcome") == [
        ("grants token", None, ["<string 6>"], "begun"),
        ("grants token", None, None, "unknown_ref"),
        ("clients pause", "<string 6>", None, "begun"),
        ("clients pause", None, None, "unknown_client"),
    ]


def test_each_grant_of_a_handover_is_noted_with_both_hashes(temple: Evergrant, file: Path, tmp_path: Path) -> None:
    temple.take_in("a", "b")
    note_in(file)
    out = tmp_path / "grants.jsonl"
    assert temple("grants", "export", "--handover", "--out", str(out)).code == 0
    vault = Vault.from_settings(settings.current())
    begun, first, second, done = lines(file)
    assert begun["options"] == ["handover", "out"]
    assert [(each["ref"], each["outcome"]) for each in (first, second)] == [("a", "ok"), ("b", "ok")]
    assert first["refresh_token"] == hashed(vault, "rt-temple-a", purpose="refresh")
    assert first["access_token"] == hashed(vault, "at-temple-a", purpose="access")
    assert (done["client"], done["handed_over"]) == ("temple", 2)


def test_refs_of_standard_input_are_noted_before_anything_is_done(temple: Evergrant, file: Path) -> None:
    refs = [f"customer-{n:04}" for n in range(300)]
    temple.take_in(*refs)
    note_in(file)
    assert temple("grants", "revoke", "-", "--yes", stdin="\n".join(refs)).code == 0
    found = lines(file)
    begun = [each for each in found if each["outcome"] == "begun"]
    assert [ref for each in begun[1:] for ref in each["refs"]] == refs
    assert [each["ref"] for each in found if each["outcome"] == "ok"] == refs
    assert all(each["id"] and each["client"] == "temple" for each in found if each["outcome"] == "ok")


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        ("grants token a", ""),
        ("grants revoke a --yes", ""),
        ("grants erase a --yes", ""),
        ("grants pause a", ""),
        ("clients set temple --rate 7/minute", ""),
        ("clients set-secret temple --client-secret-file -", "another"),
        ("clients pause temple", ""),
        ("clients add other --provider event-temple --client-id id-2 --client-secret-file -", "hush"),
        ("apps add billing --key-file {folder}/billing.key", ""),
        ("keys generate --ring access --out {folder}/new.keys", ""),
        ("keys reseal", ""),
        ("grants export --handover --out {folder}/grants.jsonl", ""),
        ("db roles --apply", ""),
    ],
)
def test_where_the_disk_is_full_nothing_is_handed_out_and_nothing_changed(
    temple: Evergrant, sql: Any, tmp_path: Path, words: str, stdin: str
) -> None:
    temple.take_in("a")
    tables = ("grants", "clients", "applications", "revocations", "erasures", "events")
    everything = {
        table: f"select jsonb_agg(to_jsonb(t) order by to_jsonb(t)::text) from evergrant.{table} t"  # noqa: S608
        for table in tables
    }
    before = {table: sql(query) for table, query in everything.items()}
    folder = tmp_path / "made"
    folder.mkdir()
    note_in("/dev/full")
    done = temple(*words.format(folder=folder).split(), "--json", stdin=stdin)
    assert (done.code, done.error, done.out) == (75, "audit_unwritable", "")
    assert "No space left on device" in done.err
    assert {table: sql(query) for table, query in everything.items()} == before
    assert list(folder.iterdir()) == []
    assert temple("grants", "list").code == 0


def test_a_disk_that_fills_up_meanwhile_keeps_the_token_back(
    temple: Evergrant, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temple.take_in("a")
    note_in(file)

    def full(*_: object, **__: object) -> int:
        note = "worker.audit.trail.AuditFile.write"
        monkeypatch.setattr(note, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        return 0

    monkeypatch.setattr("models.views.access_token.TokenState.lasts", lambda *_: full() == 0)
    done = temple("grants", "token", "a", "--json")
    assert (done.code, done.error, done.out) == (75, "audit_unwritable", "")
    assert [each["outcome"] for each in lines(file)] == ["begun"]


def test_a_handover_that_cannot_be_noted_to_its_end_hands_nothing_over(
    temple: Evergrant, sql: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temple.take_in("a", "b", "c")
    note_in(file)
    write = AuditFile.write

    def fills_up(self: AuditFile, line: bytes) -> None:
        if b'"ref": "b"' in line:
            raise OSError(28, "No space left on device")
        write(self, line)

    monkeypatch.setattr(AuditFile, "write", fills_up)
    out = tmp_path / "grants.jsonl"
    done = temple("grants", "export", "--handover", "--out", str(out), "--json")
    assert (done.code, done.error) == (75, "audit_unwritable")
    assert not out.exists()
    assert sql("select distinct status, reason from evergrant.grants") == [("active", None)]


def test_what_an_application_may_is_noted(temple: Evergrant, file: Path, tmp_path: Path) -> None:
    note_in(file)
    words = "apps add billing --client temple --may read,refresh --expires 90d --key-file"
    assert temple(*words.split(), str(tmp_path / "billing.key")).code == 0
    begun, done = lines(file)
    assert (begun["application"], begun["client"], begun["options"]) == (
        "<string 7>",
        "temple",
        ["client", "may", "expires", "key-file"],
    )
    assert (done["application"], done["client"], done["may"]) == ("billing", "temple", "read,refresh")
    assert done["expires_at"].endswith("Z")


def test_what_only_looks_is_not_noted(temple: Evergrant, file: Path) -> None:
    temple.take_in("a")
    note_in(file)
    for words in ("grants list", "grants show a", "clients list", "status", "keys list", "apps list"):
        found = 1 if words == "status" else 0  # no beat is alive, and no worker
        assert temple(*words.split()).code == found, words
    assert not file.exists()


def test_a_command_that_says_it_only_looks_cannot_change_anything(
    temple: Evergrant, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.cli.clients.pause import pause

    monkeypatch.setattr(pause, "changes", False)
    assert temple("clients", "pause", "temple").code == 1
    assert sql("select count(*) from evergrant.events where type = 'client.paused'") == [(0,)]


def test_a_secret_in_the_place_of_a_name_is_not_noted(temple: Evergrant, file: Path) -> None:
    note_in(file)
    secret = "egk_W3jKq0ZpL9"
    for words in ("grants token", "grants revoke --yes", "clients pause", "apps remove", "keys retire --yes"):
        assert temple(*words.split(), secret).code == 4
    assert temple("grants", "pause", "a", "--client", secret).code == 4
    assert secret not in file.read_text(encoding="utf-8")
    assert len(lines(file)) == 12


def test_the_line_of_a_key_in_the_place_of_its_id_is_not_noted(temple: Evergrant, file: Path) -> None:
    from models.sealing.vault import KeyRing

    note_in(file)
    line = KeyRing.generate_line("r2")
    assert temple("keys", "retire", line, "--yes").code == 4
    assert line[3:] not in file.read_text(encoding="utf-8")
    assert lines(file)[0]["ids"] == [f"<string {len(line)}>"]
