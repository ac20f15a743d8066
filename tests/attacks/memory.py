"""Memory of another process, as the kernel counts it."""

import re
from pathlib import Path

MEGABYTE = 1024 * 1024


class Memory:
    """The resident memory of one process, in bytes."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def now(self) -> int:
        """What it has now."""
        return self._of("VmRSS")

    def peak(self) -> int:
        """The most that it had since `forget_peak`."""
        return self._of("VmHWM")

    def forget_peak(self) -> None:
        (self._folder / "clear_refs").write_text("5", encoding="ascii")

    def _of(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB$", (self._folder / "status").read_text(encoding="ascii"), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024
