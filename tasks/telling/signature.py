"""Signatures of Standard Webhooks, version 1: pure, no clock, no keys of ours.

A secret is written as `whsec_` and the base64 of 24 to 64 random bytes. What is signed is `id.timestamp.body`; the
header holds a signature for each secret, with spaces between, and a receiver takes one that it knows
(https://www.standardwebhooks.com).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

PREFIX: Final = "whsec_"
LENGTHS: Final = range(24, 65)  # bytes


class BadSecret(ValueError):
    """It is not `whsec_` and the base64 of 24 to 64 bytes."""

    error = "webhook_secret"
    next = "write `whsec_` and the base64 of 24 to 64 random bytes"

    def __str__(self) -> str:
        return "it " + str(self.__doc__).removeprefix("It ").removesuffix(".").replace("`", "")


def key_of(secret: str) -> bytes:
    """The bytes that a secret stands for.

    Raises:
        BadSecret: it stands for none.

    """
    if not secret.startswith(PREFIX):
        raise BadSecret
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret from None
    if len(key) not in LENGTHS:
        raise BadSecret
    return key


def headers(secrets: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The three headers of a message, signed with each of these secrets; `timestamp` in seconds since 1970."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [_signature(key_of(each), signed) for each in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")
