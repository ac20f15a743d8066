"""How a customer's visit ended, written in the transaction that stores the grant or refuses it."""

from uuid import UUID

from sqlalchemy import Connection

from models import visit
from models.states.visit import VisitOutcome, VisitReason
from tasks.connect_errors import CodeRefused, CredentialsReplaced, ExchangeNotSent, ScopeRefused, UserRefused
from tasks.settling.consent import StoredConsent

# Of one class of errors, which has one `error` for programs, some are told to customers in other words.
WORDS: dict[type[Exception], VisitReason] = {
    CodeRefused: VisitReason.CODE_REFUSED,
    UserRefused: VisitReason.USER_REFUSED,
    ScopeRefused: VisitReason.SCOPE_REFUSED,
}


def write_end(connection: Connection, visit_id: UUID, end: StoredConsent | Exception) -> None:
    """Write how it ended; where nothing was sent it has not, and is offered to a worker again."""
    match end:
        case StoredConsent():
            visit.end(connection, visit_id, VisitOutcome.CONNECTED, None)
        case CredentialsReplaced():
            visit.offer_again(connection, visit_id)
        case ExchangeNotSent():
            visit.hold(connection, [visit_id], reason_of(end))
        case _:
            visit.end(connection, visit_id, VisitOutcome.FAILED, reason_of(end), code=getattr(end, "code", None))


def reason_of(error: Exception) -> VisitReason:
    """What went wrong, or what is in the way."""
    if (word := WORDS.get(type(error))) is not None:
        return word
    told = getattr(error, "error", "")
    return VisitReason(told) if told in set(VisitReason) else VisitReason.UNFIT
