"""Key rings: keys by id, read from text or settings, and what may be wrong with them.

    VaultError
    ├── KeysError    a ring is absent or cannot be used
    │   └── RingOpen    others may read or write it
    ├── KeyMissing   a row was sealed with a key that no ring here holds: never send it, never blame it
    ├── SealBroken   the bytes are damaged, or were sealed for another row or purpose
    └── NotText      what should be sealed is no Unicode text

No message, repr or traceback of this module repeats key material or plain text.
"""

import base64
import binascii
import hmac
import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import settings as configuration
from settings import Settings, open_to_others

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
COMMAND_SECONDS = 60  # a person may have to touch a card
_KEPT: dict[str, str] = {}  # what commands have printed in this process
FINGERPRINT_BYTES = 16
VARIABLES = {"refresh": "EVERGRANT_REFRESH_TOKEN_KEYS", "access": "EVERGRANT_ACCESS_TOKEN_KEYS"}

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def variable_of(ring: str) -> str:
    """The variable that says here where a ring is; where none does, the one that names a file."""
    here = configuration.current()
    ways = {"": "", "_FILE": "_file", "_COMMAND": "_command"}
    is_set = (end for end, name in ways.items() if getattr(here, f"{ring}_token_keys{name}") is not None)
    return VARIABLES[ring] + next(is_set, "_FILE")


class VaultError(Exception):
    """Something cannot be sealed or opened."""

    error = "keys"
    next = "see `evergrant keys list` and correct the key ring"


class KeysError(VaultError):
    """A key ring is absent or cannot be used; the message names the setting or the line."""


class RingOpen(KeysError):
    """Others may read or write a key ring, or it is somebody else's: it is not used."""

    error = "ring_open"
    next = "close it to others, then make new keys if somebody may have read it (docs/howto/rotate-keys.md)"


class KeyMissing(VaultError):
    """A row was sealed with a key that is not in the ring: the row is neither sent nor blamed."""

    def __init__(self, key_id: str, ring: str) -> None:
        super().__init__(f"the key {key_id!r} is not in the {ring} key ring; add it to {variable_of(ring)}")
        self.key_id = key_id
        self.ring = ring


class SealBroken(VaultError):
    """Sealed bytes do not open: damaged, or sealed for another row or purpose."""


class NotText(VaultError):
    """The secret holds a lone surrogate and is no Unicode text."""


@dataclass(frozen=True, slots=True)
class RingKey:
    """One key of a ring, kept as keyed HMACs of the HKDF pseudo-random keys that are derived from it."""

    key_id: str
    label: bytes  # how sealed bytes and fingerprints name it
    _prk: hmac.HMAC = field(repr=False)
    _fingerprint: hmac.HMAC = field(repr=False)

    @classmethod
    def from_material(cls, key_id: str, material: bytes) -> Self:
        """Take 32 random bytes; HKDF's extract step (RFC 5869 §2.2, no salt) is done once, here."""
        prk = _keyed(hmac.digest(bytes(32), material, "sha256"))
        return cls(key_id, label(key_id), prk, _keyed(_expand(prk, b"fingerprint")))

    def cipher(self, info: bytes) -> "AESGCM":
        """The AES-256-GCM key of one row and purpose."""
        return _aes_gcm()(_expand(self._prk, info))

    def fingerprint(self, token: bytes) -> bytes:
        """Name the key and give 16 bytes of HMAC-SHA256 of the token."""
        return self.label + _digest(self._fingerprint, token)[:FINGERPRINT_BYTES]


@cache
def _aes_gcm() -> "type[AESGCM]":
    # Most commands hold rings and seal nothing: the import costs them 25 ms.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM


def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def _expand(prk: hmac.HMAC, info: bytes) -> bytes:
    """HKDF-SHA256's expand step for 32 bytes (RFC 5869 §2.3).

    One HMAC: half the time of the library's HKDF object, and it runs for every token sealed or opened.
    """
    return _digest(prk, info + b"\x01")


def _digest(keyed: hmac.HMAC, message: bytes) -> bytes:
    """HMAC of one short message, by a copy of what is keyed already.

    `hmac.digest` lets go of the interpreter's lock for it, and a worker whose threads are all at work waits up to 5 ms
    until it has the lock again: 0.4 ms a call where it was measured, for 1 µs of work.
    """
    copy = keyed.copy()
    copy.update(message)
    return copy.digest()


def is_key_id(text: str) -> bool:
    """Whether it may name a key: 1 to 64 ASCII letters, digits, dots, dashes or underscores."""
    return _KEY_ID.fullmatch(text) is not None


def label(key_id: str) -> bytes:
    """One byte of length, then the key id: how sealed bytes and fingerprints name their key."""
    return bytes((len(key_id),)) + key_id.encode("ascii")


