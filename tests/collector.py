"""A collector of spans over OTLP/HTTP, which reads what it gets with OpenTelemetry's own message types."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

ROOT = b""


@dataclass(frozen=True)
class Collected:
    """One span as it arrived, with what its process says of itself."""

    name: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    begun: int
    ended: int
    failed: bool
    facts: dict[str, Any]
    process: dict[str, Any]


class Collector:
    """What has arrived, in its order."""

    def __init__(self) -> None:
        self.url = ""
        self.paths: set[str] = set()
        self.raw = b""
        self.spans: list[Collected] = []
        self._lock = threading.Lock()

    def take(self, path: str, raw: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(raw)
        with self._lock:
            self.paths.add(path)
            self.raw += raw
            self.spans += spans_of(request)

    def traces(self) -> dict[bytes, list[Collected]]:
        """The spans of each trace, in the order in which they began."""
        found: dict[bytes, list[Collected]] = defaultdict(list)
        with self._lock:
            for span in sorted(self.spans, key=lambda each: each.begun):
                found[span.trace_id].append(span)
        return found


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Collected]:
    for of_process in request.resource_spans:
        process = plain(of_process.resource.attributes)
        for span in (each for scope in of_process.scope_spans for each in scope.spans):
            yield Collected(
                span.name,
                span.trace_id,
                span.span_id,
                span.parent_span_id,
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                span.status.code == span.status.STATUS_CODE_ERROR,
                plain(span.attributes),
                process,
            )


def plain(attributes: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(attributes)
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in pairs}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect on loopback until the end of the block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            collector.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Tests say what they saw."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A process that ends cuts its connections."""

    server = Server(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
