"""Credentials, as answers tell of them: a new secret is proven, or refused, and then the former one is used again.

A refusal under credentials of which nothing succeeded yet, while the former secret is kept, is the new secret's fault
before it is anybody else's. A grant that was refused under credentials which are no longer in force is asked again at
once, and neither it nor the provider is blamed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import credentials
from models.client import Known
from models.states.event import EventType
from tasks.oauth.answer import HeldBack
from tasks.oauth.rules import Means
from tasks.policy.outcome import NotUnderstood, Outcome, Refreshed, Refused
from tasks.policy.refusal import will_pass
from tasks.runtime.attempt import Arrived
from tasks.runtime.registration import ON_TRIAL

log = structlog.get_logger()

AT_ONCE = timedelta(milliseconds=1)
REPLACED = HeldBack("credentials_replaced", wait=AT_ONCE)


@dataclass(slots=True)
class Told:
    """A group of answers, as far as they are the grants' own; `fallen`: clients that use their former secret again."""

    group: list[Arrived]
    outcomes: list[Outcome]
    fallen: set[int] = field(default_factory=set)


def heed(connection: Connection, group: Sequence[Arrived], outcomes: Sequence[Outcome]) -> Told:
    """Carry out what a group of answers tells of secrets, and leave what it tells of grants."""
    telling = [
        arrived.attempt.job.client_id
        for arrived, end in zip(group, outcomes, strict=True)
        if isinstance(end, NotUnderstood) or arrived.tells_of_secrets
    ]
    if not telling:
        return Told(list(group), list(outcomes))
    told = Told([_with_number(connection, *each) for each in zip(group, outcomes, strict=True)], list(outcomes))
    # Only now: where a trial has just succeeded what came under the other secret tells nothing of its grant.
    known = clients.known(connection, telling)
    succeeded = {
        _credentials(each) for each, end in zip(told.group, outcomes, strict=True) if isinstance(end, Refreshed)
    }
    for client_id, proven_no in sorted(succeeded):
        if client_id in known and known[client_id].may_fall_back:
            credentials.proven(connection, client_id, credentials_no=proven_no)
    present = {client.id: client.credentials_no for client in known.values()}
    present |= _fall_back(connection, told, known, succeeded)
    told.outcomes = [
        REPLACED if _is_of_others(each, end, present) else end
        for each, end in zip(told.group, told.outcomes, strict=True)
    ]
    return told


def _with_number(connection: Connection, arrived: Arrived, end: Outcome) -> Arrived:
    """The answer under the number of its credentials: a secret on trial gets one when it succeeds."""
    attempt = arrived.attempt
    known = attempt.registered.known
    if known.credentials_no != ON_TRIAL or not isinstance(end, Refreshed) or known.sealed_client_secret is None:
        return arrived
    number = credentials.end_trial(connection, known.id, tried=known.sealed_client_secret)
    if number is None:
        return arrived
    log.info(EventType.CLIENT_SECRET_PROVEN, client=known.name)
    registered = replace(attempt.registered, known=replace(known, credentials_no=number))
    return replace(arrived, attempt=replace(attempt, registered=registered))


def _fall_back(
    connection: Connection, told: Told, known: Mapping[int, Known], succeeded: set[tuple[int, int]]
) -> dict[int, int]:
    """Go back to the former secret of each client whose new one was refused; returns the numbers in force then."""
    refused: dict[int, str] = {}
    for each, end in zip(told.group, told.outcomes, strict=True):
        client_id, asked_under = _credentials(each)
        client = known.get(client_id)
        if client is not None and (client_id, asked_under) not in succeeded and is_refused(client, end, asked_under):
            refused.setdefault(client_id, end.code)
    numbers = {
        client_id: number
        for client_id, code in sorted(refused.items())
        if (number := fall_back(connection, known[client_id], code)) is not None
    }
    told.fallen |= numbers.keys()
    return numbers


def is_refused(client: Known, end: Outcome, credentials_no: int) -> bool:
    """Whether an answer refuses a client's new secret, as far as anybody can tell."""
    return (
        isinstance(end, NotUnderstood)
        and end.means is not Means.SCOPE
        and not end.says_nothing
        and not will_pass(end.code)
        and credentials_no == client.credentials_no
        and client.may_fall_back
        and not client.proven
    )


def fall_back(connection: Connection, client: Known, code: str) -> int | None:
    """Use a client's former secret again; returns the number of its credentials, None where others are in force."""
    number = credentials.fall_back(connection, client.id, credentials_no=client.credentials_no, code=code)
    if number is not None:
        log.warning(EventType.CLIENT_SECRET_REFUSED, client=client.name, code=code)
    return number


def _is_of_others(arrived: Arrived, end: Outcome, present: Mapping[int, int]) -> bool:
    """Whether a definite refusal came under credentials that are not in force, and so tells nothing of its grant."""
    client_id, number = _credentials(arrived)
    if not isinstance(end, NotUnderstood | Refused) or end.unknown:
        return False
    return number == ON_TRIAL or present.get(client_id, number) != number


def _credentials(arrived: Arrived) -> tuple[int, int]:
    return arrived.attempt.job.client_id, arrived.attempt.registered.known.credentials_no
