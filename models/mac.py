"""HMAC-SHA256 (RFC 2104) under one key, many times: what depends on the key alone is computed once.

`hmac.digest` looks for the hash by its name, and hashes the key twice, at each call: more than half of what it costs
for the few bytes of a token's place.
"""

import hashlib
from typing import Final

BLOCK_BYTES: Final = 64
_INNER = bytes(each ^ 0x36 for each in range(256))
_OUTER = bytes(each ^ 0x5C for each in range(256))


class Mac:
    """The two hashes of one key, begun; it neither shows the key nor keeps it."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > BLOCK_BYTES:
            message = f"a key of at most {BLOCK_BYTES} bytes is needed"
            raise ValueError(message)
        block = key.ljust(BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        """The 32 bytes for a message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()
