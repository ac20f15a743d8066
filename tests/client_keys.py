"""Private keys and client certificates of tests."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from tasks.oauth import client_key
from tasks.oauth.client_key import ClientKey

DAY = timedelta(days=1)


def pem_of(key: object) -> str:
    """Any private key as PEM."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return str(key.private_bytes(*form).decode())  # type: ignore[attr-defined]


def certificate_of(key: ClientKey, *, name: str = "our client", begins: timedelta = -DAY, ends: timedelta = DAY) -> str:
    """A certificate that a client has signed for itself, as PEM; good from now + `begins` to now + `ends`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signing = None if key.algorithm == "EdDSA" else hashes.SHA256()
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key.private_key, signing)
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def with_certificate(name: str = "our client", *, ends: timedelta = DAY) -> ClientKey:
    """A new key with a certificate of its own."""
    key = client_key.made("ES256")
    return client_key.read(key.pem + certificate_of(key, name=name, ends=ends), certified=True)
