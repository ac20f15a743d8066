"""Size of an answer: counted as it comes, from the first byte of its head to the last one of its trailers.

A provider may send what it likes and then be silent until the deadline; what it has said until then lies in our
memory, once for each request under way. The library's limits are a line's and a number of lines, and it takes 200
answers of 255 lines of 32 KiB for three gigabytes.
"""

import zlib
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import StreamReader

# Interim answers, chunk sizes and trailers are in it, too.
ANSWER_LIMIT: Final = 128 * 1024  # bytes
# aiohttp allows a header line 8190 bytes: a Content-Security-Policy may be longer, and the token set in the body
# would be lost with it.
LINE_LIMIT: Final = 16 * 1024  # bytes of a name and its value
LINES_LIMIT: Final = 100  # header lines and trailers; an interim answer's first line is one
# An interim answer takes 17 bytes on the wire and about a kilobyte once it is parsed: no more of them at once.
PIECE: Final = 8 * 1024
TOO_MANY: Final = "Too many headers"  # how aiohttp begins to say so


class TooLarge(aiohttp.ClientError):
    """An answer is longer than it may be; of a class that aiohttp does not take as a reason to send again."""


class SizedAnswers(ResponseHandler):
    """A connection that is cut where an answer is too large; what was whole by then is handed over still."""

    def set_response_params(self, **params: Any) -> None:
        """Begin to count, for the next answer."""
        self._left, self._lines = ANSWER_LIMIT, 0
        super().set_response_params(**params)

    _left = ANSWER_LIMIT  # what is said before anybody asked is counted as well
    _lines = 0

    def data_received(self, data: bytes) -> None:
        """Take what came, as far as it may come."""
        if not data:  # what was held back goes on
            super().data_received(data)
            return
        allowed, self._left = data[: self._left], self._left - len(data)
        for start in range(0, len(allowed), PIECE):
            super().data_received(allowed[start : start + PIECE])
            if self.exception() is not None:
                return
            if self._lines > LINES_LIMIT:
                self._cut()
                return
        if self._left < 0:
            self._left = 0
            self._cut()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Count the lines of a head that is whole."""
        head = data[0]
        self._lines += len(head.raw_headers) + (head.code < 200)  # noqa: PLR2004  # interim (RFC 9110 §15.2)
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Say in one class what the library says of a line that is too long, or of too many."""
        if isinstance(exc_cause, LineTooLong) or str(exc_cause).find(TOO_MANY) >= 0:
            self._cut()
        elif exc_cause is None:
            super().set_exception(exc)
        else:
            super().set_exception(exc, exc_cause)

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        if self._payload is not None and not self._payload.is_eof():
            set_exception(self._payload, TooLarge())
        super().set_exception(TooLarge())
        # Else the parser would say once more, of the end, that the answer is not whole.
        self._parser = self._payload = None


def inflated(body: bytes, headers: Mapping[str, str]) -> bytes:
    """Undo a compression that nobody asked for; what cannot be undone stays as it came, so that nothing is lost.

    Raises:
        TooLarge: it blows up.

    """
    if headers.get("content-encoding", "identity").strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: gzip or zlib, told by the first bytes
    try:
        plain = inflater.decompress(body, ANSWER_LIMIT + 1)
    except zlib.error:
        return body
    if len(plain) > ANSWER_LIMIT:
        raise TooLarge
    return plain if inflater.eof else body
