"""Write the reference pages that are made from the code: commands.md and settings.md.

    python docs/reference/generate.py

tests/unit/test_reference.py fails while a page and the code differ.
"""
# ruff: noqa: INP001  # a script, not a package

import re
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from textwrap import fill
from typing import get_args, get_origin

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402

from settings import PREFIX, Settings  # noqa: E402
from tasks.policy.outcome import Finding  # noqa: E402
from tasks.policy.rotation import RotationFinding  # noqa: E402
from worker.cli import cli  # noqa: E402
from worker.cli.commands import Command, Group  # noqa: E402
from worker.cli.failures import ExitCode  # noqa: E402
from worker.cli.grant_probe import EXIT_CODES as EXIT_CODES_OF_PROBES  # noqa: E402
from worker.cli.grants import HANDED_OVER, STATUSES  # noqa: E402
from worker.cli.rotation_probe import FAILED as FAILED_ROTATION_PROBES  # noqa: E402
from worker.cli.translations import CONNECT, snake  # noqa: E402
from worker.embedded.errors import EmbeddedError  # noqa: E402

NOTE = "<!-- Made by docs/reference/generate.py; change the code, not this page. -->\n\n"

MANNERS = """# Commands

Every command has `--help` with an example. `REF...` may be `-`: the refs are read from standard input, one a line.
With `--json` lists print one object a line, everything else one object; without it a table on a terminal and plain
aligned text in a pipe. Times are ISO 8601 in UTC. Lengths of time are written `90s`, `10m`, `2h`, `7d`.
Secrets are read from a file or, with `-`, from standard input. Tokens are printed by `grants token`, and
written by `grants export`, alone. What destroys
asks on a terminal and needs `--yes` without one. Whoever changes something is recorded by `EVERGRANT_ACTOR`, else by
the name of the OS user. `eval "$(evergrant completion bash)"` completes commands in a shell.

## Exit codes

| code | meaning |
| --- | --- |
{exit_codes}

An error is one sentence on standard error that says what to do next; with `--json` it is one object
`{{"error", "message", "next"}}`, whose `error` never changes once released:

{errors}

## Enumerations

| where | value | meaning |
| --- | --- | --- |
{enumerations}

"""

EXIT_CODES = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed, or a check found something",
    ExitCode.USAGE: "wrong usage: the command line, a file or a setting",
    ExitCode.HUMAN: "a human must act: a grant needs consent, a dead letter",
    ExitCode.NOT_FOUND: "not found: no such ref, client, letter or provider",
    ExitCode.TRY_AGAIN: "try again: the database, `evergrant up` or the provider is away, or `--timeout` ran out",
    ExitCode.INTERRUPTED: "ended by Ctrl-C",
    ExitCode.BROKEN_PIPE: "whoever read the output left, as `head` does",
}
ENUMERATIONS: dict[str, Mapping[str, str]] = {
    "status of a grant": STATUSES,
    "reason of a grant that needs consent": {
        "response_lost": "an answer was lost, and with it the only copy of its refresh token",
        "revoked_or_expired": "the provider refuses its refresh token",
    },
    "reason of a grant that is paused": {
        HANDED_OVER: "another home keeps it: `grants export --handover`",
    },
    "cause of a dead letter": {
        "response_lost": "as above",
        "revoked_or_expired": "as above",
        "gave_up": "it failed for a day in which others succeeded; it is still asked every hour",
        "refused": "the provider refused it alone for a day, in words of its own; it is still asked every hour",
        "our_configuration": "the provider refused us for a day: the client's id, secret or settings are wrong",
    },
    "status of a revocation": {
        "queued": "it will be worked on",
        "waiting": "it waits for the end of the grant that took its place",
        "done": "the grant is dead, as its evidence says",
        "dead": "the provider could not be made to do it; a dead letter tells",
    },
    "evidence of a revocation": {
        "verified": "every token ever received was seen to be dead",
        "accepted": "the provider said yes, and there was no way to look",
        "unsupported": "the provider has no revocation endpoint",
    },
    "because, of a revocation": {
        "ever_in_doubt": "an answer was lost, and may have held a pair that nobody knows",
        "predecessors_dropped": "more predecessors than are kept may have lived",
        "older_access_tokens": "a revocation kills one pair there, and an access token that was replaced may live "
        "until `access_tokens_end_by`",
        "no_way_to_look": "neither a probe nor the API told of every pair that it is dead",
        "no_revocation_endpoint": "the provider has none; the grant was blocked until its access token had ended",
    },
    "state of a client": {
        "open": "requests are sent",
        "paused": "an operator stopped it",
        "shut": "the breaker stopped it; one request at a time tries whether it may open",
        "holding": "unusually many grants were refused at once, so their verdicts are held",
    },
    "finding of a probe": {
        Finding.ALIVE: "the refresh token lives",
        Finding.DEAD: "it is dead, or another client's",
        Finding.REFRESHED: "the provider took the question for a refresh; the token set is stored",
        Finding.MISCONFIGURED: "the provider refused our credentials",
        Finding.UNCLEAR: "no answer that says anything",
        Finding.BUSY: "nothing was sent: not active, under way, or held back",
    },
    "finding of a rotation probe": {
        RotationFinding.NONE: "the refresh token stays as it is",
        RotationFinding.ON_USE: "the old one lives until the access token of its successor is used",
        RotationFinding.GRACE: "the old one lives on for a while",
        RotationFinding.IMMEDIATE: "the old one dies at once",
        RotationFinding.FAMILY: "the old one dies at once, and using it again kills its successor, too",
        RotationFinding.ON_USE_OR_GRACE: "the old one works again, and there is no address to tell the two apart",
        RotationFinding.DEAD: "the first refresh was refused already",
        RotationFinding.UNCLEAR: "it was broken off: no answer, or somebody else has the grant",
    },
}


