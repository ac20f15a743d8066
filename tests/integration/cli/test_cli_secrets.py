"""`clients add`, `set-secret`, `generate-key` and `show`: secrets, private keys and certificates."""

import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import settings
from models.sealing.vault import Vault
from tasks.oauth import client_key
from tests.client_keys import DAY, certificate_of, with_certificate
from tests.integration.cli.evergrant import Evergrant

ADD = "clients add bank --provider generic --client-id id --token-url https://id.example/t"
EC = client_key.made("ES256")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], str]:
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def sealed(sql: Any, column: str = "sealed_client_secret") -> str | None:
    ((client_id, value),) = sql(f"select id, {column} from evergrant.clients")  # noqa: S608
    vault = Vault.from_settings(settings.current())
    return value and vault.open(value, table="clients", row_id=client_id, purpose="secret")


def test_a_private_key_is_sealed_and_its_id_alone_is_shown(
    evergrant: Evergrant, sql: Any, file: Callable[[str, str], str]
) -> None:
    told = f"{ADD} --auth private_key_jwt --private-key-file {file('key.pem', EC.pem)}"
    assert evergrant(*told.split()).code == 0
    assert sealed(sql) == EC.pem
    shown = evergrant("clients", "show", "bank", "--json").json
    assert (shown["auth"], shown["key_id"], shown["certificate_ends_at"]) == ("private_key_jwt", EC.key_id, None)
    assert "PRIVATE" not in evergrant("clients", "show", "bank").out


@pytest.mark.parametrize("together", [True, False])
def test_a_certificate_comes_with_its_key_in_one_file_or_in_two(
    evergrant: Evergrant, sql: Any, file: Callable[[str, str], str], together: bool
) -> None:
    certificate = certificate_of(EC)
    files = f"--certificate-file {file('both.pem', certificate + EC.pem)}"
    if not together:
        files = f"--certificate-file {file('c.pem', certificate)} --private-key-file {file('k.pem', EC.pem)}"
    assert evergrant(*f"{ADD} --auth mtls {files}".split()).code == 0
    assert sealed(sql) == EC.pem + certificate
    shown = evergrant("clients", "show", "bank", "--json").json
    assert shown["key_id"] == EC.key_id
    assert shown["certificate_ends_at"] is not None


def test_status_warns_of_a_certificate_that_ends_soon(evergrant: Evergrant, file: Callable[[str, str], str]) -> None:
    for name, ends in (("soon", 13 * DAY), ("later", 15 * DAY)):
        path = file(f"{name}.pem", with_certificate(ends=ends).pem)
        told = ADD.replace("bank", name) + f" --auth mtls --certificate-file {path}"
        assert evergrant(*told.split()).code == 0
    found = evergrant("status", "--json").json
    assert [each["name"] for each in found["certificates_ending"]] == ["soon"]
    assert any("certificate of soon ends" in each["what"] for each in found["attention"])


def test_a_public_client_needs_no_secret(evergrant: Evergrant, sql: Any) -> None:
    assert evergrant(*f"{ADD} --auth none".split()).code == 0
    assert sql("select sealed_client_secret from evergrant.clients") == [(None,)]


