"""Traces: the spans of this process, sent to an OpenTelemetry collector where EVERGRANT_OTLP_ENDPOINT names one.

OTLP over HTTP by the official library, an extra, which is imported here alone and only where it is wanted. A thread of
its own sends, from a queue that forgets the oldest: a collector that is slow, mute or gone costs spans and no refresh.
What the library reads from `OTEL_…` counts: headers, certificates, how many traces are sampled, the queue's size.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from settings import Settings, SettingsError
from tasks.runtime import spans
from tasks.runtime.spans import Span, Step
from worker.logs import scrub

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger()

PATH: Final = "/v1/traces"
PATIENCE: Final = 5  # s: of one batch, its repeats included
LEAVING: Final = 2  # s: at the end of the process, for what is queued still
PACKAGES: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
# Named as OpenTelemetry's conventions have them; whatever else we tell is under our own name.
CONVENTIONS: Final = {"http_status": "http.response.status_code"}


class CannotTrace(SettingsError):
    """EVERGRANT_OTLP_ENDPOINT is set, and spans cannot be sent from here."""

    next = "install `evergrant[otlp]` into this environment, or unset EVERGRANT_OTLP_ENDPOINT"


def require(settings: Settings) -> None:
    """See before the start that what sends spans is there, where they are wanted.

    Raises:
        CannotTrace: it is not.

    """
    if settings.otlp_endpoint is not None and not all(map(_is_there, PACKAGES)):
        message = "EVERGRANT_OTLP_ENDPOINT: the packages that send spans are not installed"
        raise CannotTrace(message)


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def url_of(endpoint: str) -> str:
    """Where spans go: the collector's URL, with the path that OTLP gives them where it has none."""
    return endpoint if endpoint.endswith(PATH) else endpoint.rstrip("/") + PATH


def ids_of(grant_id: UUID, claim_no: int) -> tuple[int, int]:
    """The ids of a claim's trace and of its first span: the same in every process, for they are made of the row."""
    digest = sha256(b"evergrant" + grant_id.bytes + claim_no.to_bytes(8, "big", signed=True)).digest()
    return int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big")


class Traces:
    """Sends the spans that it is told, until it is closed."""

    def __init__(self, provider: "TracerProvider", exporter: "OTLPSpanExporter", roots: "_Roots") -> None:
        self._provider = provider
        self._exporter = exporter
        self._roots = roots
        self._tracer = provider.get_tracer("evergrant", version("evergrant"))

    def __call__(self, span: Span) -> None:
        """Put a span into the queue, where its trace is sampled; all processes sample the same."""
        from opentelemetry.context import Context
        from opentelemetry.trace import Status, StatusCode

        trace_id, root_id = ids_of(span.grant_id, span.claim_no)
        if not self._provider.sampler.should_sample(None, trace_id, Step.CLAIM).decision.is_sampled():  # type: ignore[no-untyped-call]
            return
        is_root = span.step is Step.CLAIM
        context = Context() if is_root else _inside(trace_id, root_id)
        with self._roots.next_is(trace_id, root_id) if is_root else _as_it_comes():
            made = self._tracer.start_span(
                span.step, context, _kind_of(span.step), _attributes(span), start_time=_ns(span.begun)
            )
        if span.failed:
            made.set_status(Status(StatusCode.ERROR))
        made.end(_ns(span.ended))

    def close(self) -> None:
        """Send what is queued, for as long as the end of a process may take."""
        flushing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        flushing.start()
        flushing.join(LEAVING)
        if flushing.is_alive():
            log.warning("traces.not_all_sent", waited_s=LEAVING)
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def _as_it_comes() -> Iterator[None]:
    """Ids as the library draws them."""
    yield


class _Roots(threading.local):
    """The ids of the root span that this thread makes next."""

    ids: tuple[int, int] | None = None

    @contextmanager
    def next_is(self, trace_id: int, span_id: int) -> Iterator[None]:
        """Let the root span made inside of the block have these."""
        self.ids = trace_id, span_id
        try:
            yield
        finally:
            self.ids = None


def _inside(trace_id: int, root_id: int) -> Any:
    """The context of a span below the claim's, which another process has made."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    root = SpanContext(trace_id, root_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(root), Context())


def _kind_of(step: Step) -> Any:
    from opentelemetry.trace import SpanKind

    return {Step.CLAIM: SpanKind.PRODUCER, Step.ASK: SpanKind.CLIENT}.get(step, SpanKind.INTERNAL)


def _attributes(span: Span) -> dict[str, str | int | bool]:
    facts = {CONVENTIONS.get(name, f"evergrant.{name}"): value for name, value in span.facts.items()}
    facts["evergrant.grant_id"] = str(span.grant_id)
    return {name: scrub(value) if isinstance(value, str) else value for name, value in facts.items()}


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 10**6) * 1000


_begun: Final[list[Traces]] = []


def begin(settings: Settings, kind: str) -> None:
    """Send the spans of this process, where the settings say so; `kind`: what it is, as in `worker`.

    Raises:
        CannotTrace: they cannot be sent from here.

    """
    if settings.otlp_endpoint is None or _begun:  # Celery makes beat's scheduler twice
        return
    require(settings)
    try:
        traces = _made(settings, kind)
    except ValueError as error:  # what OTEL_… says does not fit
        message = f"EVERGRANT_OTLP_ENDPOINT: spans cannot be sent as the variables OTEL_… say: {error}"
        raise CannotTrace(message) from None
    _begun.append(traces)
    spans.listen(traces)
    log.info("traces.sent", to=url_of(settings.otlp_endpoint))


def _made(settings: Settings, kind: str) -> Traces:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random ids, but for the root of a claim's trace."""

        def generate_trace_id(self) -> int:
            return super().generate_trace_id() if roots.ids is None else roots.ids[0]

        def generate_span_id(self) -> int:
            return super().generate_span_id() if roots.ids is None else roots.ids[1]

    assert settings.otlp_endpoint is not None  # noqa: S101  # `begin` asked
    roots = _Roots()
    ours = Resource.create(
        {
            "service.name": "evergrant",
            "service.version": version("evergrant"),
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            "deployment.environment.name": settings.environment or "",
            "evergrant.process": kind,
        }
    )
    provider = TracerProvider(
        resource=ours.merge(OTELResourceDetector().detect()), id_generator=Ids(), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(url_of(settings.otlp_endpoint), timeout=PATIENCE)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Traces(provider, exporter, roots)


def end() -> None:
    """Send what is left, and nothing more."""
    spans.stop()
    while _begun:
        _begun.pop().close()
