"""Of a former token: why it is kept."""

from models.states.word import Word


class PairKind(Word):
    """What a pair is that a grant's row does not hold; the row's own is called `current` beside them."""

    PREDECESSOR = "predecessor", "the row held it, and it may live until its successor is used"
    SURPLUS = "surplus", "it came for a generation that was stored already"
