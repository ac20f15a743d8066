"""A private key of ours: what is taken, what is not and why, and its name."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from jwcrypto import jwk  # type: ignore[import-untyped]

from tasks.oauth import client_key
from tasks.oauth.errors import ClientKeyError
from tests.client_keys import DAY, certificate_of, pem_of
from worker.cli.clients.generate_key import ALGORITHMS

NOW = datetime.now(UTC)
EC = client_key.made("ES256")
KEYS: dict[str, Callable[[], object]] = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_key_signs_by_its_kind_and_is_named_by_its_thumbprint(algorithm: str) -> None:
    key = client_key.read(pem_of(KEYS[algorithm]()), certified=False)
    assert key.algorithm == algorithm
    assert key.key_id == jwk.JWK.from_pem(key.pem.encode()).thumbprint()
    assert client_key.read(key.pem, certified=False).key_id == key.key_id


@pytest.mark.parametrize("algorithm", client_key.MADE)
def test_a_key_that_we_make_is_one_that_we_take_and_its_public_half_holds_nothing_private(algorithm: str) -> None:
    made = client_key.made(algorithm)
    assert client_key.read(made.pem, certified=False).algorithm == algorithm
    assert set(made.public_jwk) <= {"kty", "n", "e", "crv", "x", "y", "kid", "alg", "use"}


def test_the_command_offers_what_can_be_made() -> None:
    assert set(ALGORITHMS) == set(client_key.MADE)
    assert len(get_args(client_key.PrivateKey)) == 3


def encrypted() -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x"))
    return EC.private_key.private_bytes(*form).decode()


def encrypted_in_the_old_form() -> str:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"x")).decode()


def public() -> str:
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return EC.private_key.public_key().public_bytes(*form).decode()


WRONG: dict[str, tuple[Callable[[], str], str]] = {
    "a public key": (public, "public key"),
    "a certificate alone": (lambda: certificate_of(EC), "certificate and no private key"),
    "an encrypted key": (encrypted, "encrypted"),
    "an encrypted key in the old form": (encrypted_in_the_old_form, "encrypted"),
    "a short RSA key": (lambda: pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "1024 bits"),  # noqa: S505
    "a DSA key": (lambda: pem_of(dsa.generate_private_key(2048)), "DSA"),
    "a key that signs nothing": (lambda: pem_of(x25519.X25519PrivateKey.generate()), "X25519"),
    "a key on another curve": (lambda: pem_of(ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
    "garbage": (lambda: "s3cret", "no private key"),
    "garbage in PEM": (lambda: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "cannot be read"),
    "nothing": (lambda: "", "no private key"),
    "two keys": (lambda: EC.pem + client_key.made("ES256").pem, "2 private keys"),
    "a key and a certificate": (lambda: EC.pem + certificate_of(EC), "certificate as well"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_key_to_sign_with_is_told_in_one_sentence(kind: str) -> None:
    text, told = WRONG[kind]
    with pytest.raises(ClientKeyError, match=told) as caught:
        client_key.read(text(), certified=False)
    assert "\n" not in str(caught.value)
    assert "BEGIN PRIVATE KEY-----\n" not in str(caught.value)


WITHOUT: dict[str, tuple[Callable[[], str], str]] = {
    "a key alone": (lambda: EC.pem, "no certificate"),
    "another's certificate": (lambda: EC.pem + certificate_of(client_key.made("ES256")), "not made for this"),
    "one that has ended": (lambda: EC.pem + certificate_of(EC, begins=-9 * DAY, ends=-DAY), "not now"),
    "one that has not begun": (lambda: EC.pem + certificate_of(EC, begins=DAY, ends=9 * DAY), "not now"),
    "one that is broken": (
        lambda: EC.pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "cannot be read",
    ),
}


@pytest.mark.parametrize("kind", WITHOUT)
def test_what_shows_no_certificate_that_is_good_now_is_told_in_one_sentence(kind: str) -> None:
    text, told = WITHOUT[kind]
    with pytest.raises(ClientKeyError, match=told):
        client_key.read(text(), certified=True, at=NOW)


def test_a_certificate_stands_before_or_behind_its_key_and_those_who_issued_it_follow() -> None:
    ours, issuer = certificate_of(EC), certificate_of(client_key.made("RS256"), name="who issued it")
    for text in (EC.pem + ours + issuer, ours + issuer + EC.pem):
        key = client_key.read(text, certified=True, at=NOW)
        assert len(key.certificates) == 2
        assert key.ends_at is not None
        assert NOW + DAY - timedelta(seconds=1) < key.ends_at <= datetime.now(UTC) + DAY
        assert client_key.read(key.pem, certified=True).identity == key.identity


def test_two_certificates_of_one_key_are_two_identities() -> None:
    first, second = (client_key.read(EC.pem + certificate_of(EC), certified=True) for _ in range(2))
    assert first.identity != second.identity
