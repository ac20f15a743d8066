"""Size of an answer: counted as it comes, from the first byte of its head to the last one of its trailers.

A provider may send what it likes and then be silent until the deadline; what it has said until then lies in our
memory, once for each request under way. The library's limits are a line's and a number of lines, and it takes 200
answers of 255 lines of 32 KiB for three gigabytes.
"""

import re
from select import POLLIN, poll
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
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
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
INTERIM: Final = range(100, 200)  # statuses (RFC 9110 §15.2)


class TooLarge(aiohttp.ClientError):
    """An answer is longer than it may be; of a class that aiohttp does not take as a reason to send again."""


class SizedAnswers(ResponseHandler):
    """A connection that is cut where an answer is too large; what was whole by then is handed over still."""

    is_kept = False  # there was an answer on it before

    def set_response_params(self, **params: Any) -> None:
        """Begin to count, for the next answer."""
        self.is_kept, self._is_used = self._is_used, True
        self._left, self._lines, self._before, self._has_head = ANSWER_LIMIT, 0, b"", False
        super().set_response_params(**params)

    _is_used = False
    _left = ANSWER_LIMIT  # what is said before anybody asked is counted as well
    _lines = 0
    _before = b""  # what came last of a head that is not whole
    _has_head = False

    @property
    def is_silent(self) -> bool:
        """Whether nothing was said on it, its end neither, since the last answer; what nobody has read yet counts."""
        if self.should_close or not self.is_connected() or self._left < ANSWER_LIMIT:
            return False
        assert self.transport is not None  # noqa: S101  # it is connected
        unread = poll()
        unread.register(self.transport.get_extra_info("socket").fileno(), POLLIN)
        return not unread.poll(0)

    def data_received(self, data: bytes) -> None:
        """Take what came, as far as it may come."""
        if not data:  # what was held back goes on
            super().data_received(data)
            return
        allowed, self._left = data[: self._left], self._left - len(data)
        for start in range(0, len(allowed), PIECE):
            self._take(allowed[start : start + PIECE])
            if self.exception() is not None:
                return
        if self._left < 0:
            self._left = 0
            self._cut()

    def _take(self, piece: bytes) -> None:
        """Give the parser each head by itself: of what it refuses it gives nothing, not the answer before it either.

        So what a server says behind a whole answer costs that answer, or does not, by how TCP cuts it into pieces.
        """
        while piece and self.exception() is None:
            end = len(piece) if self._has_head else self._end_of_head(piece)
            super().data_received(piece[:end])
            piece = piece[end:]
            if self._lines > LINES_LIMIT and self.exception() is None:
                self._cut()

    def _end_of_head(self, piece: bytes) -> int:
        found = _BLANK_LINE.search(self._before + piece)
        end = len(piece) if found is None else found.end() - len(self._before)
        self._before = (self._before + piece)[-2:] if found is None else b""
        return end

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Count the lines of a head that is whole."""
        head = data[0]
        self._lines += len(head.raw_headers) + (head.code in INTERIM)
        self._has_head = head.code not in INTERIM
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Say in one class what the library says of a line that is too long, or of too many.

        Whoever reads a body that the parser refuses is told nothing by it, and would wait for the deadline.
        """
        if isinstance(exc_cause, LineTooLong) or str(exc_cause).find(TOO_MANY) >= 0:
            self._cut()
            return
        if isinstance(exc, HttpProcessingError) and self._payload is not None and not self._payload.is_eof():
            set_exception(self._payload, aiohttp.ClientPayloadError())
        if exc_cause is None:
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
