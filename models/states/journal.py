"""Of a journal: whether anybody must still wait for what is in it. No column: told by two of its timestamps."""

from models.states.word import Word


class JournalState(Word):
    """How far a journal is."""

    OPEN = "open", "it may hold answers that nobody has settled"
    DRAINED = "drained", "everything in it is settled"
    ABANDONED = "abandoned", "an operator said that its disk is gone for good"
