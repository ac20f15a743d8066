"""What a benchmark asks of each contestant."""

from abc import ABC, abstractmethod

from bench.stage import Provider, Stage


class Contestant(ABC):
    """Keeps `count` grants alive, in a way of its own."""

    name: str
    count: int

    def __init__(self, stage: Stage, provider: Provider, count: int) -> None:
        self.stage = stage
        self.provider = provider
        self.count = count

    @abstractmethod
    def prepare(self) -> None:
        """Make tables and rows; each grant holds `refresh_token(index, 0)`."""

    @abstractmethod
    def start(self) -> None:
        """Start the processes and wait until they are ready; nothing is refreshed yet."""

    @abstractmethod
    def make_due(self) -> None:
        """Make every grant due, and let nobody begin."""

    @abstractmethod
    def begin(self) -> None:
        """Let the work begin."""

    def again(self) -> None:  # noqa: B027  # most need none
        """Nothing has moved for some seconds: what a next scan would do."""

    @abstractmethod
    def stored(self) -> int:
        """How many grants have been stored since `make_due`."""

    @abstractmethod
    def tokens(self) -> dict[int, str]:
        """The refresh token that each grant holds now, by index."""

    @abstractmethod
    def parts(self) -> dict[str, list[int]]:
        """Process ids by part, without engines and provider."""

    def stop(self) -> None:
        """End the processes."""
        self.stage.stop(*(name for name in tuple(self.stage.processes) if not name.startswith("provider")))


def ref_of(index: int) -> str:
    """The name of a grant."""
    return f"customer-{index:07d}"
