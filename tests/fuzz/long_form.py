"""One door for a long time: batch by batch, in a process of its own."""

import gc
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from hypothesis import given, seed, settings

from tests.fuzz.door import SHORT, Door

BATCH: Final = 2000  # hypothesis remembers each input of a run, so that runs are short
SETTLED: Final = 3  # batches after which a process has all that it is going to need
GROWTH: Final = 48 << 20  # bytes: what an allocator keeps for itself differs by some megabytes
MODULES: Final = (
    "messages",
    "provider_answers",
    "provider_heads",
    "journals",
    "provider_files",
    "import_lines",
    "web_heads",
)


@dataclass(frozen=True)
class Tried:
    """What came of one door."""

    door: str
    inputs: int = 0
    seconds: float = 0
    grown: int = 0  # bytes, since it had settled
    peak: int = 0  # bytes
    finding: str = ""


def doors() -> dict[str, Door]:
    """Every door by its name."""
    modules = [import_module(f"tests.fuzz.test_{name}") for name in MODULES]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Door)]
    return {door.name: door for door in found}


def tried(name: str, wanted: int, first: int, until: float) -> Tried:
    """Try a door batch by batch, in a process of its own."""
    begun, settled, number = time.monotonic(), 0, first
    counted = _Counted(doors()[name])
    finding = ""
    while counted.inputs < wanted and not finding and time.time() < until:
        finding = _batch(counted, min(BATCH, wanted - counted.inputs), number)
        number += 1
        if number - first == SETTLED:
            settled = _held()
    grown = _held() - settled if settled else 0
    if not finding and grown > GROWTH:
        finding = f"it has grown by {grown >> 20} MiB from seed {first + SETTLED} to {number}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return replace(
        Tried(name, finding=finding, grown=grown, peak=peak), inputs=counted.inputs, seconds=time.monotonic() - begun
    )


class _Counted:
    """A door that counts what was really tried."""

    def __init__(self, door: Door) -> None:
        self.door, self.inputs = door, 0

    def check(self) -> Callable[[Any], None]:
        def check(given_input: Any) -> None:
            self.inputs += 1
            self.door.check(given_input)

        return check


def _batch(counted: _Counted, size: int, number: int) -> str:
    """What was found, told so that it can be repeated; empty: nothing."""
    run = settings(SHORT, max_examples=size, derandomize=False)(given(counted.door.inputs)(counted.check()))
    try:
        seed(number)(run)()
    except Exception:  # noqa: BLE001  # whatever it is, it is the finding
        again = f'python -m tests.fuzz --door "{counted.door.name}" --seed {number} --examples {size}'
        return f"\n{traceback.format_exc(limit=-8)}\nagain: {again}"
    return ""


def _held() -> int:
    """Bytes that this process holds now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
