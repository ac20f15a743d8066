"""Releases: an earlier one, taken out of the history to run beside the present one, as code or as it was installed."""

import io
import os
import subprocess
import sys
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


def installed(folder: Path, commit: str = LAST) -> Path:
    """Build an earlier release's wheel and install it, with what it was released with; returns the programs' folder.

    Its environment has nothing of ours. The package index is asked, by uv, as `./test` does.
    """
    source, environment = checked_out(folder / "source", commit), folder / "venv"
    programs = environment / "bin"
    uv = [str(Path(sys.executable).with_name("uv")), "pip"]
    python = ["--python", str(programs / "python")]
    # The real interpreter: one that is itself of an environment may take another for its own (3.11 on Debian).
    _run([os.path.realpath(sys.executable), "-m", "venv", str(environment)])
    _run([*uv, "sync", "-q", *python, "--require-hashes", str(source / "requirements.lock")])
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")], cwd=source)
    (wheel,) = (folder / "dist").glob("*.whl")
    _run([*uv, "install", "-q", *python, "--no-deps", str(wheel)])
    return programs


def _run(command: list[str], cwd: Path | None = None) -> None:
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    subprocess.run(command, cwd=cwd, env={"UV_SYSTEM_CERTS": "1", **env}, check=True, timeout=300)
