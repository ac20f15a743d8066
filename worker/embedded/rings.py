"""Where the key rings of an installation lie; nothing here can open one."""

from typing import Any

from settings import Settings
from worker.embedded.home import Home

RINGS = ("refresh", "access")


def is_given(settings: Settings, ring: str) -> bool:
    """Whether the user says where a ring is."""
    return any(getattr(settings, f"{ring}_token_keys{how}") is not None for how in ("", "_file", "_command"))


def missing_rings(settings: Settings, home: Home) -> list[str]:
    """The rings that are neither set nor in `home`."""
    return [ring for ring in RINGS if not is_given(settings, ring) and not home.key_ring(ring).exists()]


def ring_files(settings: Settings, home: Home) -> dict[str, Any]:
    """The ring files of `home` as settings, for each ring that the user did not set."""
    return {
        f"{ring}_token_keys_file": home.key_ring(ring)
        for ring in RINGS
        if not is_given(settings, ring) and home.key_ring(ring).exists()
    }
