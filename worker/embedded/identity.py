"""As whom PostgreSQL runs: it refuses root, so root becomes nobody, in one of two ways.

`namespace`: in a user namespace where root's number is shown as nobody's; files stay root's, and folders that
only root may enter (its home) still work. `nobody`: a real change of user, where namespaces are switched off
(most containers); then every folder on the way must be open to it.
"""

import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import NoReturn

from worker.embedded.errors import EngineFailed
from worker.embedded.launch import NOBODY
from worker.embedded.process import Identity, Program, command

_PROBE_SECONDS = 20.0


def choose(data: Path, bin_folder: Path) -> Identity:
    """Pick how to run `postgres` with its data in `data` (which keeps the owner it once got).

    Raises:
        EngineFailed: we are root and neither way works here.

    """
    if os.geteuid() != 0:
        # initdb wants a user with a name; a container may give us a number without one, and nobody has one.
        return "same" if _has_name(os.geteuid()) or not _works("namespace", bin_folder) else "namespace"
    owner = data.stat().st_uid if data.exists() else None
    if owner != NOBODY and _works("namespace", bin_folder):
        return "namespace"
    if owner == 0:
        _refuse(f"{data} was made with user namespaces, which are switched off now")
    closed = [f for f in (*data.parents, *bin_folder.parents) if not _open_to_all(f) and f != data.parent]
    if closed:
        _refuse(f"without user namespaces it runs as nobody, who may not enter {closed[0]}")
    if not _works("nobody", bin_folder):
        _refuse("neither a user namespace nor the user nobody can be taken on here")
    return "nobody"


def open_way(home: Path, identity: Identity) -> None:
    """Let nobody pass through the home (not read it): everything inside is closed by itself."""
    if identity == "nobody":
        home.chmod(stat.S_IMODE(home.stat().st_mode) | 0o011)


def hand_over(path: Path, identity: Identity) -> None:
    """Give a file or folder to the one who will use it."""
    if identity == "nobody":
        os.chown(path, NOBODY, NOBODY)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _works(identity: Identity, bin_folder: Path) -> bool:
    program = Program(name="probe", argv=[str(bin_folder / "postgres"), "--version"], identity=identity)
    done = subprocess.run(  # noqa: S603  # our own command
        command(program), capture_output=True, timeout=_PROBE_SECONDS, check=False
    )
    return done.returncode == 0


def _open_to_all(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _refuse(reason: str) -> NoReturn:
    raise EngineFailed(
        engine="PostgreSQL (it refuses to run as root)",
        reason=reason,
        advice="run this as another user, or set EVERGRANT_HOME to a folder such as /var/lib/evergrant",
    )
