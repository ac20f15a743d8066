"""What the token interface answers, and what its refusals mean to an application."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evergrant_client.errors import (
    RETRY_SECONDS,
    AmbiguousGrant,
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

SUCCESSES = range(200, 300)
# It cannot answer now, and another try soon may reach another process.
AWAY = {"database_away", "stopping"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its status, its JSON object, and when it was given by the server's clock."""

    status: int
    body: dict[str, Any] = field(repr=False)
    retry_after_header: str | None
    date: datetime

    @property
    def error(self) -> str | None:
        """The code of a refusal; None for a success."""
        return None if self.status in SUCCESSES else str(self.body.get("error", ""))

    @property
    def retry_after(self) -> float:
        """Seconds after which to try again."""
        try:
            return float(self.retry_after_header or RETRY_SECONDS)
        except ValueError:
            return RETRY_SECONDS

    def member(self, name: str) -> Any:
        """What a success must hold.

        Raises:
            Unreachable: it does not, so this is no token interface, or one of another age.

        """
        try:
            return self.body[name]
        except KeyError:
            message = f"The token interface answered {self.status} without {name}: is EVERGRANT_TOKEN_URL right?"
            raise Unreachable(message) from None

    @property
    def explanation(self) -> str | None:
        """Why the grant is as it is, in a sentence; None of an older server, and where it says nothing."""
        return self._explained("headline")

    @property
    def cause(self) -> str | None:
        """The same as one word."""
        return self._explained("cause")

    def _explained(self, member: str) -> str | None:
        told = self.body.get("explanation")
        found = told.get(member) if isinstance(told, dict) else None
        return found if isinstance(found, str) else None

    @property
    def said(self) -> str:
        """The server's own sentence, without its full stop."""
        return str(self.body.get("message", f"The token interface answered {self.status}")).rstrip(".")


def refuse(answer: Answer, ref: str, client: str | None, *, key: str | None = None) -> None:
    """Raise what a refusal means; a success passes.

    Raises:
        EvergrantError: the one that fits.

    """
    if answer.error is not None:
        raise _about_grant(answer, ref, client, key) or _about_server(answer)


def refuse_link(answer: Answer) -> None:
    """Raise what only a link is refused for.

    Raises:
        LinkRefused: nobody could be sent there, or too many were made.
        NotConfigured: there is no public listener.

    """
    told = f"{answer.said}: {_begun_small(str(answer.body.get('next', 'correct what was said.')))}"
    match answer.status, answer.error:
        case (400, "ticket_refused" | "bad_parameter") | (404, "unknown_client" | "unknown_ref") | (409, "no_user"):
            raise LinkRefused(told)
        case 429, "too_many_tickets":
            raise LinkRefused(told, answer.retry_after)
        case 503, "no_public_listener":
            raise NotConfigured(told)


def _begun_small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _about_grant(answer: Answer, ref: str, client: str | None, key: str | None) -> EvergrantError | None:
    body = answer.body
    match answer.status, answer.error:
        case 404, "unknown_ref":
            told: EvergrantError | None = UnknownGrant(ref, client)
        case 400, "ambiguous_ref":
            told = AmbiguousGrant(ref, body.get("clients", ()))
        case 400, "label_not_chosen":
            told = LabelNotChosen(ref, str(body.get("label")), body.get("values", ()))
        case 409, "idempotency_key":
            told = IdempotencyKeyTaken(ref, key)
        case 409, _:
            told = NeedsConsent(ref, body.get("reason"), None, answer.explanation)
        case 410, _:
            told = GrantRevoked(ref)
        case _:
            told = None
    return told


def _another_key(answer: Answer) -> str:
    match answer.error:
        case "not_allowed":  # the server says which right is lacking, and who gives it
            return str(answer.body.get("next", "ask an operator for a key that may."))
        case "expired_key":
            return "set EVERGRANT_APPLICATION_KEY to what `evergrant apps rotate` has made."
        case _:
            return "set EVERGRANT_APPLICATION_KEY to a key that `evergrant apps add` has made."


def _about_server(answer: Answer) -> EvergrantError:
    match answer.status, answer.error:
        case ((401 | 403), _):
            return NotAllowed(f"{answer.said}: {_another_key(answer)}")
        case ((429 | 500 | 502 | 504), _):
            return Unreachable(answer.said, answer.retry_after)
        case 503, error if error in AWAY:
            return Unreachable(answer.said, answer.retry_after)
        case 503, _:
            return NotFreshYet(answer.said, answer.retry_after, answer.explanation)
    return NotConfigured(f"{answer.said}: {answer.body.get('next', 'see that EVERGRANT_TOKEN_URL is right.')}")
