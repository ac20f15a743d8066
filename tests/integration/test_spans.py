"""Spans: what is told of each step; no listener can make a refresh fail, and no message can name a trace."""

from collections.abc import Iterator
from typing import NoReturn

import pytest

from tasks import refresh
from tasks.oauth.answer import Answer
from tasks.runtime import spans
from tasks.runtime.spans import Span, Step
from tasks.settling.settle import journal_answers, settle
from tests.harness import HELD_BACK, INVALID_GRANT, LOST, UNREACHABLE, Harness, message, token_set
from tests.polling import eventually
from tests.raw_servers import Bench, hang


@pytest.fixture
def told() -> Iterator[list[Span]]:
    """What was told meanwhile."""
    heard: list[Span] = []
    spans.listen(heard.append)
    yield heard
    spans.stop()


def test_each_step_of_an_attempt_is_told_by_the_number_of_its_claim(harness: Harness, told: list[Span]) -> None:
    client = harness.client()
    grant = harness.grant(client)
    harness.ask(client, token_set("customer-2"))

    start, settle = told
    assert [(span.step, span.grant_id, span.claim_no, span.failed) for span in told] == [
        (Step.START, grant, 1, False),
        (Step.SETTLE, grant, 1, False),
    ]
    assert settle.facts == start.facts | {"outcome": "refreshed", "http_status": 200}
    assert start.facts == {
        "client_id": client,
        "client": "demo",
        "provider": "simulator",
        "claim_no": 2,
        "generation": 1,
    }
    assert start.begun <= start.ended <= settle.ended


def test_what_failed_is_told_as_that_and_what_was_held_back_is_not(harness: Harness, told: list[Span]) -> None:
    client = harness.client()
    answers: list[Answer] = [INVALID_GRANT, LOST, UNREACHABLE, HELD_BACK]
    for number, answer in enumerate(answers):
        grant = harness.grant(client, f"customer-{number}")
        harness.ask(client, answer)
        harness.set(grant, status="paused")

    settled = {span.facts["outcome"]: span.failed for span in told if span.step is Step.SETTLE}
    assert settled == {
        "invalid_grant_unproven": True,
        "timeout": True,
        "connect_refused": True,
        "process_is_stopping": False,
    }


def test_a_forged_or_repeated_message_makes_no_span(harness: Harness, told: list[Span]) -> None:
    client = harness.client()
    harness.grant(client)
    (job,) = harness.claim(client).due
    forged = [(job[0], job[1] + 7)]

    refresh.carry_out(harness.runtime, refresh.read_jobs(message(forged)), client)
    assert told == []
    assert harness.start([job])
    assert harness.start([job]) == []
    assert [span.claim_no for span in told] == [job[1]]


def test_a_request_is_told_with_the_status_or_with_what_became_of_it(harness: Harness, told: list[Span]) -> None:
    bench = Bench()
    server = bench.serve(hang)
    try:
        harness.runtime.handle_answers(journal=journal_answers, settle=settle)
        client = harness.client(token_url=f"{server.url()}/token", deadline_seconds=1)
        grant = harness.grant(client)
        refresh.ask(harness.runtime, harness.begin(client))
        eventually(lambda: [span for span in told if span.step is Step.SETTLE])
    finally:
        bench.close()
    (asked,) = (span for span in told if span.step is Step.ASK)
    assert (asked.grant_id, asked.claim_no, asked.facts["outcome"], asked.failed) == (grant, 1, "timeout", True)


def test_a_listener_that_fails_costs_no_refresh(harness: Harness) -> None:
    def failing(_: Span) -> NoReturn:
        raise RuntimeError

    spans.listen(failing)
    try:
        client = harness.client()
        grant = harness.grant(client)
        harness.ask(client, token_set("customer-2"))
    finally:
        spans.stop()
    assert harness.token(grant) == "rt-customer-2"


def test_spans_end_where_a_listener_has_stopped_listening(harness: Harness, told: list[Span]) -> None:
    spans.stop()
    client = harness.client()
    harness.grant(client)
    harness.ask(client, token_set("customer-2"))
    assert told == []
