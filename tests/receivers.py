"""A receiver of webhooks over HTTP, which verifies what it gets with the official library, and does what it is told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRET_2 = "whsec_" + "c2VjcmV0LXR3by1zZWNyZXQtdHdvLXNlY3JldC0y"
VERIFIED, FORGED = "verified", "forged"

Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (204, {}, b"")


@dataclass
class Got:
    """One request: whether its signature is good, its body, and when it came."""

    path: str
    verdict: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    status: int = 0


@dataclass
class Receiver:
    """What was received, in its order; `behave` says what is answered, and may take its time."""

    behave: Callable[[Got], Answer] = lambda _: OK
    secret: str = SECRET
    got: list[Got] = field(default_factory=list)
    url: str = ""
    ended: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path: str, headers: dict[str, str], raw: bytes) -> Answer:
        try:
            body, verdict = Webhook(self.secret).verify(raw, headers), VERIFIED
        except WebhookVerificationError:
            body, verdict = json.loads(raw), FORGED
        got = Got(path, verdict, headers, body, time.time())
        with self._lock:
            self.got.append(got)
        answer = self.behave(got)
        got.status = answer[0]
        return answer

    @property
    def taken(self) -> list[dict[str, Any]]:
        """Bodies of what was verified and answered with 2xx."""
        return [each.body for each in list(self.got) if each.verdict == VERIFIED and 200 <= each.status < 300]

    def types(self) -> list[str]:
        return [each["type"] for each in self.taken]


@contextmanager
def receiving(behave: Callable[[Got], Answer] = lambda _: OK, *, secret: str = SECRET) -> Iterator[Receiver]:
    """Receive on loopback until the end of the block."""
    receiver = Receiver(behave, secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if receiver.ended:  # on a connection that is kept
                self.close_connection = True
                return
            status, more, body = receiver.take(self.path, headers, raw)
            try:
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # whoever sent it waits no longer
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Tests say what they saw."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            """A sender that was killed resets its connections."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ended = True
        server.shutdown()
        server.server_close()
        thread.join(10)
