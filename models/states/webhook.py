"""Of a webhook: how it goes with it, and why nothing is sent to it. Of a delivery: how it stands."""

from models.states.word import Word


class WebhookPause(Word):
    """Why nothing is sent to a webhook."""

    OPERATOR = "operator", "an operator stopped it"
    GONE = "gone", "its receiver said 410: nobody is there any more"
    UNREACHABLE = "unreachable", "nothing has reached it for three days"


class DeliveryStatus(Word):
    """How a delivery stands."""

    QUEUED = "queued", "it is sent, or sent again, when its turn has come"
    DELIVERED = "delivered", "its receiver said that it has it"
    DEAD = "dead", "it was given up; a human may send it again"


class WebhookState(Word):
    """How it goes with a webhook."""

    OPEN = "open", "what happens is sent to it"
    FAILING = "failing", "what was sent last did not reach it; it is tried again by itself"
    BEHIND = "behind", "so much waits for it that events are queued for it only once it has caught up"
    PAUSED = "paused", "an operator stopped it; what it is to be told waits"
    GONE = "gone", "its receiver said 410: nothing is sent before somebody resumes it"
    UNREACHABLE = "unreachable", "nothing has reached it for three days, and nothing is sent before somebody resumes it"
    FOREIGN = "foreign", "it was made in another environment, which this database is a copy of"
