"""Codings: what a body was compressed with though nobody asked for it, undone (RFC 9110 §8.4, RFC 9112 §7).

What cannot be undone stays as it came, so that nothing is lost.
"""

import re
import zlib
from collections.abc import Mapping
from typing import Final

from tasks.oauth.answer_size import ANSWER_LIMIT, TooLarge
from tasks.oauth.whole_answer import is_whole_json

DEFLATING: Final = ("gzip", "x-gzip", "deflate")
CODINGS_LIMIT: Final = 4  # of one body
MEMBERS_LIMIT: Final = 64  # of one gzip body: each costs a copy of all that follows it
GZIP: Final = b"\x1f\x8b"  # how a member begins (RFC 1952 §2.3.1)
EITHER: Final = zlib.MAX_WBITS | 32  # gzip or zlib, told by the first bytes
RAW: Final = -zlib.MAX_WBITS  # without zlib's frame, as some understand `deflate`
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def decoded(body: bytes, headers: Mapping[str, str]) -> tuple[bytes, bool]:
    """Undo the codings of a body; also tells whether it is encoded still, so that nobody can say what it says.

    Raises:
        TooLarge: it blows up.

    """
    codings = _told(headers.get("content-encoding", "")) + _told(headers.get("transfer-encoding", ""))
    if body.startswith(GZIP) and not any(coding in DEFLATING for coding in codings):
        codings.append("gzip")
    if len(codings) > CODINGS_LIMIT:
        return body, True
    plain = body
    while codings and not _is_text(plain):  # it is text where a proxy has undone a coding and left the header
        inflated = _inflated(plain, codings.pop())
        if inflated is None:
            return body, True
        plain = inflated
    return plain, False


def _told(header: str) -> list[str]:
    """The codings that a header names, in the order in which they were applied."""
    named = [each.strip().lower() for each in header.split(",")]
    return [each for each in named if each not in ("", "identity", "chunked")]


def _is_text(body: bytes) -> bool:
    """Whether nothing is compressed here: that would not be UTF-8 without control characters."""
    try:
        body.decode()
    except ValueError:
        return False
    return _CONTROL.search(body) is None


def _inflated(body: bytes, coding: str) -> bytes | None:
    if coding not in DEFLATING:
        return None
    plain, is_whole = _members(body, EITHER)
    if plain is None and coding == "deflate":
        plain, is_whole = _members(body, RAW)
    # Cut before its checksum a token set is a token set still.
    return plain if plain is not None and (is_whole or is_whole_json(plain)) else None


def _members(body: bytes, wbits: int) -> tuple[bytes | None, bool]:
    """Inflate all that is in there, and whether it came to its end; None: it is not compressed in this way."""
    plain = b""
    for _ in range(MEMBERS_LIMIT):
        inflater = zlib.decompressobj(wbits)
        try:
            plain += inflater.decompress(body, ANSWER_LIMIT + 1 - len(plain))
        except zlib.error:
            return plain or None, False
        if len(plain) > ANSWER_LIMIT:
            raise TooLarge
        body = inflater.unused_data
        if not inflater.eof or not body.startswith(GZIP):  # else it is padding
            return plain, inflater.eof
    return plain, False
