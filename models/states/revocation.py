"""Of a revocation: its status, what is known of its end, and who asked for it where nobody did."""

from models.states.word import Word


class RevocationStatus(Word):
    """How far a revocation is."""

    QUEUED = "queued", "it will be worked on"
    WAITING = "waiting", "it waits for the end of the grant that took its place"
    DONE = "done", "the grant is dead, as its evidence says"
    DEAD = "dead", "the provider could not be made to do it; a dead letter tells"


class RequestStatus(Word):
    """What a request is that has not become a revocation; no row of `revocations` says so."""

    HELD = "held", "whoever asked for it asked for more than the client's limit: an operator accepts or discards it"


class Evidence(Word):
    """How well a grant's end is known."""

    VERIFIED = "verified", "every token ever received was seen to be dead"
    ACCEPTED = "accepted", "the provider said yes, and there was no way to look"
    UNSUPPORTED = "unsupported", "the provider has no revocation endpoint"


class Because(Word):
    """Why the evidence of a revocation is no better."""

    EVER_IN_DOUBT = "ever_in_doubt", "an answer was lost, and may have held a pair that nobody knows"
    PREDECESSORS_DROPPED = "predecessors_dropped", "more predecessors than are kept may have lived"
    OLDER_ACCESS_TOKENS = (
        "older_access_tokens",
        (
            "a revocation kills one pair there, and an access token that was replaced may live "
            "until `access_tokens_end_by`"
        ),
    )
    ACCESS_TOKENS_LIVE_ON = (
        "access_tokens_live_on",
        "a revocation kills the refresh token alone there: access tokens live to their end, `access_tokens_end_by`",
    )
    NO_WAY_TO_LOOK = "no_way_to_look", "neither a probe nor the API told of every pair that it is dead"
    NO_REVOCATION_ENDPOINT = (
        "no_revocation_endpoint",
        "the provider has none; the grant was blocked until its access token had ended",
    )


class OwnReason(Word):
    """The reason of a revocation that we ask for ourselves; any other was written by whoever asked."""

    REPLACED = "replaced", "a new consent took the grant's place"
    RESTORED = "restored", "a journal knew of its end, and the database had forgotten it"
