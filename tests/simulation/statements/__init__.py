"""What each statement of models does, in Python: one module for each of theirs."""

from tests.simulation.statements import (  # noqa: F401  # noqa: F401
    attempts,
    claims,
    consents,
    drift,
    installation,
    journals,
    letters,
    operators,
    revocations,
    second_looks,
    settlement,
    valves,
    visits,
)
from tests.simulation.statements.registry import HANDLERS, Handler, by_words

__all__ = ["HANDLERS", "Handler", "by_words"]
