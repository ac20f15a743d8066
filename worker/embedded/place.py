"""The place of an embedded database: what tells its data folder from a copy, which the server itself cannot."""

import hashlib
import os
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")
CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
# Made once with the folder, and never put in the place of another since: a copy has three other inodes.
LASTING = (".", "PG_VERSION", "global")
CHARACTERS = 16


def place_of(data: Path) -> str:
    """The machine and the inodes of the folder, as one short name.

    Not the number of its device: that may be another one after the next start of the machine, and everything would
    stand still. Nor, in a container, the id of the machine, which is the image's. Hashed, for the id of a machine is
    nobody else's business (machine-id(5)).
    """
    inodes = " ".join(str((data / name).stat().st_ino) for name in LASTING)
    return hashlib.sha256(f"evergrant {_machine()} {inodes}".encode()).hexdigest()[:CHARACTERS]


def _machine() -> str:
    in_a_container = "KUBERNETES_SERVICE_HOST" in os.environ or any(each.exists() for each in CONTAINERS)
    return "" if in_a_container or not MACHINE_ID.exists() else MACHINE_ID.read_text(encoding="ascii").strip()
