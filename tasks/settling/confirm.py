"""Confirm: present a new access token once after its commit, so that its predecessors die (`on_use`).

At `on_use` an old refresh token lives until the access token of its direct successor is first used. Where the
provider names a `confirm_url`, we use it ourselves: then nothing but the present pair is alive, and a revocation
later has one branch only. It takes slots of the client's rate and keeps no refresh waiting: while anything is due that
beat could have claimed by now it is left out, and the next one presents all access tokens that were kept. An address
that tells nothing rests (tasks/runtime/confirmations.py), and a person is told.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import assert_never
from uuid import UUID

import structlog
from sqlalchemy import Connection

from models import client as clients
from models import confirmation, former_token, label, revocation
from models.database import AWAY, transaction
from models.revocation import Branch
from models.states.former_token import PairKind
from tasks.oauth import messages
from tasks.oauth.addresses import Labels
from tasks.oauth.answer import Answer, Response
from tasks.oauth.errors import AddressError
from tasks.oauth.messages import Request
from tasks.policy.life import Life, presented
from tasks.policy.valve import USABLE_SHARE
from tasks.runtime import retry
from tasks.runtime.confirmations import News, Place
from tasks.runtime.registration import Registered
from tasks.runtime.runtime import Runtime

log = structlog.get_logger()

# In a large fleet something is due at any moment, until the next look of beat. What is due for longer waits for a slot.
LOOKS = 2


def confirm(runtime: Runtime, registered: Registered, grant_ids: Sequence[UUID]) -> None:
    """Kill the predecessors of grants that were just refreshed; what fails is left for the next time."""
    for grant_id in grant_ids:
        with transaction() as connection:
            if runtime.confirmations.rests(_place(registered)) or _is_in_the_way(runtime, registered, connection):
                return
            steps = _steps(revocation.branches(connection, grant_id))
            labels = label.of_grant(connection, grant_id) if steps else {}
        dead = _present(runtime, registered, grant_id, steps, labels)
        with transaction() as connection:
            former_token.drop(connection, dead)


def _is_in_the_way(runtime: Runtime, registered: Registered, connection: Connection) -> bool:
    """Whether the slots are for others: somebody is due for longer, or this process ends."""
    overdue = LOOKS * timedelta(seconds=runtime.settings.beat_interval_seconds)
    return runtime.stopping.is_set() or clients.has_due(connection, registered.known.id, longer_than=overdue)


def _steps(branches: Sequence[Branch]) -> list[tuple[Branch, Branch]]:
    """Each living predecessor with the pair whose use kills it, the oldest first.

    So no pair is dropped whose access token is still needed: only its own use kills a direct predecessor.
    """
    successors = [each for each in branches if each.kind != PairKind.SURPLUS and each.sealed_access_token is not None]
    found = [
        (used, predecessor)
        for predecessor in branches
        for used in successors
        if predecessor.precedes(used) and not predecessor.dead
    ]
    return sorted(found, key=lambda step: step[1].generation)


def _present(
    runtime: Runtime,
    registered: Registered,
    grant_id: UUID,
    steps: Sequence[tuple[Branch, Branch]],
    labels: Labels,
) -> list[int]:
    """Use access tokens, and stop where an answer tells nothing; returns the predecessors that this has killed."""
    dead: list[int] = []
    for used, predecessor in steps:
        if used.sealed_access_token is None or predecessor.former_token_id is None:
            break
        token = runtime.vault.open(used.sealed_access_token, table="grants", row_id=grant_id, purpose="access")
        try:
            request = messages.confirm(registered.provider, access_token=token, labels=labels)
        except AddressError as error:
            log.warning("confirm.no_address", grant_id=str(grant_id), reason=str(error))
            break
        with transaction() as connection:
            if _is_in_the_way(runtime, registered, connection):
                break
            clients.debit(connection, registered.known.id, usable_share=USABLE_SHARE)
        if not _told(runtime, registered, request):
            log.info("confirm.untold", grant_id=str(grant_id))
            break
        dead.append(predecessor.former_token_id)
    return dead


def _told(runtime: Runtime, registered: Registered, request: Request) -> bool:
    """Send one; whether its answer tells anything of the token."""
    sending = retry.send(runtime.transport, request, deadline=registered.times.deadline, guard=lambda: None)
    answer = runtime.transport.submit(sending).result()
    told = presented(answer, registered.provider) is not Life.UNTOLD
    try:
        _note(runtime.confirmations.end(_place(registered), told=told), registered, answer)
    except AWAY as error:  # what was killed is dead all the same, and is noted
        log.warning("confirm.not_noted", client=registered.known.name, error=type(error).__name__)
    return told


def _note(news: News, registered: Registered, answer: Answer) -> None:
    client = registered.known
    match news:
        case News.FAILS:
            code = f"http_{answer.status}" if isinstance(answer, Response) else answer.code
            log.warning("confirm.fails", client=client.name, outcome=code)
            with transaction() as connection:
                confirmation.tell_failing(connection, client.id, code=code)
        case News.ANSWERS:
            with transaction() as connection:
                confirmation.tell_answered(connection, client.id)
        case News.NONE:
            pass
        case _:
            assert_never(news)


def _place(registered: Registered) -> Place:
    return registered.known.id, registered.provider.confirm_url or ""
