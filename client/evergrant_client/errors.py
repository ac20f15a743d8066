"""Errors of the client package: what can go wrong when a token is wanted, and what to do about it.

    EvergrantError
    ├── NotConfigured          the environment or an argument cannot be used
    ├── NotAllowed             the login or the application key may not do that
    ├── UnknownGrant           no grant has this ref
    ├── AmbiguousGrant         several clients have a grant of this ref
    ├── NeedsConsent           only the user can mend it          .reason .connect_url .explanation
    ├── GrantRevoked           it was revoked, or is about to be
    ├── LabelNotChosen         a header needs one of several labels  .label .values
    ├── IdempotencyKeyTaken    the key belongs to another ref's revocation
    ├── LinkRefused            no link is made of what was said, or too many were  .retry_after
    ├── CannotOpen             the sealed token does not open with these keys
    └── NotFreshYet            try again                          .retry_after .explanation
        └── Unreachable        Evergrant does not answer

An error's arguments are those of its class, so each survives pickling.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

RETRY_SECONDS = 5.0
RETRY_LATER_SECONDS = 60.0  # where somebody must act first


class EvergrantError(Exception):
    """Base of all errors of this package."""


class NotConfigured(EvergrantError):
    """The environment or an argument cannot be used; the message names it."""


class NotAllowed(EvergrantError):
    """The database login or the application key may not do that; the message says who can change it."""


class UnknownGrant(EvergrantError):
    """No grant has this ref: check its spelling, or connect the user."""

    def __init__(self, ref: str, client: str | None = None) -> None:
        super().__init__(ref, client)
        self.ref = ref
        self.client = client

    def __str__(self) -> str:
        of = f" of client {self.client!r}" if self.client else ""
        return f"There is no grant {self.ref!r}{of}: check its spelling, or connect its user."


class AmbiguousGrant(EvergrantError):
    """Several clients have a grant of this ref: pass client=."""

    def __init__(self, ref: str, clients: Sequence[str] = ()) -> None:
        super().__init__(ref, tuple(clients))
        self.ref = ref
        self.clients = tuple(clients)

    def __str__(self) -> str:
        which = f" ({', '.join(self.clients)})" if self.clients else ""
        return f"The ref {self.ref!r} belongs to several clients{which}: pass client= to name one."


class NeedsConsent(EvergrantError):
    """Only the user can mend it, by giving consent again; `explanation`: why, in a sentence, where the server says."""

    def __init__(
        self, ref: str, reason: str | None = None, connect_url: str | None = None, explanation: str | None = None
    ) -> None:
        super().__init__(ref, reason, None, explanation)  # a link is shown in no repr
        self.ref = ref
        self.reason = reason
        self.explanation = explanation
        self._given = connect_url
        self._made: str | None = None
        self._make: Callable[[], str] | None = None

    @property
    def connect_url(self) -> str | None:
        """A link for this user's browser, good once and for 15 minutes; made when it is first read.

        None where none can be made, as where this application may not; `Evergrant.connect_url` says why. It stands in
        no message and no repr: whoever opens it connects their account as this ref.
        """
        make, self._make = self._make, None
        if self._given is None and make is not None:
            with suppress(EvergrantError):
                self._made = make()
        return self._given or self._made

    def made_by(self, make: Callable[[], str]) -> None:
        """Say how a link is made; a copy of this error, as from another process, has none."""
        self._make = make

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.ref, self.reason, self._given, self.explanation)

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"The grant {self.ref!r} needs its user's consent again{why}: have the user connected again."


class GrantRevoked(EvergrantError):
    """The grant was revoked, or is about to be: no token of it is handed out any more."""

    def __init__(self, ref: str, status: str = "revoked") -> None:
        super().__init__(ref, status)
        self.ref = ref
        self.status = status

    def __str__(self) -> str:
        return f"The grant {self.ref!r} is {self.status}: stop using it, or have its user connected anew."


class LabelNotChosen(EvergrantError):
    """A header needs one value of a label, and the grant has several, or not the one chosen."""

    def __init__(self, ref: str, label: str, values: Sequence[str]) -> None:
        super().__init__(ref, label, tuple(values))
        self.ref = ref
        self.label = label
        self.values = tuple(values)

    def __str__(self) -> str:
        return f"Choose which {self.label} of {self.ref!r} is meant, {self.label}= one of: {', '.join(self.values)}."


class IdempotencyKeyTaken(EvergrantError):
    """The idempotency key belongs to the revocation of another ref: use a key of its own for each."""

    def __init__(self, ref: str, key: str | None = None) -> None:
        super().__init__(ref, key)
        self.ref = ref
        self.key = key

    def __str__(self) -> str:
        return f"The idempotency key {self.key!r} belongs to the revocation of another ref than {self.ref!r}."


class LinkRefused(EvergrantError):
    """No link is made: the message says why and what to do; `retry_after` seconds, where it is for now."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class CannotOpen(EvergrantError):
    """The sealed token does not open with the access keys of this process; the message says why."""


class NotFreshYet(EvergrantError):
    """There is no token that lives long enough, and none came in time: try again after `retry_after` seconds.

    `explanation`: what it waits for, in a sentence, where the server says.
    """

    def __init__(self, message: str, retry_after: float = RETRY_SECONDS, explanation: str | None = None) -> None:
        super().__init__(message, retry_after, explanation)
        self.message = message
        self.retry_after = retry_after
        self.explanation = explanation

    def __str__(self) -> str:
        return f"{self.message}: try again in {self.retry_after:g} s."


class Unreachable(NotFreshYet):
    """Evergrant does not answer, and no token is remembered that would bridge it."""
