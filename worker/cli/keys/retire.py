"""`evergrant keys retire`: the line of a key becomes a remark in the ring's file, where it is not lost."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli import keyrings, output, session
from worker.cli.arguments import confirm, yes_option
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure, misuse
from worker.cli.keyrings import rings_of
from worker.cli.output import json_option

if TYPE_CHECKING:
    from models.sealing.keys import KeyRing


@click.command(cls=Command, example="evergrant keys retire refresh-20260101-ab12")
@click.argument("id")
@yes_option
@json_option
def retire(id: str, *, yes: bool, as_json: bool) -> None:  # noqa: A002  # the name that users see
    """Take a key that nothing needs any more out of this machine's ring; its line stays in the file as a remark.

    Backups and journals that were sealed with it need it still: to open those, take the remark away again.
    """
    from models.sealing import key_use

    ring = ring_of(id, rings_of(keyrings.vault()))
    with session.reading() as connection:
        needed = key_use.counts(connection).get((ring, id), 0)
    if needed:
        raise Failure(
            code="key_in_use",
            message=f"{needed} sealed {'value needs' if needed == 1 else 'values need'} the key {id}",
            next_step="run `evergrant keys reseal` first",
        )
    path = file_of(ring)
    confirm(f"Retire {id}? Journals and backups of before need it still; its line stays in {path}.", yes=yes)
    remark(path, id)
    told = f"Retired {id}: a remark in {path} now. Do the same on other machines, and restart what uses the ring."
    output.done({"ring": ring, "id": id, "file": str(path)}, told, as_json=as_json)


def ring_of(key_id: str, rings: "dict[str, KeyRing]") -> str:
    """The ring that holds a key which may be retired.

    Raises:
        Failure: no ring here has it, or it is the one that seals.

    """
    name = next((name for name, ring in rings.items() if ring.get(key_id)), None)
    if name is None:
        raise Failure(
            code="unknown_key",
            message=f"No key ring here has a key {key_id!r}",
            next_step="see `evergrant keys list`",
            exit_code=ExitCode.NOT_FOUND,
        )
    if rings[name].active.key_id == key_id:
        raise misuse(
            code="key_active",
            message=f"{key_id} is the key that seals",
            next_step="put another key's line above it, restart what uses the ring, and run `evergrant keys reseal`",
        )
    return name


def file_of(ring: str) -> Path:
    """The file that this machine reads the ring from.

    Raises:
        Failure: it comes from a variable.

    """
    import settings
    from models.sealing.keys import VARIABLES

    path: Path | None = getattr(settings.current(), f"{ring}_token_keys_file")
    if path is None:
        raise misuse(
            code="keys",
            message=f"The {ring} key ring stands in {VARIABLES[ring]} itself, which no command can change",
            next_step="take the key's line out of it where it is set, and keep the line with your backups",
        )
    return path


def remark(path: Path, key_id: str) -> None:
    """Write the ring anew, with the key's line as a remark: a crash leaves the old file or the new one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    told = f"# retired {datetime.now(UTC):%Y-%m-%d}: "
    changed = [told + line.strip() if line.strip().startswith(f"{key_id}:") else line for line in lines]
    beside = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(changed) + "\n")
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(path, beside)
    owner = path.stat()
    os.chown(beside, owner.st_uid, owner.st_gid)
    beside.replace(path)
