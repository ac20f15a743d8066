import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import settings as configuration
from models.sealing.key_use import Missing
from models.sealing.keys import RingKey
from models.sealing.vault import KeyMissing, KeyRing, KeysError, NotText, SealBroken, Vault, VaultError, key_id
from settings import Settings
from tests.other_languages import node

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
VECTORS: dict[str, Any] = json.loads((REFERENCE / "sealed-vectors.json").read_text())
VECTOR_RING = KeyRing.parse("\n".join(VECTORS["ring"]))
PLACE = {"table": "grants", "row_id": "4f", "purpose": "refresh"}


def a_ring(*ids: str) -> KeyRing:
    return KeyRing.parse("\n".join(KeyRing.generate_line(name) for name in ids))


def a_vault() -> Vault:
    return Vault(a_ring("r1"), a_ring("a1"))


def why(vector: dict[str, str]) -> str:
    return vector["why"]


@given(st.text())
def test_what_was_sealed_opens_again(text: str) -> None:
    vault = a_vault()
    try:
        sealed = vault.seal(text, **PLACE)
    except NotText:
        assert any("\ud800" <= letter <= "\udfff" for letter in text)
    else:
        assert vault.open(sealed, **PLACE) == text


@pytest.mark.parametrize(
    "moved", [{"row_id": "50"}, {"table": "clients"}, {"purpose": "secret"}, {"row_id": "4f:refresh"}]
)
def test_sealed_bytes_moved_to_another_place_do_not_open(moved: dict[str, str]) -> None:
    vault = a_vault()
    sealed = vault.seal("token", **PLACE)
    with pytest.raises(SealBroken):
        vault.open(sealed, **{**PLACE, **moved})


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    vault = a_vault()
    sealed = vault.seal("token", **PLACE)
    for index in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[index // 8] ^= 1 << index % 8
        with pytest.raises((SealBroken, KeyMissing)):
            vault.open(bytes(damaged), **PLACE)


def test_bytes_cut_anywhere_do_not_open() -> None:
    vault = a_vault()
    sealed = vault.seal("token", **PLACE)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            vault.open(sealed[:length], **PLACE)


def test_the_same_secret_is_never_sealed_to_the_same_bytes() -> None:
    vault = a_vault()
    assert len({vault.seal("token", **PLACE) for _ in range(50)}) == 50


def test_after_a_rotation_old_bytes_open_and_new_ones_are_sealed_with_the_new_key() -> None:
    old, new = KeyRing.generate_line("old"), KeyRing.generate_line("new")
    sealed = Vault(KeyRing.parse(old), None).seal("token", **PLACE)
    rotated = Vault(KeyRing.parse(f"{new}\n{old}"), None)
    assert rotated.open(sealed, **PLACE) == "token"
    assert not rotated.is_current(sealed, purpose="refresh")
    again = rotated.seal("token", **PLACE)
    assert key_id(again) == "new"
    assert rotated.is_current(again, purpose="refresh")


def test_a_key_that_is_missing_is_named_and_is_no_broken_seal() -> None:
    sealed = Vault(a_ring("retired"), None).seal("token", **PLACE)
    with pytest.raises(KeyMissing, match="'retired' is not in the refresh key ring") as error:
        Vault(a_ring("other"), None).open(sealed, **PLACE)
    assert error.value.key_id == "retired"


def test_a_key_of_the_same_id_and_other_bytes_opens_nothing() -> None:
    sealed = Vault(a_ring("k"), None).seal("token", **PLACE)
    with pytest.raises(SealBroken):
        Vault(a_ring("k"), None).open(sealed, **PLACE)


def test_a_process_without_the_ring_neither_seals_nor_opens() -> None:
    sealed = a_vault().seal("token", **PLACE)
    web = Vault(None, a_ring("a1"))
    with pytest.raises(KeysError, match="EVERGRANT_REFRESH_TOKEN_KEYS"):
        web.seal("token", **PLACE)
    with pytest.raises(KeyMissing):
        web.open(sealed, **PLACE)
    with pytest.raises(KeysError):
        web.fingerprint("token")


@pytest.mark.parametrize("purpose", ["refresh", "secret", "verifier", "journal"])
def test_the_refresh_ring_alone_seals_what_must_not_leave_the_workers(purpose: str) -> None:
    sealed = a_vault().seal("token", table="grants", row_id=1, purpose=purpose)
    assert key_id(sealed) == "r1"


@pytest.mark.parametrize("purpose", ["access", "code"])
def test_the_access_ring_alone_seals_what_others_read(purpose: str) -> None:
    sealed = a_vault().seal("token", table="grants", row_id=1, purpose=purpose)
    assert key_id(sealed) == "a1"


def test_an_unknown_purpose_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="unknown purpose"):
        a_vault().seal("token", table="grants", row_id=1, purpose="acess")


