"""What a killed PostgreSQL leaves: a note with a process id that may belong to anybody by now.

PostgreSQL itself only asks whether that number lives, and after a restart of the machine it often does.
"""

import subprocess
import time
from pathlib import Path

_STEP_SECONDS = 0.1
_PS_SECONDS = 10.0


def postmaster(data: Path) -> int | None:
    """The running server of the data folder `data`, or None; an unrelated process is not taken for it."""
    try:
        first = (data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0].strip()
    except FileNotFoundError:
        return None
    if not first.isdigit():
        return None
    return int(first) if str(data) in _command_line(int(first)) else None


def wait_for_end(data: Path, *, seconds: float) -> int | None:
    """Wait for a server that is still shutting down; its process id if it has not ended by then."""
    deadline = time.monotonic() + seconds
    while (pid := postmaster(data)) is not None and time.monotonic() < deadline:
        time.sleep(_STEP_SECONDS)
    return pid


def remove_notes(data: Path, sockets: Path) -> None:
    """Remove what a server that no longer runs left; call it only under the lock of the home."""
    (data / "postmaster.pid").unlink(missing_ok=True)
    for left in sockets.glob(".s.PGSQL.*"):
        left.unlink(missing_ok=True)


def _command_line(pid: int) -> list[str]:
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            return []
    ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]  # macOS
    done = subprocess.run(ps, capture_output=True, text=True, timeout=_PS_SECONDS, check=False)  # noqa: S603
    return done.stdout.split()
