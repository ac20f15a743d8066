"""Releases: the code of an earlier one, taken out of the history, to run beside the present one."""

import io
import subprocess
import tarfile
from pathlib import Path

from tests.acceptance.programs import ROOT

LAST = "992c83ee90f290edcfc0b6022edbe45ddc4a1848"  # 0.1.0


def has_history(commit: str = LAST) -> bool:
    """Whether this checkout knows the commit: an unpacked archive, or a shallow clone, does not."""
    known = subprocess.run(["git", "cat-file", "-e", commit], cwd=ROOT, capture_output=True, check=False)  # noqa: S607
    return known.returncode == 0


def checked_out(folder: Path, commit: str = LAST) -> Path:
    """Write an earlier release's files into a folder that does not exist yet; returns it."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)  # noqa: S607
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder
