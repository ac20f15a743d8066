"""Probe: ask a provider whether a refresh token lives, by a refresh whose scope was never granted, or by introspection.

The first only where the provider file allows it; the second (RFC 7662) where it does not, and names an address. Either
runs under its own claim and start, so nothing else of this grant is under way, and it is no judgement: the grant is
given back as it was. A provider that answers a probe with a token set after all has consumed the token, and an answer
that never came may have: both are settled like any refresh. An introspection consumes nothing, whatever becomes of it.
"""

from dataclasses import replace
from datetime import timedelta
from typing import assert_never
from uuid import UUID

from models import client as clients
from models import probe as taking
from models.database import transaction
from tasks import refresh
from tasks.oauth import messages
from tasks.oauth.addresses import Labels
from tasks.oauth.answer import Answer, HeldBack, NotSent
from tasks.oauth.messages import Registration, Request
from tasks.oauth.provider import Provider
from tasks.policy.introspection import introspected
from tasks.policy.life import Finding, probed
from tasks.policy.outcome import GrantThrottled, NotNow, NotUnderstood, Race, Refreshed, Refused, Unknown
from tasks.policy.valve import USABLE_SHARE
from tasks.runtime import clock, retry
from tasks.runtime.attempt import Arrived, Attempt
from tasks.runtime.runtime import Runtime
from tasks.settling.reading import read
from tasks.settling.settle import settle


def probe(runtime: Runtime, grant_id: UUID, *, client_id: int) -> Finding:
    """Probe one grant.

    Raises:
        ProbeNotAllowed: the provider file does not say that a probe is harmless, and has no introspect_url; nothing was
            sent.
        AddressError: the grant's labels make no address; nothing was sent.

    """
    with transaction() as connection:
        known = clients.known(connection, [client_id])[client_id]
    _allow(runtime.registrations.ready(known).provider)  # refused here, before anything is claimed
    with transaction() as connection:
        taken = taking.take(connection, grant_id, lease=runtime.settings.dispatch_lease)
        if taken is None:
            return Finding.BUSY
        clients.debit(connection, client_id, usable_share=USABLE_SHARE)
    for started in refresh.start(runtime, [(taken.grant_id, taken.claim_no)]):
        return _carry_out(runtime, _with_own_token(started, taken), taken.was_due_in)
    return Finding.BUSY


def _with_own_token(attempt: Attempt, taken: taking.Taken) -> Attempt:
    job = attempt.job._replace(
        sealed_refresh_token=taken.sealed_refresh_token,
        refresh_fingerprint=taken.refresh_fingerprint,
        former_token_id=None,
    )
    return replace(attempt, job=job)


def _carry_out(runtime: Runtime, attempt: Attempt, was_due_in: timedelta) -> Finding:
    job = attempt.job
    try:
        answer = _ask(runtime, attempt)
    except Exception:
        refresh.give_back([(job.grant_id, job.claim_no, was_due_in)])
        raise
    if not attempt.registered.provider.probe:
        refresh.give_back([(job.grant_id, job.claim_no, was_due_in)])
        return introspected(answer, attempt.registered.provider)
    arrived = Arrived(attempt, answer, clock.wall())
    end = read(arrived, proven=True, vault=runtime.vault)
    match end:
        case Refreshed() | Unknown() | NotNow() | NotUnderstood(unknown=True):
            settle(runtime, [arrived])
        case HeldBack() | NotSent() | Refused() | NotUnderstood() | GrantThrottled() | Race():
            refresh.give_back([(job.grant_id, job.claim_no, was_due_in)])
        case _:
            assert_never(end)
    return probed(answer, end)


def _ask(runtime: Runtime, attempt: Attempt) -> Answer:
    job = attempt.job
    if (held := refresh.check(runtime, attempt)) is not None:
        return held
    if job.sealed_refresh_token is None:
        return HeldBack("no_refresh_token")
    token = runtime.vault.open(job.sealed_refresh_token, table="grants", row_id=job.grant_id, purpose="refresh")
    request = _request(attempt.registered.registration, token, job.labels)
    sending = retry.send(
        runtime.transport,
        request,
        deadline=attempt.registered.times.deadline,
        guard=lambda: refresh.check(runtime, attempt),
    )
    return runtime.transport.submit(sending).result()


def _allow(provider: Provider) -> None:
    """Let pass where something may ask about a refresh token.

    Raises:
        ProbeNotAllowed: nothing may.

    """
    if provider.introspect_url is None:
        messages.allow_probe(provider)


def _request(registration: Registration, token: str, labels: Labels) -> Request:
    """What asks about a refresh token: a probe where that is allowed, else introspection."""
    if registration.provider.probe:
        return messages.probe(registration, refresh_token=token, labels=labels)
    return messages.introspect(registration, token=token, labels=labels)
