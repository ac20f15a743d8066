"""Of a ticket: how it stands; of a visit: how it ended."""

from models.states.word import Word


class VisitOutcome(Word):
    """How a customer's way through the provider ended."""

    CONNECTED = "connected", "the grant is stored"
    DENIED = "denied", "the customer, or the provider for them, said no"
    FAILED = "failed", "it came to nothing; `reason` says why"


class VisitReason(Word):
    """Why a visit came to nothing. What could be sent no more when its code had lapsed keeps what was in the way."""

    BEGUN_AGAIN = "begun_again", "the customer began anew in the same browser, so the former beginning counts no more"
    PROVIDER_ERROR = "provider_error", "the provider sent the customer back with an error (RFC 6749 §4.1.2.1)"
    CODE_REFUSED = "code_refused", "the provider takes the code no longer"
    USER_REFUSED = "user_refused", "the provider wants something of the customer, or their administrator, first"
    SCOPE_REFUSED = "scope_refused", "the provider does not grant the scopes asked for"
    EXCHANGE_REFUSED = (
        "exchange_refused",
        "the provider refused the exchange: see the client's id, secret, redirect URI",
    )
    EXCHANGE_UNCLEAR = "exchange_unclear", "the code was sent, and no token set came back"
    ANOTHER_ACCOUNT = "another_account", "the customer signed in with another account than before"
    PAIR_HELD = "pair_held", "the provider gave the pair that another ref holds"
    NO_REFRESH_TOKEN = "no_refresh_token", "the provider gave nothing that could be kept alive"
    UNFIT = "unfit", "provider file, labels and redirect make no exchange; the worker's log says why"
    TOO_LATE = "too_late", "no worker took the code while it lived"
    EXCHANGE_NOT_SENT = "exchange_not_sent", "the provider could not be reached while the code lived"
    CLIENT_PAUSED = "client_paused", "the client was paused while the code lived"
    STILL_REVOKING = "still_revoking", "the old consent had not ended while the code lived, and its end kills a new one"
    DATABASE_UNFIT = "database_unfit", "the database was a copy, or had lost commits, while the code lived"
    JOURNAL_BROKEN = "journal", "no journal could be written while the code lived"
    KEYS = "keys", "no worker had the keys for it while the code lived"


class TicketState(Word):
    """How a ticket stands."""

    WAITS = "waits", "nobody has used it"
    USED = "used", "a browser has used it, and its customer is on the way"
    CONNECTED = "connected", "its customer has connected"
    DENIED = "denied", "its customer, or the provider for them, said no"
    FAILED = "failed", "it came to nothing; `reason` says why"
    REVOKED = "revoked", "an operator took it back"
    EXPIRED = "expired", "nobody used it within 15 minutes, or whoever did never came back"
