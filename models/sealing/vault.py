"""Seal and open secrets: AES-256-GCM, a key for every row, bytes bound to their row and purpose.

Layout and derivation are a promise to applications in any language: docs/reference/sealed-format.md.
Refresh tokens and other secrets of ours are sealed under the refresh ring, access tokens and codes under the
access ring; the errors are drawn in models/sealing/keys.py. Nothing here repeats key material or plain text.
"""

from ssl import RAND_bytes
from typing import Self

from models.sealing.keys import (
    VARIABLES,
    KeyMissing,
    KeyRing,
    KeysError,
    NotText,
    RingKey,
    SealBroken,
    VaultError,
    is_key_id,
    read_ring,
)
from settings import Settings

__all__ = ["KeyMissing", "KeyRing", "KeysError", "NotText", "SealBroken", "Vault", "VaultError", "key_id"]

VERSION = b"\x01"
NONCE_BYTES = 12
TAG_BYTES = 16

REFRESH_PURPOSES = frozenset({"refresh", "secret", "verifier", "journal", "account"})
ACCESS_PURPOSES = frozenset({"access", "code", "pkce", "notice"})


class Vault:
    """Seals and opens for this process, with the rings it was given; either ring may be absent."""

    def __init__(self, refresh: KeyRing | None, access: KeyRing | None) -> None:
        self.refresh = refresh
        self.access = access

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read both rings from the settings, each from its variable, file or command; unset means absent.

        Raises:
            KeysError: a ring cannot be had or used; the message names the variable.

        """
        return cls(refresh=read_ring("refresh", settings), access=read_ring("access", settings))

    def seal(self, plaintext: str, *, table: str, row_id: object, purpose: str) -> bytes:
        """Encrypt under the active key, bound to table, row, purpose and key.

        Raises:
            KeysError: this process holds no ring for that purpose.
            NotText: the secret is no Unicode text.

        """
        key = self._ring_for(purpose).active
        place = _place(table, row_id, purpose)
        nonce = new_nonce()
        sealed = key.cipher(place).encrypt(nonce, _encode(plaintext), _bound_to(place, key.key_id))
        return VERSION + key.label + nonce + sealed

    def open(self, sealed: bytes | memoryview, *, table: str, row_id: object, purpose: str) -> str:
        """Decrypt what `seal` made for the same table, row and purpose.

        Raises:
            KeyMissing: the key is not in the ring of that purpose.
            SealBroken: damaged, or sealed for another row or purpose.

        """
        sealed = bytes(sealed)
        name = key_id(sealed)
        key = self._find(name, purpose)
        place = _place(table, row_id, purpose)
        start = 2 + len(name)
        nonce, ciphertext = sealed[start : start + NONCE_BYTES], sealed[start + NONCE_BYTES :]
        try:
            return key.cipher(place).decrypt(nonce, ciphertext, _bound_to(place, name)).decode()
        except (_invalid_tag(), UnicodeDecodeError):
            message = f"sealed bytes of {table} ({purpose}) do not open: damaged or moved from another row"
            raise SealBroken(message) from None

    def is_current(self, sealed: bytes | memoryview, *, purpose: str) -> bool:
        """Whether it was sealed with the active key, so that it need not be sealed anew.

        Raises:
            KeysError: this process holds no ring for that purpose.
            SealBroken: these are no sealed bytes.

        """
        return key_id(sealed) == self._ring_for(purpose).active.key_id

    def fingerprint(self, token: str, *, purpose: str = "refresh") -> bytes:
        """Recognise a token without keeping it: key id and 16 bytes of HMAC, under the active key.

        Raises:
            KeysError: this process holds no ring for that purpose.

        """
        return self._ring_for(purpose).active.fingerprint(_lenient(token))

    def fingerprints(self, token: str) -> list[bytes]:
        """What `fingerprint` gave or gives under every key of the ring, the active one first: for look-ups.

        Raises:
            KeysError: this process holds no refresh key ring.

        """
        return [key.fingerprint(_lenient(token)) for key in self._ring_for("refresh").keys]

    def mark(self, text: str) -> str:
        """Tell two texts apart without telling either: 8 hexadecimal digits of a keyed hash, under the active key.

        Raises:
            KeysError: this process holds no refresh key ring.

        """
        return self.fingerprint(f"mark:{text}")[-4:].hex()

    def _ring_for(self, purpose: str) -> KeyRing:
        name, ring = self._named_ring(purpose)
        if ring is None:
            variable = VARIABLES[name]
            message = f"this process holds no {name} key ring; set {variable} or {variable}_FILE"
            raise KeysError(message)
        return ring

    def _find(self, name: str, purpose: str) -> RingKey:
        ring_name, ring = self._named_ring(purpose)
        key = ring.get(name) if ring else None
        if key is None:
            raise KeyMissing(name, ring_name)
        return key

    def _named_ring(self, purpose: str) -> tuple[str, KeyRing | None]:
        if purpose in REFRESH_PURPOSES:
            return "refresh", self.refresh
        if purpose in ACCESS_PURPOSES:
            return "access", self.access
        message = f"unknown purpose {purpose!r}"
        raise ValueError(message)

    def __repr__(self) -> str:
        return f"Vault(refresh={self.refresh!r}, access={self.access!r})"


def new_nonce() -> bytes:
    """The random bytes of one sealing.

    From OpenSSL: `os.urandom` lets go of the interpreter's lock for them, and a worker whose threads are all at work
    waits 0.1 ms until it has the lock again.
    """
    return RAND_bytes(NONCE_BYTES)


def key_id(sealed: bytes | memoryview) -> str:
    """The id of the key that sealed these bytes.

    Raises:
        SealBroken: these are no sealed bytes.

    """
    head = bytes(sealed[: 2 + 64])
    name = head[2 : 2 + head[1]].decode("ascii", "replace") if len(head) > 1 else ""
    if (
        head[:1] != VERSION
        or not is_key_id(name)
        or len(name) != head[1]
        or len(sealed) < 2 + len(name) + NONCE_BYTES + TAG_BYTES
    ):
        message = "these are no sealed bytes of version 1"
        raise SealBroken(message)
    return name


def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag


def _place(table: str, row_id: object, purpose: str) -> bytes:
    # A row id may hold colons, the names before and after it may not: so no two places read alike.
    if ":" in table or not table:
        message = f"unusable table name {table!r}"
        raise ValueError(message)
    return f"{table}:{row_id}:{purpose}".encode()


def _bound_to(place: bytes, name: str) -> bytes:
    return place + b":" + name.encode("ascii")


def _encode(plaintext: str) -> bytes:
    try:
        return plaintext.encode()
    except UnicodeEncodeError:
        # The codec's own error carries the whole text.
        message = "the secret holds a lone surrogate and is no Unicode text"
        raise NotText(message) from None


def _lenient(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")
