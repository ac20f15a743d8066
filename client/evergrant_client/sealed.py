"""Open sealed access tokens: the documented format (sealed-format in Evergrant's reference), nothing more.

Version 1: `0x01 | length of key id | key id | nonce (12) | ciphertext and tag`; AES-256-GCM; the key of a row is
HKDF-SHA256(ring key, info = table:row id:purpose), the associated data table:row id:purpose:key id.
"""

import base64
import binascii
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from evergrant_client.errors import CannotOpen, NotConfigured

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


class KeyRing:
    """Keys by id; a ring from a file is read again when a key is missing, since keys are rotated."""

    def __init__(self, read: Callable[[], str], *, name: str) -> None:
        self._read = read
        self._name = name
        self._keys = self._parsed()

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(sorted(self._keys))})"

    def find(self, key_id: str) -> bytes:
        """The key of this id.

        Raises:
            CannotOpen: it is not in the ring.

        """
        if key_id not in self._keys:
            self._keys = self._parsed()
        try:
            return self._keys[key_id]
        except KeyError:
            message = f"The key {key_id!r} is not in {self._name}: add it there; the newest keys are the workers'."
            raise CannotOpen(message) from None

    def _parsed(self) -> dict[str, bytes]:
        lines = [line.strip() for line in self._read().splitlines()]
        found = dict(_key(line, self._name) for line in lines if line and not line.startswith("#"))
        if not found:
            message = (
                f"{self._name} holds no key: it must be lines of id:base64, as `evergrant keys generate` makes them."
            )
            raise NotConfigured(message)
        return found


def _key(line: str, name: str) -> tuple[str, bytes]:
    key_id, _, encoded = line.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if not key_id or len(key) != KEY_BYTES:
        message = f"{name} has a line that is no key: each must be id:base64 with {KEY_BYTES} bytes."
        raise NotConfigured(message)
    return key_id, key


def open_sealed(ring: KeyRing, sealed: bytes, *, row_id: str, table: str = "grants", purpose: str = "access") -> str:
    """Open sealed bytes of one row and purpose.

    Raises:
        CannotOpen: the key is missing, or the bytes are damaged or another row's.

    """
    start = 2 + (sealed[1] if len(sealed) > 1 else 0)
    if sealed[:1] != bytes((VERSION,)) or len(sealed) < start + NONCE_BYTES + TAG_BYTES:
        message = "These are no sealed bytes of version 1: a newer Evergrant needs a newer evergrant-client."
        raise CannotOpen(message)
    key_id = sealed[2:start].decode("ascii", "replace")
    place = f"{table}:{row_id}:{purpose}".encode()
    cipher = AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=place).derive(ring.find(key_id)))
    nonce, ciphertext = sealed[start : start + NONCE_BYTES], sealed[start + NONCE_BYTES :]
    try:
        return cipher.decrypt(nonce, ciphertext, place + b":" + key_id.encode()).decode()
    except (InvalidTag, UnicodeError):
        message = "The sealed token does not open: it is damaged, or the ring holds another key under the same id."
        raise CannotOpen(message) from None