def test_a_fingerprint_is_found_again_after_a_rotation() -> None:
    old, new = KeyRing.generate_line("old"), KeyRing.generate_line("new")
    before = Vault(KeyRing.parse(old), None).fingerprint("token")
    rotated = Vault(KeyRing.parse(f"{new}\n{old}"), None)
    assert rotated.fingerprint("token") != before
    assert rotated.fingerprints("token") == [rotated.fingerprint("token"), before]
    assert before not in rotated.fingerprints("another")


def test_a_fingerprint_never_fails_for_odd_text() -> None:
    assert a_vault().fingerprint("\ud800\x00")


def test_the_derivation_is_hkdf_of_rfc_5869() -> None:
    material = os.urandom(32)
    ours = RingKey.from_material("k", material).cipher(b"grants:1:refresh")
    theirs = HKDF(hashes.SHA256(), 32, None, b"grants:1:refresh").derive(material)
    sealed = ours.encrypt(bytes(12), b"x", None)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    assert AESGCM(theirs).decrypt(bytes(12), sealed, None) == b"x"


@pytest.mark.parametrize("vector", VECTORS["opens"], ids=why)
def test_a_published_vector_opens(vector: dict[str, str]) -> None:
    opened = Vault(None, VECTOR_RING).open(
        bytes.fromhex(vector["sealed"]),
        table=vector["table"],
        row_id=vector["row_id"],
        purpose=vector["purpose"],
    )
    assert opened == vector["plaintext"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=why)
def test_a_published_vector_that_must_not_open_does_not(vector: dict[str, str]) -> None:
    with pytest.raises((SealBroken, KeyMissing)):
        Vault(None, VECTOR_RING).open(
            bytes.fromhex(vector["sealed"]),
            table=vector["table"],
            row_id=vector["row_id"],
            purpose=vector["purpose"],
        )


def test_published_fingerprints_are_ours() -> None:
    for vector in VECTORS["fingerprints"]:
        found = Vault(VECTOR_RING, None).fingerprints(vector["token"])
        assert [value.hex() for value in found] == vector["fingerprints"]


def open_with_node(vector: dict[str, str]) -> subprocess.CompletedProcess[str]:
    place = [vector["table"], vector["row_id"], vector["purpose"]]
    ring = "\n".join(VECTORS["ring"])
    return node(REFERENCE / "open-sealed.mjs", *place, vector["sealed"], EVERGRANT_ACCESS_TOKEN_KEYS=ring)


@pytest.mark.parametrize("vector", VECTORS["opens"], ids=why)
def test_the_opener_in_another_language_opens_a_published_vector(vector: dict[str, str]) -> None:
    assert open_with_node(vector).stdout == vector["plaintext"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=why)
def test_the_opener_in_another_language_refuses_what_must_not_open(vector: dict[str, str]) -> None:
    result = open_with_node(vector)
    assert (result.returncode, result.stdout) == (1, "")


def test_the_opener_in_another_language_opens_what_is_sealed_now() -> None:
    place = {"table": "grants", "row_id": "77", "purpose": "access"}
    sealed = Vault(None, VECTOR_RING).seal("fresh ✓", **place)
    assert open_with_node({**place, "sealed": sealed.hex()}).stdout == "fresh ✓"