def commands_page() -> str:
    """The page of every command."""
    exit_codes = "\n".join(f"| {code.value} | {EXIT_CODES[code]} |" for code in sorted(ExitCode))
    enumerations = "\n".join(
        f"| {where} | `{value}` | {meaning} |"
        for where, values in ENUMERATIONS.items()
        for value, meaning in values.items()
    )
    # A line an initial: a new code changes one line.
    initials = groupby(error_codes(), key=itemgetter(0))
    errors = ",\n".join(", ".join(f"`{code}`" for code in codes) for _, codes in initials)
    head = MANNERS.format(exit_codes=exit_codes, enumerations=enumerations, errors=errors)
    return NOTE + _wrapped(head + "\n".join(_sections(cli, "evergrant")))


def _wrapped(page: str) -> str:
    """Break long lines of prose, so that a change is a change of few of them; no `code` is broken."""
    return "\n".join(line if line.startswith(("|", "#", "  ")) else _broken(line) for line in page.split("\n"))


def _broken(line: str) -> str:
    whole = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), line)
    indent = "  " if line.startswith("- ") else ""
    lines = fill(whole, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")


def error_codes() -> list[str]:
    """Every `error` that a command may tell: those written in its sources, and those made from a class's name."""
    written = {
        code
        for path in (ROOT / "worker" / "cli").glob("*.py")
        for code in re.findall(r'code="([a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    classes = [*CONNECT, *(kind.__name__ for kind in EmbeddedError.__subclasses__())]
    made = {snake(name) for name in classes} | {f"probe_{each}" for each in EXIT_CODES_OF_PROBES} | set(STATUSES)
    made |= {f"rotation_{each}" for each in FAILED_ROTATION_PROBES}
    return sorted((written | made) - {"active"})


def _sections(group: click.Group, path: str) -> Iterator[str]:
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield f"## {path} {name}\n\n{_text(command)}\n"
            yield from _sections(command, f"{path} {name}")
        elif isinstance(command, Command):
            level = "##" if isinstance(group, Group) and group is cli else "###"
            yield _section(command, f"{path} {name}", level)


def _section(command: Command, name: str, level: str) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    example = "\n".join(line.strip() for line in command.example.strip().splitlines())
    options = "\n".join(_option(each) for each in command.params if isinstance(each, click.Option))
    return f"{level} {name}\n\n{_text(command)}\n\n    {name} {usage}\n\n{options}\n\n```sh\n{example}\n```\n"


def _text(command: click.Command) -> str:
    paragraphs = (command.help or "").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _option(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" {option.metavar or _choices(option)}"
    told = [option.help or "", "Required." if option.required else ""]
    if option.show_default and option.default not in (None, ()):
        told.append(f"Default: {option.default}.")
    return f"- `{names}{value}`: {' '.join(filter(None, told))}".rstrip(": ")


def _choices(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return "N" if option.type.name.startswith("integer") else option.type.name.upper()


def settings_page() -> str:
    """The page of every environment variable."""
    rows = [_setting(name, field) for name, field in Settings.model_fields.items()]
    return NOTE + (
        "# Settings\n\n"
        "Everything is set in the environment; an empty variable counts as unset. A value that cannot be used is\n"
        "named at the start, without repeating it. `evergrant up` passes its settings on to what it starts.\n\n"
        "| variable | value | default | meaning |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


def _setting(name: str, field: FieldInfo) -> str:
    default = "" if field.default is None else f"`{field.default}`"
    if field.default_factory is not None:
        default = "`~/.local/state/evergrant`" if name == "home" else "see there"
    return f"| `{PREFIX}{name.upper()}` | {_kind(field)} | {default} | {field.description} |"


def _kind(field: FieldInfo) -> str:
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)] or [field.annotation]
    kind = kinds[0]
    while get_origin(kind) is not None:
        kind = get_args(kind)[0]
    known = {"SecretStr": "secret text", "Path": "path", "str": "text", "int": "whole number", "float": "number"}
    return known.get(getattr(kind, "__name__", ""), "text")


PAGES = {"commands.md": commands_page, "settings.md": settings_page}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
