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
    GRANT_LABEL_REFUSED = "grant.label_refused", "the provider gave a value that cannot be kept as a label"
    GRANT_LABELS_ASKED = "grant.labels_asked", "its provider's API was asked for labels: what was kept, or why nothing"
    GRANT_LATE = "grant.late", "its access token has ended, and it is kept warm"
    GRANT_WAITING = "grant.waiting", "it is in doubt, and waits for a journal that nobody has read to its end"
    GRANT_EXPIRING = "grant.expiring", "its refresh token or its consent ends soon, and renewing will not mend that"
    GRANT_NEEDS_CONSENT = "grant.needs_consent", "it was judged dead: only its user can mend it"
    GRANT_RECOVERED = "grant.recovered", "a token set arrived after it was given up"
    GRANT_REVOKED = "grant.revoked", "it has ended at the provider"
    GRANT_ERASED = "grant.erased", "whom it belonged to was forgotten"
    REVOCATION_DEAD = "revocation.dead", "its revocation was given up"
    REVOCATIONS_HELD = "revocations.held", "somebody asked for more of them than the client's limit lets through"
    REVOCATIONS_ACCEPTED = "revocations.accepted", "an operator let held ones go on"
    REVOCATIONS_DISCARDED = "revocations.discarded", "an operator dropped held ones"
    DEAD_LETTER_REDRIVEN = "dead_letter.redriven", "an operator sent a dead letter back"
    CLIENT_ADDED = "client.added", "an operator registered it"
    CLIENT_CHANGED = "client.changed", "an operator changed it"
    CLIENT_SECRET_CHANGED = "client.secret_changed", "an operator gave it another secret"
    CLIENT_SECRET_REFUSED = (
        "client.secret_refused",
        "its secret was refused; of a new one the former is used again",
    )
    CLIENT_SECRET_PROVEN = "client.secret_proven", "its new secret succeeded, so the former one was shredded"
    CLIENT_PAUSED = "client.paused", "its valve was shut, by an operator or by the breaker"
    CLIENT_RESUMED = "client.resumed", "its valve was opened"
    CLIENT_SLOWED = "client.slowed", "many were refused in a word of the provider's own while others succeeded"
    CLIENT_AT_FULL_PACE = "client.at_full_pace", "it is asked as often as before again"
    CLIENT_UNCONFIRMED = "client.unconfirmed", "where new access tokens are presented once, nobody answers of use"
    CLIENT_CONFIRMED = "client.confirmed", "where new access tokens are presented once, somebody answers again"
    CLIENT_DEATHS_HELD = "client.deaths_held", "unusually many of its grants were refused, so verdicts are held"
    CLIENT_ROTATION_DRIFT = "client.rotation_drift", "an answer contradicted its rotation profile, which was tightened"
    CLIENT_DEATHS_ACCEPTED = "client.deaths_accepted", "an operator let held verdicts through"
    APPLICATION_ADDED = "application.added", "an application may use the token interface"
    APPLICATION_ROTATED = "application.rotated", "an application has another key, which takes over from the one before"
    APPLICATION_REMOVED = "application.removed", "an application's key opens nothing any more"
    WEBHOOK_ADDED = "webhook.added", "a URL is told of events from now on"
    WEBHOOK_SECRET_CHANGED = "webhook.secret_changed", "what it is told is signed with another secret"
    WEBHOOK_PAUSED = "webhook.paused", "an operator stopped what it is told"
    WEBHOOK_RESUMED = "webhook.resumed", "an operator let it be told again"
    WEBHOOK_REDELIVERED = "webhook.redelivered", "an operator had a delivery sent again"
    WEBHOOK_REMOVED = "webhook.removed", "it is told nothing any more"
    WEBHOOK_TEST = "webhook.test", "somebody wants to know whether a webhook works; told to that one alone"


# What a webhook is told that names no types, as `evergrant.told_of_itself` has it. The others tell what operators did,
# and whoever wants to hear that says so.
TOLD_OF_ITSELF = frozenset(
    {
        *(EventType.GRANT_CONNECTED, EventType.GRANT_RECONNECTED, EventType.GRANT_LATE, EventType.GRANT_WAITING),
        *(EventType.GRANT_EXPIRING, EventType.GRANT_NEEDS_CONSENT, EventType.GRANT_RECOVERED),
        *(EventType.GRANT_SCOPE_CHANGED, EventType.GRANT_REVOKED),
        *(EventType.REVOCATION_DEAD, EventType.REVOCATIONS_HELD),
        *(EventType.CLIENT_PAUSED, EventType.CLIENT_RESUMED, EventType.CLIENT_DEATHS_HELD),
        *(EventType.CLIENT_ROTATION_DRIFT, EventType.CLIENT_SECRET_REFUSED),
    }
)