def test_a_ring_is_read_with_comments_and_blank_lines_the_first_key_active() -> None:
    first, second = KeyRing.generate_line("2025-11"), KeyRing.generate_line("2025-05")
    ring = KeyRing.parse(f"# our keys\r\n\n  {first}  \n\n# old\n{second}\n")
    assert ring.ids == ["2025-11", "2025-05"]
    assert ring.active.key_id == "2025-11"


MATERIAL = base64.b64encode(bytes(range(32))).decode()
URLSAFE = base64.urlsafe_b64encode(bytes(range(200, 232))).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there is no key in it"),
        ("# nothing\n", "there is no key in it"),
        (MATERIAL, "line 1 is not of the form id:base64"),
        (f"\na b:{MATERIAL}", "line 2 has an unusable key id"),
        (f"{'x' * 65}:{MATERIAL}", "line 1 has an unusable key id"),
        (f"schlüssel:{MATERIAL}", "line 1 has an unusable key id"),
        ("k:!!!", "line 1 holds a key that is not base64"),
        ("k:ünicode", "line 1 holds a key that is not base64"),
        (f"k:{MATERIAL[:20]}", "line 1 holds a key of 15 bytes instead of 32"),
        (f"{URLSAFE}:k", "line 1 holds a key that is not base64"),
        (f"k:{MATERIAL}\nk:{MATERIAL}", "line 2 repeats the key id 'k'"),
    ],
)
def test_a_ring_that_cannot_be_used_is_told_in_a_sentence_without_key_material(text: str, sentence: str) -> None:
    with pytest.raises(KeysError) as error:
        KeyRing.parse(text)
    assert sentence in str(error.value)
    for secret in (MATERIAL, MATERIAL[:20], URLSAFE):
        assert secret not in str(error.value)
    assert error.value.__cause__ is None


def test_a_key_id_that_no_ring_could_read_is_not_generated() -> None:
    with pytest.raises(KeysError):
        KeyRing.generate_line("a:b")


def settings(**values: object) -> Settings:
    return Settings.model_validate({"home": Path("/nonexistent"), **values})


def test_rings_come_from_variables_or_files(tmp_path: Path) -> None:
    file = tmp_path / "access.keys"
    file.touch(mode=0o600)
    file.write_text(KeyRing.generate_line("a1"))
    vault = Vault.from_settings(
        settings(refresh_token_keys=SecretStr(KeyRing.generate_line("r1")), access_token_keys_file=file)
    )
    assert repr(vault) == "Vault(refresh=KeyRing(r1), access=KeyRing(a1))"


def test_no_setting_is_no_ring() -> None:
    vault = Vault.from_settings(settings())
    assert (vault.refresh, vault.access) == (None, None)


def test_a_file_that_cannot_be_read_names_its_variable(tmp_path: Path) -> None:
    with pytest.raises(KeysError) as error:
        Vault.from_settings(settings(refresh_token_keys_file=tmp_path / "gone"))
    assert str(error.value) == (
        f"EVERGRANT_REFRESH_TOKEN_KEYS_FILE: cannot read {tmp_path}/gone: No such file or directory"
    )


def test_a_file_that_is_no_text_names_its_variable(tmp_path: Path) -> None:
    (tmp_path / "keys").touch(mode=0o600)
    (tmp_path / "keys").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KeysError, match=r"EVERGRANT_ACCESS_TOKEN_KEYS_FILE: .* is not a text file"):
        Vault.from_settings(settings(access_token_keys_file=tmp_path / "keys"))


def test_a_bad_ring_names_its_variable() -> None:
    with pytest.raises(KeysError, match=r"^EVERGRANT_ACCESS_TOKEN_KEYS: line 1 "):
        Vault.from_settings(settings(access_token_keys=SecretStr("k:short")))


def test_a_variable_and_its_file_together_are_refused(tmp_path: Path) -> None:
    ring = SecretStr(KeyRing.generate_line("r1"))
    with pytest.raises(KeysError, match="keep one of them"):
        Vault.from_settings(settings(refresh_token_keys=ring, refresh_token_keys_file=tmp_path / "keys"))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644, 0o666])
