"""Of a journal: whether anybody must still wait for what is in it. No column: told by its timestamps."""

from models.states.word import Word


class JournalState(Word):
    """How far a journal is."""

    OPEN = "open", "it may hold answers that nobody has settled"
    DAMAGED = "damaged", "not all of it can be read, and what cannot may be an answer that nobody has settled"
    DRAINED = "drained", "everything in it is settled"
    ABANDONED = "abandoned", "an operator said that its disk is gone for good"


def journal_state(*, drained: bool, abandoned: bool, damaged: bool) -> JournalState:
    """How far a journal is, by what is set of it."""
    if abandoned:
        return JournalState.ABANDONED
    if drained:
        return JournalState.DRAINED
    return JournalState.DAMAGED if damaged else JournalState.OPEN
