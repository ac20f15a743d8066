"""Of a client: how its grants are kept, and what its valve lets through."""

from models.states.word import Word


class Keep(Word):
    """How a grant is kept; what a grant does not say, its client does."""

    WARM = "warm", "it is renewed in time, whether somebody reads it or not"
    ON_DEMAND = "on-demand", "it is renewed when somebody reads it, and now and then so that it does not die"


class ClientState(Word):
    """What a client's valve lets through."""

    OPEN = "open", "requests are sent"
    PAUSED = "paused", "an operator stopped it"
    SHUT = "shut", "the breaker stopped it; one request at a time tries whether it may open"
    HOLDING = "holding", "unusually many grants were refused at once, so their verdicts are held"
