"""What was typed to start us: hints name that, for in a checkout only `./run` is there to be typed.

Texts everywhere say `evergrant`, as the documentation does; what prints them to a person passes them through here.
"""

import os
import re
import sys
from pathlib import Path
from shutil import which

from worker.cli.sections import SECTIONS

NAME = "evergrant"
VARIABLE = "_EVERGRANT_STARTED_AS"  # set by `./run`; no setting, so it has not the prefix of one


def as_started(text: str) -> str:
    """A text whose commands can be typed here: `evergrant status` as `./run status` where that was typed."""
    if NAME not in text:
        return text
    name = command()
    return text if name == NAME else _commands().sub(lambda _: name, text)


def command() -> str:
    """What was typed: `./run` in a checkout, `evergrant` where that is on the path, else its own path."""
    if typed := os.environ.get(VARIABLE):
        return typed
    script = Path(sys.argv[0])
    if script.name != NAME:  # a library's caller, `python -m worker.cli`, a test
        return NAME
    found = which(NAME)
    return NAME if found is not None and _is_same(Path(found), script) else str(script)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _commands() -> re.Pattern[str]:
    """Where a text names us as a command, and not as a schema, a role or a folder."""
    names = "|".join(name for names in SECTIONS.values() for name in names)
    return re.compile(rf"(?<![\w./-]){NAME}(?= (?:{names}|--help|\[OPTIONS\])(?![\w/-]))")
