"""Who sent a notice, and whose grants it is about: only what the client's secret proves counts."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.oauth.notice_proof import About, Came, about, is_proven
from tasks.oauth.notices import Notice

ID, SECRET = "our id", "s3cr3t-of-the-client"
BODY = json.dumps({"company_id": 42, "user": {"ids": ["u1"]}, "event": "app.uninstalled"}).encode()


def rule(**fields: Any) -> Notice:
    return Notice.model_validate({"auth": "basic", "matches": {"company": "company_id"}} | fields)


def came(proof: dict[str, str], body: bytes = BODY) -> Came:
    return Came("POST", proof, body)


def proven(notice: Notice, arrived: Came) -> bool:
    return is_proven(notice, arrived, client_id=ID, client_secret=SECRET)


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def signature(body: bytes = BODY, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).digest()


def test_the_clients_own_id_and_secret_prove_a_notice() -> None:
    """Pipedrive's."""
    assert proven(rule(), came(basic(f"{ID}:{SECRET}")))


@pytest.mark.parametrize("proof", [basic(f"{ID}:wrong"), basic(f"other:{SECRET}"), {"authorization": "Basic ###"}, {}])
def test_anything_else_does_not(proof: dict[str, str]) -> None:
    assert not proven(rule(), came(proof))


@pytest.mark.parametrize(
    "written",
    [
        signature().hex(),
        signature().hex().upper(),
        "sha256=" + signature().hex(),
        base64.b64encode(signature()).decode(),
    ],
)
def test_a_signature_of_the_body_proves_it_in_hex_and_in_base64(written: str) -> None:
    signed = rule(auth="hmac_sha256", signature_header="X-Signature")

    assert proven(signed, came({"x-signature": written}))
    assert not proven(signed, came({"x-signature": written}, BODY + b" "))


def test_a_secret_in_a_header_proves_it() -> None:
    by_header = rule(auth="secret_header", signature_header="X-Secret")

    assert proven(by_header, came({"x-secret": SECRET}))
    assert not proven(by_header, came({"x-secret": SECRET[:-1]}))


@pytest.mark.parametrize("told", ["\udcff", "Basic \udcff", "sha256=\udcff", "é", " ", "Basic"])
@pytest.mark.parametrize("auth", ["basic", "hmac_sha256", "secret_header"])
def test_a_proof_that_is_no_text_proves_nothing(auth: str, told: str) -> None:
    """It is what bytes beyond ASCII in a header become."""
    header = None if auth == "basic" else "X-Proof"

    assert not proven(rule(auth=auth, signature_header=header), came({"x-proof": told, "authorization": told}))


def test_a_client_without_a_secret_is_told_nothing() -> None:
    """An empty one would be known to everybody."""
    signed = rule(auth="hmac_sha256", signature_header="X-Signature")

    assert not is_proven(signed, came({"x-signature": signature(secret="").hex()}), client_id=ID, client_secret="")


def test_it_is_about_the_values_that_it_names() -> None:
    assert about(rule(), came({})) == About(None, {"company": ["42"]})
    assert about(rule(matches={"ref": "user.ids.0"}), came({})) == About("u1", {})
    assert about(rule(), came({}, b"company_id=42")) == About(None, {"company": ["42"]})


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"company_id": true}', b'{"company_id": "a\\u0000b"}', b"", b"\xff"])
def test_what_does_not_say_whose_it_is_is_about_nobody(body: bytes) -> None:
    assert about(rule(), came({}, body)) is None


def test_a_rule_may_be_for_some_notices_alone() -> None:
    assert about(rule(where={"event": "app.*"}), came({})) is not None
    assert about(rule(where={"event": "deal.*"}), came({})) is None


def test_it_arrives_by_post_or_delete() -> None:
    with pytest.raises(ValidationError, match='method must be "POST" or "DELETE"'):
        rule(method="GET")


@given(st.binary())
def test_whatever_comes_is_kept_as_it_came_and_read_without_an_error(body: bytes) -> None:
    arrived = came({"authorization": "x"}, body)

    assert Came.read(arrived.written()) == arrived
    about(rule(matches={"a": "a.0.b"}), arrived)


def test_no_secret_of_it_is_shown() -> None:
    assert SECRET not in repr(came({"x-secret": SECRET}, SECRET.encode()))
