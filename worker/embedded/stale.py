"""What a killed PostgreSQL leaves: a note with a process id that may belong to anybody by now.

PostgreSQL itself only asks whether that number lives, and after a restart of the machine it often does.
"""

import subprocess
import time
from pathlib import Path

_STEP_SECONDS = 0.1
_SEGMENT_LINE = 6
_PS_SECONDS = 10.0


def postmaster(data: Path) -> int | None:
    """The running server of the data folder `data`, or None; an unrelated process is not taken for it."""
    note = _note(data)
    pid = int(note[0]) if note and note[0].isdigit() else None
    return pid if pid is not None and str(data) in _command_line(pid) else None


def wait_for_end(data: Path, *, seconds: float) -> str | None:
    """Wait for a former server that is still ending; says what still runs if it has not ended by then."""
    deadline = time.monotonic() + seconds
    while (left := _leftover(data)) is not None and time.monotonic() < deadline:
        time.sleep(_STEP_SECONDS)
    return left


def _leftover(data: Path) -> str | None:
    pid = postmaster(data)
    if pid is not None:
        return f"process {pid} of a former run"
    return "a session of a killed server" if _shared_memory_in_use(_note(data)) else None


def _shared_memory_in_use(note: list[str]) -> bool:
    """Whether sessions outlive their killed server: each ends by itself, but a new server waits for none of them."""
    segments = Path("/proc/sysvipc/shm")
    if len(note) <= _SEGMENT_LINE or not segments.exists():
        return False
    # The note says: key, id. A number may come again after a restart of the machine, all three together do not.
    key, number = (int(n) for n in note[_SEGMENT_LINE].split())
    for row in segments.read_text(encoding="ascii").splitlines()[1:]:
        its_key, its_number, _, _, creator, _, attached = (int(n) for n in row.split()[:7])
        if (its_key & 0xFFFFFFFF, its_number, str(creator)) == (key & 0xFFFFFFFF, number, note[0]):
            return attached > 0
    return False


def _note(data: Path) -> list[str]:
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []


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
