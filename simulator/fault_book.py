"""The fault book: the faults that are set, and which of them strikes a request."""

from random import Random

from simulator.fault import Fault


class FaultBook:
    """The faults that are set; the first one that matches a request is the one that happens."""

    def __init__(self, seed: int = 0) -> None:
        self._faults: dict[int, Fault] = {}
        self._added = 0
        self._random = Random(seed)

    @property
    def set(self) -> bool:
        """Say whether there is any."""
        return bool(self._faults)

    def add(self, fault: Fault) -> Fault:
        """Set a fault and number it."""
        self._added += 1
        fault.number = self._added
        self._faults[fault.number] = fault
        return fault

    def listed(self) -> list[Fault]:
        """List the faults, with how often each has fired; those that are over stay until they are cleared."""
        return list(self._faults.values())

    def clear(self, number: int | None = None) -> int:
        """Clear one fault, or all; returns how many were cleared."""
        gone = list(self._faults) if number is None else [n for n in (number,) if n in self._faults]
        for each in gone:
            del self._faults[each]
        return len(gone)

    def strike(self, endpoint: str, grant_type: str, client_id: str, ref: str) -> Fault | None:
        """Choose the fault that happens to a request, if any, and count it."""
        for fault in self._faults.values():
            if fault.over or not fault.matches(endpoint, grant_type, client_id, ref):
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            fault.fired += 1
            return fault
        return None
