"""The key rings of an installation with the embedded database: made once, under the home, readable by us alone."""

import secrets

from models.sealing.vault import KeyRing
from settings import Settings
from worker.embedded.home import Home, write_private
from worker.embedded.rings import missing_rings


def ensure_keys(home: Home, settings: Settings) -> None:
    """Make the rings that are missing; an existing one is never touched, and one that lies elsewhere is not made."""
    home.make_folders()
    for ring in missing_rings(settings, home):
        write_private(home.key_ring(ring), KeyRing.generate_line(f"{ring}-{secrets.token_hex(4)}") + "\n")
