"""Port of the metrics: few at a time and none for long, for each costs this process a thread and a file.

Prometheus' own server takes whoever comes, a thread each, for as long as they like; any user of the machine may come,
and so may any page in a browser there. A worker whose files they hold reaches no provider.
"""

import socket
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore, Thread, Timer
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

AT_ONCE: Final = 16
LONGEST_SECONDS: Final = 5.0  # from the connection to the end of the answer


class _Few(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._room = BoundedSemaphore(AT_ONCE)
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Bind, and look up no name for the address: where no nameserver answers that takes ten seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Turn away who is one too many."""
        del request, client_address
        return self._room.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; where the system has none there is room again."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, or be cut off."""
        cut = Timer(LONGEST_SECONDS, _cut, [request])
        cut.daemon = True
        try:
            cut.start()
            super().process_request_thread(request, client_address)
        finally:
            cut.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """They have left, or were cut off: nobody needs to know."""


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # its name for it
        """Log nothing."""


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended in this moment
        connection.shutdown(socket.SHUT_RDWR)


def serve(registry: CollectorRegistry, address: str, port: int) -> int:
    """Serve a registry in a thread; returns the port.

    Raises:
        OSError: it is taken.

    """
    server = make_server(address, port, make_wsgi_app(registry), _Few, handler_class=_Silent)
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.server_port
