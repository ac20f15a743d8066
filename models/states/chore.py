"""Of a chore: its name. The rows come with the migrations; tasks/upkeep.py knows what each does."""

from models.states.word import Word


class ChoreName(Word):
    """Periodic work."""

    TELL_LATE = "tell_late", "tell of grants kept warm whose access token has ended"
    TELL_WAITING = "tell_waiting", "tell of grants in doubt that have waited too long for a journal"
    TELL_EXPIRING = "tell_expiring", "tell of grants whose refresh token or consent ends soon"
    LOOK_AGAIN = "look_again", "ask grants once more that were declared dead, an hour, a day and a week later"
    ASK_LABELS = "ask_labels", "ask providers' APIs for labels, once after each consent"
    SHRED_DEAD_GRANTS = "shred_dead_grants", "shred the sealed tokens of grants that died long ago"
    ERASE = "erase", "forget whom dead grants belonged to, where that was asked for"
    FORGET_CONNECT_REQUESTS = "forget_connect_requests", "forget code flows that ended or were never ended"
    FORGET_ASKS = "forget_asks", "forget who asked for revocations an hour ago, and what is held for nothing"
    READ_NOTICES = "read_notices", "read what providers told by themselves"
    FORGET_SILENT_PROCESSES = "forget_silent_processes", "forget processes that were not seen for an hour"
    TEND_TICKETS = "tend_tickets", "end what customers waited for in vain, forget tickets that ended long ago"
    TELL_SECRETS_REFUSED = "tell_secrets_refused", "tell of clients whose secret is refused"
    TEND_WEBHOOKS = (
        "tend_webhooks",
        "queue what a webhook has missed, stop one that nothing reaches, forget old deliveries",
    )
