"""Mount: the file system that a path lies on, so that whoever is told of a full one makes room on the right one."""

from pathlib import Path


def mount_of(path: Path) -> Path:
    """Where the file system is mounted that a path lies on."""
    whole = path.resolve()
    return next((each for each in (whole, *whole.parents) if each.is_mount()), whole)
