"""Make or renew a virtual environment from hash-pinned locks; nothing but the standard library is needed.

    python3 -I .ci/environment.py .venv-run requirements.lock requirements-build.lock

Done once, and again when a lock, pyproject.toml, the interpreter or the place of the checkout changes; safe when two
run at once. `requirements-build.lock` brings uv, which installs the rest, and hatchling, which installs the project
itself as editable: what runs is the checkout.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
BUILD_LOCK = ROOT / "requirements-build.lock"
# The real one: that of an environment may go with it, or take another for its own (3.11 on Debian).
INTERPRETER = os.path.realpath(sys.executable)


def main() -> None:
    """Make sure that the environment named first holds exactly the locks named after it."""
    folder = ROOT / sys.argv[1]
    locks = [ROOT / name for name in sys.argv[2:]]
    wanted = stamp(locks)
    if is_ready(folder, wanted):
        return
    try:
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_ready(folder, wanted):
                make(folder, locks, wanted)
    except PermissionError as error:
        fail(f"{error.filename or ROOT} cannot be written by this user: clone the project as yourself.")
    except KeyboardInterrupt:
        fail("Interrupted; run it again to go on.")


def stamp(locks: list[Path]) -> str:
    """What the environment depends on; the first line is of the interpreter alone."""
    interpreter = f"{ROOT} {INTERPRETER} {sys.version!r}"
    digest = hashlib.sha256()
    for path in [*locks, ROOT / "pyproject.toml", Path(__file__)]:
        digest.update(path.read_bytes())
    return f"{interpreter}\n{digest.hexdigest()}\n"


def is_ready(folder: Path, wanted: str) -> bool:
    """Whether it was finished with the same stamp."""
    return read_stamp(folder) == wanted


def read_stamp(folder: Path) -> str:
    """The stamp of a finished environment; empty for any other."""
    try:
        return (folder / "ready").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def make(folder: Path, locks: list[Path], wanted: str) -> None:
    """Install everything; the stamp is written last, so a run that is cut off is repeated."""
    print(f"Making the environment {folder.name} (once) …", file=sys.stderr, flush=True)
    if not read_stamp(folder).startswith(wanted.partition("\n")[0]):
        shutil.rmtree(folder, ignore_errors=True)
        install([INTERPRETER, "-m", "venv", str(folder)])
    (folder / "ready").unlink(missing_ok=True)
    python = str(folder / "bin" / "python")
    hashed = ["--require-hashes", "-r"]
    install([python, "-m", "pip", "install", "-q", "--retries", "1", *hashed, str(BUILD_LOCK)])
    mirror = pip_mirror(python)
    uv = [str(folder / "bin" / "uv"), "pip"]
    # Compiled now: containers often forbid it later (PYTHONDONTWRITEBYTECODE), and then each start takes twice as long.
    compiled = ["--compile-bytecode", "--require-hashes"]
    install([*uv, "sync", "-q", "--python", python, *compiled, *map(str, locks)], mirror)
    editable = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    install([*uv, "install", "-q", "--python", python, *editable], mirror)
    (folder / "ready").write_text(wanted, encoding="utf-8")


def install(command: list[str], mirror: str = "") -> None:
    """Run one installer, and end with one sentence where it fails."""
    done = subprocess.run(command, env=environment(mirror), check=False)
    if done.returncode != 0:
        fail("The packages could not be installed (see above); most often no package index is reached.")


def environment(mirror: str) -> dict[str, str]:
    """The user's environment, less what would lead the installers astray."""
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
    env |= {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # The certificate of a mirror or a proxy is often known to the machine alone.
    env.setdefault("UV_SYSTEM_CERTS", "1")
    if mirror:
        env.setdefault("UV_DEFAULT_INDEX", mirror)
    return env


def pip_mirror(python: str) -> str:
    """The package index that pip is told to use, which uv would not know of; empty for the usual one."""
    asked = [python, "-m", "pip", "config", "get", "global.index-url"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def fail(sentence: str) -> NoReturn:
    """End with one sentence."""
    sys.exit(sentence)


if __name__ == "__main__":
    main()
