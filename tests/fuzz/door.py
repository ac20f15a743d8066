"""A door: where a stranger's input comes in, what may come, and what must then hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

SHORT = settings(
    deadline=None,  # a slow machine is no failure
    derandomize=True,  # nor is it news when a run that changed nothing fails
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Door:
    """`check` raises where something does not hold."""

    name: str
    inputs: SearchStrategy[Any]
    check: Callable[[Any], None]
    examples: int = 300

    def knock(self) -> None:
        """Try some hundred inputs, the same ones each time."""
        settings(SHORT, max_examples=self.examples)(given(self.inputs)(self.check))()
