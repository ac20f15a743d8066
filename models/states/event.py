"""Of an event: its type. The history shows them beside what other tables tell."""

from models.states.word import Word


class EventType(Word):
    """What happened."""

    GRANT_CONNECTED = "grant.connected", "a user consented for the first time"
    GRANT_RECONNECTED = "grant.reconnected", "a user consented anew; the row before is on its way to the end"
    GRANT_IMPORTED = "grant.imported", "it was taken over from another home"
    GRANT_REPLACED = "grant.replaced", "an import put another token set in the place of the one held"
    GRANT_HANDED_OVER = "grant.handed_over", "another home keeps it from now on"
    GRANT_PAUSED = "grant.paused", "an operator stopped it"
    GRANT_RESUMED = "grant.resumed", "an operator let it go on"
    GRANT_CHANGED = "grant.changed", "an operator changed its labels, or how it is kept"
    GRANT_SCOPE_CHANGED = "grant.scope_changed", "the provider granted another scope than before"
    GRANT_LATE = "grant.late", "its access token has ended, and it is kept warm"
    GRANT_WAITING = "grant.waiting", "it is in doubt, and waits for a journal that nobody has read to its end"
    GRANT_NEEDS_CONSENT = "grant.needs_consent", "it was judged dead: only its user can mend it"
    GRANT_RECOVERED = "grant.recovered", "a token set arrived after it was given up"
    GRANT_REVOKED = "grant.revoked", "it has ended at the provider"
    GRANT_ERASED = "grant.erased", "whom it belonged to was forgotten"
    REVOCATION_DEAD = "revocation.dead", "its revocation was given up"
    DEAD_LETTER_REDRIVEN = "dead_letter.redriven", "an operator sent a dead letter back"
    CLIENT_ADDED = "client.added", "an operator registered it"
    CLIENT_CHANGED = "client.changed", "an operator changed it"
    CLIENT_SECRET_CHANGED = "client.secret_changed", "an operator gave it another secret"
    CLIENT_PAUSED = "client.paused", "its valve was shut, by an operator or by the breaker"
    CLIENT_RESUMED = "client.resumed", "its valve was opened"
    CLIENT_DEATHS_HELD = "client.deaths_held", "unusually many of its grants were refused, so verdicts are held"
    CLIENT_DEATHS_ACCEPTED = "client.deaths_accepted", "an operator let held verdicts through"
    APPLICATION_ADDED = "application.added", "an application may use the token interface"
    APPLICATION_REMOVED = "application.removed", "an application's key opens nothing any more"
