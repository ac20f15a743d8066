"""The home folder of one installation: what lies where, and folders that nobody else can enter."""

import contextlib
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from worker.embedded.errors import HomeUnusable

SOCKET_PATH_LIMIT = 107
"""Bytes of a unix socket's path that the kernel takes (sun_path less its closing zero)."""
_LONGEST_SOCKET = "run-nobody/.s.PGSQL.5432"
# A comma separates hosts in a PostgreSQL URL, a question mark ends a path: other places get the short folder.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/+~-]+")


@dataclass(frozen=True)
class Home:
    """Everything that must survive a restart of the machine; see docs/howto/deploy-on-one-machine.md."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "Home":
        """The home at `path`, made if it is missing.

        Raises:
            HomeUnusable: it cannot be made, is not ours, or cannot be written.

        """
        home = cls(Path(path).expanduser().absolute())
        private_folder(home.path, home=home.path)
        return home

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data folder."""
        return self.path / "postgres"

    @property
    def passfile(self) -> Path:
        """The database's password in libpq's format (0600)."""
        return self.path / "postgres.pass"

    def passfile_of(self, kind: str) -> Path:
        """The same for what `worker` and `web` come in as (0600)."""
        return self.path / f"postgres.{kind}.pass"

    @property
    def valkey(self) -> Path:
        """Valkey's data folder; losing it loses nothing."""
        return self.path / "valkey"

    @property
    def valkey_pass(self) -> Path:
        """Valkey's password (0600)."""
        return self.path / "valkey.pass"

    @property
    def valkey_conf(self) -> Path:
        """The same as Valkey reads it (0600), written at each start."""
        return self.path / "valkey.conf"

    @property
    def keys(self) -> Path:
        """Folder of the key rings that were made here."""
        return self.path / "keys"

    def key_ring(self, ring: str) -> Path:
        """File of the ring `refresh` or `access`."""
        return self.keys / f"{ring}-token.keys"

    @property
    def log(self) -> Path:
        """Where the engines' own lines go unless they are passed through."""
        return self.path / "engines.log"

    @property
    def up_log(self) -> Path:
        """What `evergrant up` and its processes log where a person looks at the terminal."""
        return self.path / "up.log"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the engines."""
        return self.path / "lock"

    @property
    def state(self) -> Path:
        """What that process runs; read by every other command."""
        return self.path / "state.json"

    @cached_property
    def runtime(self) -> Path:
        """Folder of the sockets: inside the home, or a short one under /tmp where that path is too long."""
        inside = self.path / "run"
        longest = len(os.fsencode(self.path / _LONGEST_SOCKET))
        if longest <= SOCKET_PATH_LIMIT and _PLAIN_PATH.fullmatch(str(inside)):
            return inside
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path("/tmp") / f"evergrant-{os.geteuid()}-{digest}"  # noqa: S108  # checked by private_folder

    @property
    def runtime_of_nobody(self) -> Path:
        """Folder of PostgreSQL's socket where root runs it as nobody."""
        return self.runtime.with_name(f"{self.runtime.name}-nobody")

    def leave(self) -> None:
        """Remove the short folders outside the home; whatever still holds a socket stays."""
        for folder in (self.runtime, self.runtime_of_nobody):
            if folder.parent != self.path:
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def make_folders(self) -> None:
        """Make the folders that are missing.

        Raises:
            HomeUnusable: one of them is somebody else's, or open to others.

        """
        for folder in (self.runtime, self.keys, self.valkey):
            private_folder(folder, home=self.path, closed=True)


def private_folder(folder: Path, *, home: Path, closed: bool = False) -> None:
    """Make `folder` for us alone, or check that the one that is there is ours; `closed`: and shut to others.

    Raises:
        HomeUnusable: it cannot be made, is a link or no folder, has another owner, or is open to others.

    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat() if closed else folder.stat()
    except OSError as error:
        raise HomeUnusable(home=home, reason=f"{folder}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise HomeUnusable(home=home, reason=f"{folder} is no folder")
    if found.st_uid != os.geteuid():
        raise HomeUnusable(home=home, reason=f"{folder} belongs to another user")
    if closed and stat.S_IMODE(found.st_mode) & 0o077:
        raise HomeUnusable(home=home, reason=f"others may enter {folder} (`chmod 700` it)")
    if found.st_mode & stat.S_IWOTH:  # and put something else in the place of what lies there
        raise HomeUnusable(home=home, reason=f"others may write to {folder} (`chmod o-w` it)")
    effective = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
        raise HomeUnusable(home=home, reason=f"{folder} cannot be written")


def write_private(path: Path, text: str) -> None:
    """Write a file that only we can read, whole or not at all, and durable when this returns."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