def test_a_ring_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "keys"
    file.write_text(KeyRing.generate_line("r1"))
    file.chmod(mode)

    with pytest.raises(KeysError, match=r"^EVERGRANT_REFRESH_TOKEN_KEYS_FILE: .* is open to other users; run chmod "):
        Vault.from_settings(settings(refresh_token_keys_file=file))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_ring_of_another_user_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.touch(mode=0o600)
    file.write_text(KeyRing.generate_line("r1"))
    os.chown(file, 4242, -1)

    with pytest.raises(KeysError, match="belongs to the user 4242"):
        Vault.from_settings(settings(refresh_token_keys_file=file))


def test_a_command_gives_a_ring_and_is_run_once(tmp_path: Path) -> None:
    (tmp_path / "ring").write_text(KeyRing.generate_line("r1"))
    calls = tmp_path / "calls"
    script = tmp_path / "opens it"
    script.write_text(f"#!/bin/sh\necho >> {calls}\ncat {tmp_path}/ring\n")
    script.chmod(0o700)

    for _ in range(2):
        vault = Vault.from_settings(settings(refresh_token_keys_command=f"'{script}' --decrypt"))
        assert repr(vault) == "Vault(refresh=KeyRing(r1), access=None)"
    assert calls.read_text() == "\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("false", "its command failed (exit code 1); run it by hand to see why"),
        ("/nowhere/age -d ring", "its command gave no key ring (No such file or directory)"),
        ("echo 'not closed", "its command gave no key ring (it is no command line)"),
        (" ", "its command gave no key ring (it is no command line)"),
        ("printf '\\377\\376'", "its command gave no key ring (what it printed is no text)"),
        ("echo c2VjcmV0LXNlY3JldA==", "line 1"),
        ("true", "there is no key in it"),
    ],
)
def test_a_command_that_gives_no_ring_is_told_without_what_it_printed(command: str, told: str) -> None:
    with pytest.raises(KeysError) as error:
        Vault.from_settings(settings(access_token_keys_command=command))
    assert str(error.value).startswith("EVERGRANT_ACCESS_TOKEN_KEYS_COMMAND: ")
    assert told in str(error.value)
    assert "c2Vj" not in str(error.value)


def test_no_repr_and_no_message_holds_a_secret() -> None:
    line = f"k:{MATERIAL}"
    vault = Vault(KeyRing.parse(line), None)
    told = [repr(vault), repr(vault.refresh), repr(vault.refresh and vault.refresh.active)]
    for broken in ("geheim\ud800", "geheim"):
        try:
            vault.open(vault.seal(broken, **PLACE), table="grants", row_id="5", purpose="refresh")
        except VaultError as error:
            told += [str(error), repr(error), repr(error.__context__) if not error.__suppress_context__ else ""]
    assert len(told) == 9
    for text in told:
        assert "geheim" not in text
        assert MATERIAL not in text
        assert repr(bytes(range(32))) not in text


@pytest.mark.parametrize(
    ("ring_here", "variable"),
    [
        ({"refresh_token_keys": SecretStr("r2:x")}, "EVERGRANT_REFRESH_TOKEN_KEYS"),
        ({"refresh_token_keys_file": Path("refresh.keys")}, "EVERGRANT_REFRESH_TOKEN_KEYS_FILE"),
        ({"refresh_token_keys_command": "pass refresh"}, "EVERGRANT_REFRESH_TOKEN_KEYS_COMMAND"),
        ({}, "EVERGRANT_REFRESH_TOKEN_KEYS_FILE"),
    ],
)
def test_whoever_lacks_a_key_is_told_the_variable_that_is_set_here(
    monkeypatch: pytest.MonkeyPatch, ring_here: dict[str, Any], variable: str
) -> None:
    unset = dict.fromkeys(f"refresh_token_keys{way}" for way in ("", "_file", "_command"))
    here = configuration.current().model_copy(update={**unset, **ring_here})
    monkeypatch.setattr(configuration, "_current", [here])
    missing = Missing("r1", "refresh", 1)
    assert missing.remedy == f"add the key r1 to {variable} here and on every machine that uses them"
    assert missing.lacked_by("worker 1 on box")[1].startswith(f"add the key r1 to {variable} of worker 1 on box")
    assert str(KeyMissing("r1", "refresh")).endswith(f"add it to {variable}")
