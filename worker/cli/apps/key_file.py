"""The file that a new key is written to: made by us, for nobody else, and gone again where nothing came of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from worker.cli.failures import misuse

key_file_option = click.option(
    "--key-file", type=click.Path(path_type=Path), required=True, help="The file to make for its key, mode 0600."
)


@contextmanager
def written(path: Path, key: str) -> Iterator[None]:
    """Write a key before it is stored as a hash, so that none is stored that nobody has.

    Raises:
        Failure: the file is there already.

    """
    with _new_file(path) as file:
        try:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
            yield
        except BaseException:
            path.unlink()
            raise


def _new_file(path: Path) -> IO[str]:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except FileExistsError:
        raise misuse(
            code="file_exists", message=f"{path} exists already", next_step="name a file that does not exist yet"
        ) from None