WRONG = {
    "a secret for a public client": ("--auth none --client-secret-file {secret}", "does not fit"),
    "a secret for an assertion": ("--auth private_key_jwt --client-secret-file {secret}", "--private-key-file"),
    "a key for a secret": ("--auth basic --private-key-file {key}", "--client-secret-file"),
    "a secret that is no key": ("--auth private_key_jwt --private-key-file {secret}", "holds no private key"),
    "a certificate without its key": ("--auth mtls --certificate-file {certificate}", "no private key"),
    "another's certificate": ("--auth mtls --certificate-file {another} --private-key-file {key}", "not made for"),
    "one that has ended": ("--auth mtls --certificate-file {ended} --private-key-file {key}", "not now"),
    "no such file": ("--auth private_key_jwt --private-key-file /none", "cannot be read from /none"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_does_not_fit_is_told_in_one_sentence_and_nothing_is_stored(
    evergrant: Evergrant, sql: Any, file: Callable[[str, str], str], kind: str
) -> None:
    names = {
        "secret": file("secret", "hush"),
        "key": file("key.pem", EC.pem),
        "certificate": file("certificate.pem", certificate_of(EC)),
        "another": file("another.pem", certificate_of(client_key.made("ES256"))),
        "ended": file("ended.pem", certificate_of(EC, begins=-9 * DAY, ends=-timedelta(hours=1))),
    }
    options, told = WRONG[kind]
    done = evergrant(*ADD.split(), *options.format(**names).split())
    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert sql("select count(*) from evergrant.clients") == [(0,)]


def test_a_file_that_cannot_be_used_is_named(evergrant: Evergrant, file: Callable[[str, str], str]) -> None:
    path = file("mine.pem", "garbage")
    done = evergrant(*f"{ADD} --auth private_key_jwt --private-key-file {path}".split())
    assert path in done.err


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_a_key_is_made_for_its_owner_alone_and_its_public_half_is_printed(
    evergrant: Evergrant, tmp_path: Path, algorithm: str
) -> None:
    path = tmp_path / "new.pem"
    told = ("clients", "generate-key", "--out", str(path), "--algorithm", algorithm)
    done = evergrant(*told)
    (jwk,) = json.loads(done.out)["keys"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert client_key.read(path.read_text(), certified=False).public_jwk == jwk
    assert "d" not in jwk
    before = path.read_text()
    again = evergrant(*told, "--json")
    assert (again.code, again.error) == (2, "file_exists")
    assert path.read_text() == before


def prove(sql: Any) -> None:
    sql("update evergrant.valves set credentials_proven_no = (select credentials_no from evergrant.clients)")


def test_the_former_secret_is_kept_until_the_new_one_is_proven_and_no_longer_with_now(
    temple: Evergrant, sql: Any
) -> None:
    prove(sql)
    done = temple("clients", "set-secret", "temple", "--client-secret-file", "-", stdin="new")
    assert "the former one is kept until" in done.out
    assert (sealed(sql), sealed(sql, "sealed_former_secret")) == ("new", "hush")
    assert temple("clients", "show", "temple", "--json").json["former_secret_at"] is not None
    temple("clients", "set-secret", "temple", "--client-secret-file", "-", "--now", stdin="newer")
    assert (sealed(sql), sealed(sql, "sealed_former_secret")) == ("newer", None)
    assert temple("clients", "show", "temple", "--json").json["former_secret_at"] is None


def test_a_refused_secret_is_told_where_a_human_looks(temple: Evergrant, sql: Any) -> None:
    prove(sql)
    temple("clients", "set-secret", "temple", "--client-secret-file", "-", stdin="new")
    sql(
        """update evergrant.clients set secret_refused_at = clock_timestamp(), secret_refused_code = 'invalid_client'"""
    )
    found = temple("status", "--json").json
    assert [(each["name"], each["code"]) for each in found["secrets_refused"]] == [("temple", "invalid_client")]
    assert any("temple goes on with its former secret" in each["what"] for each in found["attention"])
    assert temple("clients", "show", "temple", "--json").json["secret_refused_code"] == "invalid_client"


def test_another_way_to_prove_who_we_are_comes_with_its_secret_or_not_at_all(
    temple: Evergrant, sql: Any, file: Callable[[str, str], str]
) -> None:
    prove(sql)
    refused = temple("clients", "set", "temple", "--auth", "private_key_jwt", "--json")
    assert (refused.code, refused.error) == (1, "secret_kind")
    assert "set-secret temple --auth private_key_jwt --private-key-file FILE" in refused.err
    assert temple("clients", "set", "temple", "--auth", "basic").code == 0

    told = f"clients set-secret temple --auth private_key_jwt --private-key-file {file('key.pem', EC.pem)}"
    assert temple(*told.split()).code == 0
    assert (sealed(sql), sealed(sql, "sealed_former_secret")) == (EC.pem, None)
    assert temple("clients", "show", "temple", "--json").json["auth"] == "private_key_jwt"


def test_the_key_that_seals_a_former_secret_is_needed_still_and_resealed(temple: Evergrant, sql: Any) -> None:
    prove(sql)
    temple("clients", "set-secret", "temple", "--client-secret-file", "-", stdin="new")
    values = {each["id"]: each["values"] for each in temple("keys", "list", "--json").lines}
    assert values["r1"] == 2
    before = settings.current().refresh_token_keys
    assert before is not None
    ring = Vault.from_settings(settings.current()).refresh
    assert ring is not None
    fresh = ring.generate_line("r2") + "\n" + before.get_secret_value()
    settings.adopt(settings.current().model_copy(update={"refresh_token_keys": type(before)(fresh)}))
    assert temple("keys", "reseal", "--json").json["sealed"] == 2
    assert (sealed(sql), sealed(sql, "sealed_former_secret")) == ("new", "hush")
    values = {each["id"]: each["values"] for each in temple("keys", "list", "--json").lines}
    assert (values["r1"], values["r2"]) == (0, 2)


@pytest.mark.parametrize(
    "words",
    [
        "clients set-secret temple",
        "clients set-secret temple --private-key-file -",
        "clients set-secret temple --auth mtls --client-secret-file -",
        "clients add b --client-id x",
    ],
)
def test_what_is_missing_or_does_not_fit_is_misuse(temple: Evergrant, words: str) -> None:
    done = temple(*words.split(), "--json", stdin="x")
    assert (done.code, "Traceback" in done.err) == (2, False)
