"""`evergrant providers check`: whether a provider file can be used, and how it reads answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, misuse
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from tasks.oauth.provider import Provider
    from worker.cli.providers.samples import BadSample, Sample

PROBLEMS = [Column("problem")]
READINGS = [
    Column("line", number=True),
    Column("to", spare=2),
    Column("status", number=True),
    Column("means"),
    Column("by"),
    Column("code", spare=1),
    Column("expected"),
    Column("problem"),
    Column("note", spare=3),
]
a_file = click.Path(path_type=Path)


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant providers check providers/acme.toml
    evergrant providers check providers/acme.toml --answers acme.jsonl
    """,
)
@click.argument("file", type=a_file)
@click.option("--answers", type=a_file, metavar="FILE", help="Answers, a JSON object a line: see the how-to.")
@json_option
def check(file: Path, *, answers: Path | None, as_json: bool) -> None:
    """Check a provider file, and say how it reads answers; exit 1 where something is wrong."""
    from tasks.oauth import provider as files
    from tasks.oauth.errors import ProviderFileError

    try:
        provider = files.read(file)
    except ProviderFileError as error:
        problems = [{"file": str(file), "problem": f"{file}: {reason}"} for reason in error.reasons]
        output.rows(problems, PROBLEMS, as_json=as_json, nothing="")
        raise click.exceptions.Exit(ExitCode.FAILED) from None
    if answers is None:
        told = {"file": str(file), "name": provider.name, "answers": len(provider.answers)}
        output.done(told, f"{file} can be used; it has {len(provider.answers)} rules for answers.", as_json=as_json)
        return
    try:
        readings = list(_readings(provider, answers))
    except OSError as error:
        raise misuse(
            message=f"{answers} cannot be read: {error.strerror}", next_step="name a file with a JSON object a line"
        ) from None
    output.rows(readings, READINGS, as_json=as_json, nothing=f"{answers} holds no answer.")
    if any(reading["problem"] for reading in readings):
        raise click.exceptions.Exit(ExitCode.FAILED)


def _readings(provider: "Provider", answers: Path) -> Iterator[dict[str, Any]]:
    from worker.cli.providers.samples import BadSample, samples_in

    for each in samples_in(answers):
        yield _bad(each, answers) if isinstance(each, BadSample) else _reading(provider, each)


def _bad(line: "BadSample", answers: Path) -> dict[str, Any]:
    nothing = dict.fromkeys(["to", "status", "means", "by", "rule", "code", "expected", "note"])
    return {"line": line.line, **nothing, "problem": f"{answers}, line {line.line}: {line.problem}"}


def _reading(provider: "Provider", sample: "Sample") -> dict[str, Any]:
    from tasks.policy.understood import understood
    from tasks.runtime import clock

    found = understood(sample.response, sample.to, provider=provider, wall_clock=clock.wall())
    met = sample.means in (None, found.means)
    return {
        "line": sample.line,
        "to": sample.to.value,
        "status": sample.response.status,
        "means": found.means,
        "by": found.by,
        "rule": found.rule,
        "code": found.code,
        "expected": sample.means,
        "note": sample.note,
        "problem": None if met else f"it is read as {found.means}, not as {sample.means}",
    }
