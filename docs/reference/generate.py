"""Write the reference pages that are made from the code: commands, settings, providers, and the tables of states.

    python docs/reference/generate.py

tests/unit/test_reference.py fails while a page and the code differ.
"""
# ruff: noqa: INP001  # a script, not a package

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from pkgutil import walk_packages
from textwrap import fill
from typing import get_args, get_origin

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

import click  # noqa: E402
import providers_page  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402
from sqlalchemy import inspect  # noqa: E402

import models  # noqa: E402
import tasks  # noqa: E402
from models.grant import Grant  # noqa: E402
from models.states.client import ClientState  # noqa: E402
from models.states.dead_letter import Cause  # noqa: E402
from models.states.grant import ConsentReason, GrantStatus, PauseReason  # noqa: E402
from models.states.revocation import Because, Evidence, RevocationStatus  # noqa: E402
from models.transitions import WRITERS, Lease, Writer  # noqa: E402
from settings import PREFIX, Settings  # noqa: E402
from tasks.policy.explanation.order import CHECKS  # noqa: E402
from tasks.policy.life import Finding  # noqa: E402
from tasks.policy.rotation import RotationFinding  # noqa: E402
from worker import embedded  # noqa: E402
from worker.cli import cli  # noqa: E402
from worker.cli.clients.probe_rotation import FAILED as FAILED_ROTATION_PROBES  # noqa: E402
from worker.cli.commands import Command, Group  # noqa: E402
from worker.cli.failures import ExitCode  # noqa: E402
from worker.cli.grants.findings import EXIT_CODES as EXIT_CODES_OF_PROBES  # noqa: E402

NOTE = "<!-- Made by docs/reference/generate.py; change the code, not this page. -->\n\n"

MANNERS = """# Commands

Every command has `--help` with an example. `REF...` may be `-`: the refs are read from standard input, one a line.
With `--json` lists print one object a line, everything else one object; without it a table on a terminal and plain
aligned text in a pipe. Times are ISO 8601 in UTC. Lengths of time are written `90s`, `10m`, `2h`, `7d`.
Secrets are read from a file or, with `-`, from standard input: a pipe, or a terminal, which asks for it and does not
show what is typed. Tokens are printed by `grants token`, and
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
    "status of a grant": GrantStatus.meanings(),
    "reason of a grant that needs consent": ConsentReason.meanings(),
    "reason of a grant that is paused": PauseReason.meanings(),
    "cause of a dead letter": Cause.meanings(),
    "status of a revocation": RevocationStatus.meanings(),
    "evidence of a revocation": Evidence.meanings(),
    "because, of a revocation": Because.meanings(),
    "state of a client": ClientState.meanings(),
    "cause of an explanation, the outermost first: the first that holds is its headline": {
        check.__name__: " ".join((check.__doc__ or "").split()).rstrip(".") for check in CHECKS
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
    """Every `error` that a command may tell: those written in its sources, and those that our exceptions have."""
    written = {
        code
        for path in (ROOT / "worker" / "cli").rglob("*.py")
        for code in re.findall(r'code="([a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    made = {kind.error for kind in exceptions() if hasattr(kind, "error")}
    made |= {f"probe_{each}" for each in EXIT_CODES_OF_PROBES} | set(GrantStatus.meanings())
    made |= {f"rotation_{each}" for each in FAILED_ROTATION_PROBES}
    return sorted((written | made) - {"active"})


def exceptions() -> set[type[Exception]]:
    """Every class of exception that the settings, the models, the tasks and the embedded engines define."""
    names = ["settings"]
    for package in (models, tasks, embedded):
        names += [each.name for each in walk_packages(package.__path__, f"{package.__name__}.")]
    found = [each for name in names for each in vars(import_module(name)).values()]
    return {
        each for each in found if isinstance(each, type) and issubclass(each, Exception) and each.__module__ in names
    }


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
    if isinstance(field.default, bool):
        default = default.lower()  # as it is written in an environment
    if field.default_factory is not None:
        default = "`~/.local/state/evergrant`" if name == "home" else "see there"
    return f"| `{PREFIX}{name.upper()}` | {_kind(field)} | {default} | {field.description} |"


def _kind(field: FieldInfo) -> str:
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)] or [field.annotation]
    kind = kinds[0]
    while get_origin(kind) is not None:
        kind = get_args(kind)[0]
    known = {
        "SecretStr": "secret text",
        "Path": "path",
        "str": "text",
        "bool": "`true` or `false`",
        "int": "whole number",
        "float": "number",
    }
    return known[kind.__name__]  # a new kind is no text by itself


def states_page() -> str:
    """The page of states: the text that is there, with its tables made anew."""
    page = (HERE / "states.md").read_text(encoding="utf-8")
    tables = {
        "columns": "| column | meaning |\n| --- | --- |\n" + "\n".join(_columns()),
        **{f"writers of {table}": _writers(writers) for table, writers in WRITERS.items()},
    }
    for name, made in tables.items():
        begin, end = f"<!-- {name}: made by generate.py -->\n", "<!-- end -->"
        before, rest = page.split(begin)
        page = before + begin + made + "\n" + rest[rest.index(end) :]
    return page


def _columns() -> Iterator[str]:
    for column in inspect(Grant).columns:
        yield f"| `{column.name}` | {column.doc} |"


def _writers(writers: Sequence[Writer]) -> str:
    head = ["| statement | what it does | to rows that are | which may become | of the lease |", "| --- " * 5 + "|"]
    return "\n".join([*head, *map(_writer, writers)])


def _writer(writer: Writer) -> str:
    lease = ", ".join(f"`{each}`" for each in Lease if each in writer.lease)
    return f"| `{writer.statement}` | {writer.does} | {_before(writer)} | {_moves(writer)} | {lease} |"


def _before(writer: Writer) -> str:
    if not writer.before:
        return "new"
    if writer.before in (frozenset(GrantStatus), frozenset(RevocationStatus)):
        return "any"
    told = ", ".join(f"`{each}`" for each in (*GrantStatus, *RevocationStatus) if each in writer.before)
    return f"{told}: its caller sees to it" if writer.by_caller else told


def _moves(writer: Writer) -> str:
    ends: dict[str, list[str]] = {}
    for before, after in writer.moves:
        ends.setdefault(after, []).append("new" if before is None else f"`{before}`")
    return "; ".join(f"{', '.join(befores)} → `{after}`" for after, befores in ends.items())


def catalogue_page() -> str:
    """The page of the provider files that come with Evergrant."""
    return NOTE + _wrapped(providers_page.page())


PAGES = {
    "commands.md": commands_page,
    "settings.md": settings_page,
    "states.md": states_page,
    "providers.md": catalogue_page,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
