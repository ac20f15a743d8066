"""Letters: what a webhook is told of one event, as the request that carries it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from models import event, ticket
from models.states.event import EventType
from models.webhook import Ready
from models.webhook_delivery import Taken
from tasks.oauth.messages import Request
from tasks.telling import signature

# What only the grant's user mends. No link: it would be over in 15 minutes, and a letter may come days later.
FOR_THE_USER = frozenset({EventType.GRANT_NEEDS_CONSENT, EventType.GRANT_EXPIRING})


def body(told: Taken) -> bytes:
    """The event as JSON: the same text at every try, so that a receiver may compare."""
    members = {
        "id": event.told_id(told.event_id, told.occurred_at),
        "type": told.type,
        "occurred_at": told.occurred_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "environment": told.environment,
        "client": told.client,
        "ref": told.ref,
        "generation": told.generation,
        "labels": told.labels,
        "reason": told.reason,
        "data": told.data,
    }
    if told.type in FOR_THE_USER and told.ref is not None and told.client is not None:
        members["connect"] = ticket.asked_at(told.ref, told.client)
    return json.dumps(members).encode()


def request(webhook: Ready, told: Taken, *, secrets: Sequence[str], at: datetime) -> Request:
    """The request that tells a webhook of an event, signed at `at`."""
    content = body(told)
    signed = signature.headers(
        secrets,
        message_id=event.told_id(told.event_id, told.occurred_at),
        timestamp=int(at.timestamp()),
        body=content,
    )
    return Request(
        method="POST",
        url=webhook.url,
        headers={"Content-Type": "application/json", **signed},
        body=content,
        public_only=not webhook.allow_private,
        path_is_secret=True,
    )
