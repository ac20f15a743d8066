"""What each statement of models does, in Python: one module for each of theirs."""

from tests.simulation.statements import attempts, claims, consents, installation, journals, letters  # noqa: F401
from tests.simulation.statements import operators, revocations, settlement, valves  # noqa: F401
from tests.simulation.statements.registry import HANDLERS, Handler, by_words

__all__ = ["HANDLERS", "Handler", "by_words"]
