"""Of a grant: its status, and why it stands where only somebody else can help."""

from models.states.word import Word


class GrantStatus(Word):
    """Where a grant stands. An open revocation makes it `revoking` to whoever looks, before the row says so."""

    ACTIVE = "active", "it is kept alive"
    PAUSED = "paused", "an operator stopped it"
    NEEDS_CONSENT = "needs_consent", "only its user can mend it"
    REVOKING = "revoking", "it is on its way to the end"
    REVOKED = "revoked", "it is dead at the provider"


class ConsentReason(Word):
    """Why a grant needs consent; the words are those of the verdict on it (tasks/policy/verdict.py).

    From the third on it is what the provider said, where a rule of its file reads that.
    """

    RESPONSE_LOST = "response_lost", "an answer was lost, and with it the only copy of its refresh token"
    REVOKED_OR_EXPIRED = "revoked_or_expired", "the provider refuses its refresh token"
    REVOKED = "revoked", "the user or an administrator took it back"
    EXPIRED = "expired", "its time was over, or it was not used for too long"
    PASSWORD_CHANGED = "password_changed", "the user's password was changed"
    ADMIN_POLICY = "admin_policy", "an administrator's rule forbids it"
    APP_REMOVED = "app_removed", "the app was uninstalled there"
    MFA_REQUIRED = "mfa_required", "the user must prove again who they are"
    SIGN_IN_AGAIN = "sign_in_again", "the session that it hangs on has ended"
    USER_GONE = "user_gone", "the account is disabled or deleted"
    SCOPE_CHANGED = "scope_changed", "what is asked for was never granted, or is not any more"


class PauseReason(Word):
    """Why a grant is paused, where it was not simply an operator's wish."""

    HANDED_OVER = "handed_over", "another home keeps it: `grants export --handover`"
