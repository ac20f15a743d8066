"""Spans: each step of a job with its begin and its end, told to whoever traces; where nobody does it is one look.

A trace is one claim: its name is made of the grant's id and the claim's number, both as the row has them. So beat and
worker tell each other nothing, and what a stranger writes into the broker leads no span anywhere. Facts are those of
the log's lines, less the ref, which is often a customer's name: no token, no secret, no body.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from models.claim import Job
from tasks.oauth.answer import Answer, HeldBack, Response
from tasks.runtime import clock

if TYPE_CHECKING:  # beat tells of its claims, and needs nothing of what an attempt brings
    from tasks.policy.outcome import Outcome
    from tasks.runtime.attempt import Arrived, Attempt

log = structlog.get_logger()

Fact = str | int | bool


class Step(StrEnum):
    """What a process does with a job."""

    CLAIM = "claim"  # beat: from the look at its client until the broker has the message
    START = "start"  # worker: the statement that makes it ours
    ASK = (
        "ask"  # from the hand-over to the loop thread until the answer is there, repeats of what was not sent included
    )
    SETTLE = "settle"  # from the answer until the database has what it means


@dataclass(frozen=True, slots=True)
class Span:
    """One step that has ended; `claim_no` is the claim's own, by which the spans of a job belong together."""

    step: Step
    grant_id: UUID
    claim_no: int
    begun: datetime
    ended: datetime
    failed: bool = False
    facts: dict[str, Fact] = field(default_factory=dict)


Listener = Callable[[Span], None]

_listeners: Final[list[Listener]] = []


def listen(listener: Listener) -> None:
    """Tell spans to somebody from now on."""
    _listeners.append(listener)


def stop() -> None:
    """Tell them to nobody any more."""
    _listeners.clear()


def claimed(jobs: Sequence[Job], *, client_id: int, queue: str, begun: timedelta, published: bool) -> None:
    """Tell that beat has claimed jobs of a client; `begun`: the boot clock before it looked."""
    if _listeners:
        began, ended = _at(begun), clock.wall()
        facts: dict[str, Fact] = {"client_id": client_id, "queue": queue, "published": published}
        _tell(
            Span(Step.CLAIM, grant_id, claim_no, began, ended, not published, {**facts, "claim_no": claim_no})
            for grant_id, claim_no in jobs
        )


def started(attempts: Sequence["Attempt"]) -> None:
    """Tell that attempts were started together."""
    if _listeners:
        ended = clock.wall()
        _tell(_span(Step.START, each, _at(each.begun), ended) for each in attempts)


def asked(attempt: "Attempt", answer: Answer, *, launched_at: timedelta) -> None:
    """Tell that a request has ended; `launched_at`: the boot clock when the loop thread was given it."""
    if _listeners:
        facts: dict[str, Fact] = (
            {"http_status": answer.status} if isinstance(answer, Response) else {"outcome": answer.code}
        )
        failed = not isinstance(answer, Response | HeldBack)
        _tell([_span(Step.ASK, attempt, _at(launched_at), clock.wall(), failed=failed, **facts)])


def settled(group: Sequence["Arrived"], outcomes: Sequence["Outcome"]) -> None:
    """Tell that the database has taken what answers meant."""
    if _listeners:
        ended = clock.wall()
        _tell(_settle_span(*each, ended) for each in zip(group, outcomes, strict=True))


def _settle_span(arrived: "Arrived", outcome: "Outcome", ended: datetime) -> Span:
    from tasks.policy.outcome import Refreshed

    facts: dict[str, Fact] = {"outcome": outcome.code}
    facts |= {} if outcome.http_status is None else {"http_status": int(outcome.http_status)}
    facts |= {} if outcome.rule is None else {"rule": outcome.rule}
    failed = not isinstance(outcome, Refreshed | HeldBack)
    return _span(Step.SETTLE, arrived.attempt, arrived.received_at, ended, failed=failed, **facts)


def _span(
    step: Step, attempt: "Attempt", begun: datetime, ended: datetime, *, failed: bool = False, **facts: Fact
) -> Span:
    """A span of a job that was started, and start raises the claim's number by one."""
    job, registered = attempt.job, attempt.registered
    facts |= {
        "client_id": job.client_id,
        "client": registered.known.name,
        "provider": registered.known.provider,
        "claim_no": job.claim_no,
        "generation": job.generation,
    }
    return Span(step, job.grant_id, job.claim_no - 1, begun, max(begun, ended), failed, facts)


def _at(boot: timedelta) -> datetime:
    """The time of day at an instant of the boot clock."""
    return clock.wall() - (clock.boot() - boot)


def _tell(spans: Iterable[Span]) -> None:
    """Tell them; whatever is wrong with who listens is no reason for a refresh to fail."""
    try:
        for span in spans:
            for listener in _listeners:
                listener(span)
    except Exception:
        log.exception("spans.not_told")