class KeyRing:
    """Keys by id; the first one seals, all of them open."""

    def __init__(self, keys: list[RingKey]) -> None:
        self._keys = {key.key_id: key for key in keys}
        self.active = keys[0]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read lines `id:base64` of 32 bytes, the active key first; blank lines and `#` lines are skipped.

        Raises:
            KeysError: a line cannot be used, an id is there twice, or there is no key at all.

        """
        keys: dict[str, RingKey] = {}
        for number, raw in enumerate(text.splitlines(), start=1):
            line = raw.strip()
            if line and not line.startswith("#"):
                key = _parse_line(line, number)
                if key.key_id in keys:
                    message = f"line {number} repeats the key id {key.key_id!r}; ids must differ"
                    raise KeysError(message)
                keys[key.key_id] = key
        if not keys:
            message = (
                "there is no key in it; put its lines back, or for a new database make one with"
                " `evergrant keys generate`"
            )
            raise KeysError(message)
        return cls(list(keys.values()))

    @staticmethod
    def generate_line(key_id: str) -> str:
        """Make a new random key as the line that `parse` reads.

        Raises:
            KeysError: the id cannot be used.

        """
        if not is_key_id(key_id):
            message = "a key id is 1 to 64 letters, digits, dots, dashes or underscores"
            raise KeysError(message)
        return f"{key_id}:{base64.b64encode(os.urandom(KEY_BYTES)).decode('ascii')}"

    @property
    def ids(self) -> list[str]:
        """Every key id, the active one first."""
        return list(self._keys)

    @property
    def keys(self) -> list[RingKey]:
        """Every key, the active one first."""
        return list(self._keys.values())

    def get(self, key_id: str) -> RingKey | None:
        """The key of that id, where the ring holds it."""
        return self._keys.get(key_id)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"


def _parse_line(line: str, number: int) -> RingKey:
    key_id, colon, encoded = line.partition(":")
    # A bare key, or id and key in the wrong order: so nothing of a bad line is repeated.
    if not colon:
        message = f"line {number} is not of the form id:base64"
        raise KeysError(message)
    if not is_key_id(key_id):
        message = f"line {number} has an unusable key id: 1 to 64 letters, digits, dots, dashes or underscores"
        raise KeysError(message)
    try:
        material = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        message = f"line {number} holds a key that is not base64"
        raise KeysError(message) from None
    if len(material) != KEY_BYTES:
        message = f"line {number} holds a key of {len(material)} bytes instead of {KEY_BYTES}"
        raise KeysError(message)
    return RingKey.from_material(key_id, material)


def read_ring(name: str, settings: Settings) -> KeyRing | None:
    """Read the ring `refresh` or `access` from the variable, the file or the command of its setting; none set: no ring.

    Raises:
        KeysError: several are set, it cannot be had, or it cannot be used.

    """
    variable, inline = VARIABLES[name], getattr(settings, f"{name}_token_keys")
    path, command = (getattr(settings, f"{name}_token_keys_{how}") for how in ("file", "command"))
    given = {variable: inline, f"{variable}_FILE": path, f"{variable}_COMMAND": command}
    if len(names := [each for each, value in given.items() if value is not None]) > 1:
        message = f"{' and '.join(names)} are both set; keep one of them"
        raise KeysError(message)
    if inline is not None:
        return _parse_ring(variable, inline.get_secret_value())
    if path is not None:
        return _parse_ring(f"{variable}_FILE", _read(f"{variable}_FILE", path))
    if command is not None:
        return _parse_ring(f"{variable}_COMMAND", _printed(f"{variable}_COMMAND", command))
    return None


def _printed(variable: str, command: str) -> str:
    """What the command prints; its own complaints go to our standard error, where whoever starts us sees them.

    Once a process: a key service may count its calls, and a card may ask for a touch.
    """
    if command in _KEPT:
        return _KEPT[command]
    try:
        words = shlex.split(command)
        done = subprocess.run(  # noqa: S603  # the operator's own command, without a shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False
        )
        text = done.stdout.decode("utf-8")
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        message = f"{variable}: its command gave no key ring ({_why(error)})"
        raise KeysError(message) from None
    if done.returncode:
        message = f"{variable}: its command failed (exit code {done.returncode}); run it by hand to see why"
        raise KeysError(message)
    return _KEPT.setdefault(command, text)


def _why(error: Exception) -> str:
    """A short reason, without what was printed."""
    match error:
        case OSError(strerror=str(reason)):
            return reason
        case subprocess.TimeoutExpired():
            return f"it ran for more than {COMMAND_SECONDS} s"
        case UnicodeDecodeError():
            return "what it printed is no text"
        case _:
            return "it is no command line"


def _read(variable: str, path: Path) -> str:
    try:
        if (fault := open_to_others(path, holds_secret=True)) is not None:
            message = f"{variable}: {fault}"
            raise RingOpen(message)
        return path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"{variable}: cannot read {path}: {error.strerror}"
        raise KeysError(message) from None
    except UnicodeDecodeError:
        message = f"{variable}: {path} is not a text file"
        raise KeysError(message) from None


def _parse_ring(variable: str, text: str) -> KeyRing:
    try:
        return KeyRing.parse(text)
    except KeysError as error:
        message = f"{variable}: {error}"
        raise KeysError(message) from None
