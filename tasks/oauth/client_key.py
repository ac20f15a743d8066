"""Client keys: a private key of ours, with its certificates where there are any, read from PEM and checked.

It signs assertions (RFC 7523 §2.2) or opens TLS (RFC 8705). Its id is the thumbprint of its public half (RFC 7638), so
that whoever registers the key and whoever signs with it need not agree on a name.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tasks.oauth.errors import ClientKeyError

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

LEAST_RSA_BITS: Final = 2048  # RFC 7518 §3.3
CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
THUMBPRINT_MEMBERS: Final = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
MADE: Final[dict[str, Callable[[], PrivateKey]]] = {
    "ES256": lambda: generate_private_key(SECP256R1()),
    "RS256": lambda: generate_rsa_key(public_exponent=65537, key_size=3072),
    "EdDSA": Ed25519PrivateKey.generate,
}
BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class ClientKey:
    """A private key that signs as `algorithm`, and the certificates that go with it, our own first."""

    private_key: PrivateKey = field(repr=False)
    algorithm: str
    key_id: str
    certificates: tuple[x509.Certificate, ...] = field(repr=False, default=())

    @property
    def public_jwk(self) -> dict[str, Any]:
        """Its public half, to be registered (RFC 7517)."""
        return _public_jwk(self.private_key) | {"kid": self.key_id, "alg": self.algorithm, "use": "sig"}

    @property
    def ends_at(self) -> datetime | None:
        """When its own certificate ends."""
        return self.certificates[0].not_valid_after_utc if self.certificates else None

    @property
    def identity(self) -> bytes:
        """What two clients share only where they show the same certificates, made for the same key."""
        shown = [certificate.fingerprint(hashes.SHA256()) for certificate in self.certificates]
        return b"".join([self.key_id.encode(), *shown])

    @property
    def pem(self) -> str:
        """The key, and then its certificates: what is sealed."""
        key = self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        shown = [certificate.public_bytes(serialization.Encoding.PEM) for certificate in self.certificates]
        return b"".join([key, *shown]).decode()


def made(algorithm: str) -> ClientKey:
    """Make a new key that signs as `ES256`, `RS256` or `EdDSA`."""
    return _of(MADE[algorithm](), ())


def read(text: str, *, certified: bool, at: datetime | None = None) -> ClientKey:
    """Read a private key, and certificates where it must be `certified`, from PEM.

    Args:
        text: the blocks, in any order but that certificates stand as they are sent: ours first, then who issued it.
        certified: whether a certificate is needed; else there must be none, for it would not be shown to anybody.
        at: the time at which the certificate must be good; None: that is not asked.

    Raises:
        ClientKeyError: it is no such thing; the message says what is needed.

    """
    blocks = [(found[1], found[0]) for found in BLOCK.finditer(text)]
    keys = [block for block in blocks if block[0].endswith("PRIVATE KEY")]
    shown = [pem for kind, pem in blocks if kind == "CERTIFICATE"]
    if len(keys) != 1:
        raise ClientKeyError(_not_one_key(blocks, len(keys)))
    key = _of(_private_key(*keys[0]), _certificates(shown))
    if certified:
        _check_certificate(key, at)
    elif shown:
        message = "it holds a certificate as well, which private_key_jwt shows to nobody: put the key alone into it"
        raise ClientKeyError(message)
    return key


def _of(key: PrivateKey, certificates: Sequence[x509.Certificate]) -> ClientKey:
    return ClientKey(key, _algorithm(key), _thumbprint(key), tuple(certificates))


def _not_one_key(blocks: Sequence[tuple[str, str]], keys: int) -> str:
    if keys:
        return f"it holds {keys} private keys: leave the one that is meant"
    kinds = {kind for kind, _ in blocks}
    if any("PUBLIC KEY" in kind for kind in kinds):
        return "it holds a public key, and signing needs the private one"
    if "CERTIFICATE" in kinds:
        return "it holds a certificate and no private key: the key that it was made for is needed, too"
    return "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----)"


def _private_key(kind: str, pem: str) -> PrivateKey:
    if "ENCRYPTED" in kind or "Proc-Type: 4,ENCRYPTED" in pem:
        message = "its key is encrypted: decrypt it first (openssl pkey -in FILE -out PLAIN), it is sealed here"
        raise ClientKeyError(message)
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        message = "its private key cannot be read: a PEM of an RSA, EC (P-256, P-384, P-521) or Ed25519 key is needed"
        raise ClientKeyError(message) from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
        name = type(key).__name__.removeprefix("_").removesuffix("PrivateKey")
        message = f"its key is a {name} key, which signs nothing here: an RSA, EC or Ed25519 key is needed"
        raise ClientKeyError(message)
    return key


def _algorithm(key: PrivateKey) -> str:
    match key:
        case RSAPrivateKey() if key.key_size < LEAST_RSA_BITS:
            message = f"its RSA key has {key.key_size} bits: {LEAST_RSA_BITS} or more are needed"
            raise ClientKeyError(message)
        case RSAPrivateKey():
            return "RS256"
        case EllipticCurvePrivateKey() if key.curve.name in CURVES:
            return CURVES[key.curve.name]
        case EllipticCurvePrivateKey():
            message = f"its key is on the curve {key.curve.name}: P-256, P-384 or P-521 is needed"
            raise ClientKeyError(message)
        case _:
            return "EdDSA"


def _certificates(shown: Sequence[str]) -> list[x509.Certificate]:
    try:
        return [x509.load_pem_x509_certificate(pem.encode()) for pem in shown]
    except ValueError:
        message = "a certificate in it cannot be read"
        raise ClientKeyError(message) from None


def _check_certificate(key: ClientKey, at: datetime | None) -> None:
    if not key.certificates:
        message = "it holds no certificate: mtls needs the private key and, in PEM, the certificate made for it"
        raise ClientKeyError(message)
    ours = key.certificates[0]
    if _public_bytes(ours.public_key()) != _public_bytes(key.private_key.public_key()):
        message = "the first certificate was not made for this private key"
        raise ClientKeyError(message)
    if at is not None and not ours.not_valid_before_utc <= at < ours.not_valid_after_utc:
        message = (
            f"the certificate is good from {ours.not_valid_before_utc:%Y-%m-%d} to {ours.not_valid_after_utc:%Y-%m-%d}"
            " only, which is not now"
        )
        raise ClientKeyError(message)


def _public_bytes(key: Any) -> bytes:
    found: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return found


def _public_jwk(key: PrivateKey) -> dict[str, Any]:
    match key:
        case RSAPrivateKey():
            jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case EllipticCurvePrivateKey():
            jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case _:
            jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: value for name, value in jwk.items() if name in THUMBPRINT_MEMBERS[jwk["kty"]]}


def _thumbprint(key: PrivateKey) -> str:
    """RFC 7638 §3: the required members in order, without white space, by SHA-256."""
    plain = json.dumps(_public_jwk(key), sort_keys=True, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(plain.encode()).digest()).decode().rstrip("=")
