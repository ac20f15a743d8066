"""Of an application: what its keys may do, and how one of them stands."""

from models.states.word import Word


class Right(Word):
    """What a key may do over HTTP, in the order in which they are told."""

    READ = "read", "have access tokens handed out, refreshed first where they are too old"
    REFRESH = "refresh", "ask for early refreshes, and report a token that the provider's API refused"
    REVOKE = "revoke", "ask for the end of a grant"
    ERASE = "erase", "have forgotten whose a grant was, with its end; asked for together with `revoke`"
    CONNECT = "connect", "make a link by which a customer connects, or connects again, in their own browser"


class KeyState(Word):
    """How the newest key of an application stands."""

    OPENS = "opens", "it opens what it may"
    ENDS_SOON = "ends_soon", "it ends within 14 days"
    ENDED = "ended", "it opens nothing any more"
