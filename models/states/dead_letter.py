"""Of a dead letter: what was given up on, why, and how it was closed."""

from models.states.word import Word


class LetterKind(Word):
    """What was given up on."""

    REFRESH = "refresh", "a grant's refreshes"
    REVOKE = "revoke", "a grant's revocation"


class Cause(Word):
    """Why a grant's refreshes were given up on. The cause of a revocation's letter is the last answer's code."""

    RESPONSE_LOST = "response_lost", "as above"
    REVOKED_OR_EXPIRED = "revoked_or_expired", "as above"
    REVOKED = "revoked", "as above"
    EXPIRED = "expired", "as above"
    PASSWORD_CHANGED = "password_changed", "as above"
    ADMIN_POLICY = "admin_policy", "as above"
    APP_REMOVED = "app_removed", "as above"
    MFA_REQUIRED = "mfa_required", "as above"
    SIGN_IN_AGAIN = "sign_in_again", "as above"
    USER_GONE = "user_gone", "as above"
    SCOPE_CHANGED = "scope_changed", "as above"
    GAVE_UP = "gave_up", "it failed for a day in which others succeeded; it is still asked every hour"
    REFUSED = "refused", "the provider refused it alone for a day, in words of its own; it is still asked every hour"
    OUR_CONFIGURATION = (
        "our_configuration",
        "the provider refused us for a day: the client's id, secret or settings are wrong",
    )


class Resolution(Word):
    """How a dead letter was closed."""

    RECOVERED = "recovered", "a token set arrived"
    RECONNECTED = "reconnected", "the user consented anew"
    REVOKED = "revoked", "the grant has ended"
    REDRIVEN = "redriven", "an operator sent it back"
    DISCARDED = "discarded", "an operator closed it, and nothing was done"
