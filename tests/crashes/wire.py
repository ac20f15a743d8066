"""The connection to the provider under attack: struck between two bytes of a request or of an answer."""

from collections.abc import Callable
from typing import Any

from aiohttp import http_writer

from tasks.oauth.answer_size import SizedAnswers
from tests.crashes.strike import Striker

END_OF_HEAD = b"\r\n\r\n"


def install(striker: Striker) -> None:
    """Let every byte to and from providers pass by the fail-points. Our processes run no aiohttp server."""
    _install_requests(striker)
    _install_answers(striker)


def _install_requests(striker: Striker) -> None:
    write = http_writer.StreamWriter._write

    def _write(self: Any, chunk: Any) -> None:
        data = bytes(chunk)
        for point, upto in (("request.first_byte", 1), ("request.half", len(data) // 2)):
            if striker.wants(point):
                write(self, data[:upto])
                _hit(striker, point, self.transport)
                data = data[upto:]
        if self.transport is None or self.transport.is_closing():
            return  # cut just now; the protocol learns it from the loop
        write(self, data)
        _hit(striker, "request.whole", self.transport)

    def _writelines(self: Any, chunks: Any) -> None:
        _write(self, b"".join(bytes(chunk) for chunk in chunks))

    http_writer.StreamWriter._write = _write  # type: ignore[method-assign]
    http_writer.StreamWriter._writelines = _writelines  # type: ignore[method-assign]


def _install_answers(striker: Striker) -> None:
    received = SizedAnswers.data_received

    def data_received(self: Any, data: bytes) -> None:
        feed = _feeder(received, self)
        striker.hit("answer.arrived", wire=_cut(self.transport))
        head = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        if head >= len(END_OF_HEAD):
            for point, upto in (("answer.head", head), ("answer.half", (head + len(data)) // 2)):
                if striker.wants(point):
                    feed(data[:upto])
                    striker.hit(point, wire=_cut(self.transport))
                    data = data[upto:]
        feed(data)

    SizedAnswers.data_received = data_received  # type: ignore[method-assign]


def _feeder(received: Callable[[Any, bytes], None], protocol: Any) -> Callable[[bytes], None]:
    def feed(data: bytes) -> None:
        if protocol.transport is not None and not protocol.transport.is_closing():
            received(protocol, data)

    return feed


def _hit(striker: Striker, point: str, transport: Any) -> None:
    striker.hit(point, wire=_cut(transport))


def _cut(transport: Any) -> Callable[[], None]:
    return transport.abort if transport is not None else lambda: None
