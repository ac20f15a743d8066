"""The key rings of an installation with the embedded database: made once, under the home, readable by us alone."""

import secrets
from typing import Any

from models.vault import KeyRing
from settings import Settings
from worker.embedded.home import Home, write_private

RINGS = ("refresh", "access")


def ensure_keys(home: Home) -> None:
    """Make the rings that are missing; an existing one is never touched."""
    home.make_folders()
    for ring in RINGS:
        path = home.key_ring(ring)
        if not path.exists():
            write_private(path, KeyRing.generate_line(f"{ring}-{secrets.token_hex(4)}") + "\n")


def ring_files(settings: Settings, home: Home) -> dict[str, Any]:
    """The ring files of `home` as settings, for each ring that the user did not set."""
    return {
        f"{ring}_token_keys_file": home.key_ring(ring)
        for ring in RINGS
        if getattr(settings, f"{ring}_token_keys") is None
        and getattr(settings, f"{ring}_token_keys_file") is None
        and home.key_ring(ring).exists()
    }
