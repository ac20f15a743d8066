"""Evergrant for other applications: fresh access tokens, refreshes, revocations, and links for customers.

evergrant = Evergrant()
token = evergrant.access_token("customer-42")
httpx.Client(auth=evergrant_client.httpx.auth(evergrant, "customer-42"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evergrant_client.errors import (
    AmbiguousGrant,
    CannotOpen,
    EvergrantError,
    GrantRevoked,
    IdempotencyKeyTaken,
    LabelNotChosen,
    LinkRefused,
    NeedsConsent,
    NotAllowed,
    NotConfigured,
    NotFreshYet,
    UnknownGrant,
    Unreachable,
)
from evergrant_client.evergrant import Evergrant
from evergrant_client.token import Token

if TYPE_CHECKING:
    from celery import Celery

    from evergrant_client import httpx, httpx2, requests, testing

__version__ = "0.1.0"

__all__ = [
    "AmbiguousGrant",
    "CannotOpen",
    "Evergrant",
    "EvergrantError",
    "GrantRevoked",
    "IdempotencyKeyTaken",
    "LabelNotChosen",
    "LinkRefused",
    "NeedsConsent",
    "NotAllowed",
    "NotConfigured",
    "NotFreshYet",
    "Token",
    "UnknownGrant",
    "Unreachable",
    "httpx",
    "httpx2",
    "requests",
    "sender",
    "testing",
]

# Each needs a package of its own (an extra), so it is imported when it is first named.
_LATE = ("httpx", "httpx2", "requests", "testing")


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return import_module(f"evergrant_client.{name}")
    message = f"module 'evergrant_client' has no attribute {name!r}"
    raise AttributeError(message)


def sender(broker_url: str) -> "Celery":
    """Make a Celery app that reaches Evergrant's workers over a shared broker; needs the extra `celery`."""
    from evergrant_client.celery import sender as make

    return make(broker_url)
