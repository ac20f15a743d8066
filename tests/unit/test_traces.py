"""Traces: where spans go, and by which ids they belong together."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from settings import Settings
from tasks.runtime import spans
from tasks.runtime.spans import Span, Step
from tests.collector import collecting
from worker import traces
from worker.traces import CannotTrace, ids_of, url_of

GRANT = UUID("a4fc55a9-a9e2-4cb2-9921-e1769b72efc0")
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://otlp.example/tenant", "https://otlp.example/tenant/v1/traces"),
        ("http://collector:4318/v1/traces", "http://collector:4318/v1/traces"),
    ],
)
def test_spans_go_to_the_path_that_the_protocol_gives_them(endpoint: str, url: str) -> None:
    assert url_of(endpoint) == url


def test_a_claim_has_the_same_ids_in_every_process_and_no_other_claim_has_them() -> None:
    made = {ids_of(grant_id, number) for grant_id in (GRANT, UUID(int=1)) for number in range(1, 50)}

    assert len({trace for trace, _ in made}) == len({span for _, span in made}) == len(made)
    assert ids_of(GRANT, 7) == ids_of(UUID(str(GRANT)), 7)
    assert all(0 < trace < 2**128 and 0 < span < 2**64 for trace, span in made)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ReadableSpan]]:
    """The spans that are put into the queue, of a process that samples a tenth."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    kept: list[ReadableSpan] = []

    class Keeping(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            kept.append(span)

    with collecting() as collector:
        traces.begin(Settings(otlp_endpoint=collector.url), "worker")
        traces._begun[0]._provider.add_span_processor(Keeping())
        yield kept
        traces.end()


def test_a_trace_is_sampled_whole_or_not_at_all(begun: list[ReadableSpan]) -> None:
    for number in range(400):
        for step in Step:
            span = Span(step, GRANT, number, AT, AT + timedelta(milliseconds=5))
            spans._tell([span])
    of_traces: dict[int, set[str]] = {}
    for each in begun:
        assert each.context is not None
        of_traces.setdefault(each.context.trace_id, set()).add(each.name)

    assert 10 < len(of_traces) < 100
    assert all(names == set(Step) for names in of_traces.values())


def test_times_are_those_of_the_step_and_text_that_looks_like_a_secret_is_blanked(begun: list[ReadableSpan]) -> None:
    number = next(number for number in range(1000) if ids_of(GRANT, number)[0] % 2**64 < 2**64 // 20)
    spans._tell([Span(Step.SETTLE, GRANT, number, AT, AT, failed=True, facts={"rule": "refresh_token=hunter2hunter2"})])

    (kept,) = begun
    assert kept.start_time == kept.end_time == 1767323045678901000
    assert kept.attributes == {"evergrant.rule": "refresh_token=***", "evergrant.grant_id": str(GRANT)}
    assert not kept.status.is_ok


def test_what_the_librarys_own_variables_say_wrongly_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")

    with pytest.raises(CannotTrace, match="spans cannot be sent as the variables OTEL_… say: max_queue_size"):
        traces.begin(Settings(otlp_endpoint="http://127.0.0.1:1"), "worker")
    assert spans._listeners == []


def test_without_an_endpoint_nothing_listens() -> None:
    traces.begin(Settings(), "worker")

    assert spans._listeners == []
