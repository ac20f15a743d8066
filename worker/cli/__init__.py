"""The command `evergrant`: for operators, for scripts, and to start the processes."""

import gc
import os
import sys
import traceback
from typing import NoReturn

import click
from click.shell_completion import shell_complete

from worker.cli.commands import SectionedGroup
from worker.cli.failures import ExitCode, tell
from worker.cli.translations import translate

COMPLETION_VARIABLE = "_EVERGRANT_COMPLETE"

SECTIONS = {
    "Run": ["demo", "up", "worker", "beat", "web", "simulator"],
    "Set up": ["db", "providers", "clients", "keys", "apps", "webhooks"],
    "Work": ["grants", "tickets", "revocations", "dead-letters"],
    "Watch": ["status", "explain", "events", "doctor", "plan", "journals", "completion"],
}


def release() -> str:
    """The version of this installation."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("evergrant")
    except PackageNotFoundError:
        return "0 (not installed, run from its folder)"


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"evergrant {release()}")
        ctx.exit()


@click.group(cls=SectionedGroup, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version.",
)
def cli() -> None:
    """Keep OAuth 2.0 grants alive: renew every token before it expires, and revoke what must go."""


def run(arguments: list[str]) -> int:
    """Carry out one command line and return its exit code; errors have been told on standard error."""
    try:
        with cli.make_context("evergrant", arguments) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    except BrokenPipeError:
        _write_no_more()
        return ExitCode.BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 — the one place where every error ends
        return _fail(error, as_json="--json" in arguments)
    return ExitCode.DONE


def _fail(error: BaseException, *, as_json: bool) -> int:
    failure = translate(error)
    if failure.code == "internal" and os.environ.get("EVERGRANT_LOG_LEVEL") == "DEBUG":
        traceback.print_exception(error)
    tell(failure, as_json=as_json)
    try:
        sys.stdout.flush()
    except OSError:  # a full disk: it was told just now
        _write_no_more()
    return failure.exit_code


def _write_no_more() -> None:
    """Python flushes standard output once more at its end, and would complain there and change the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> NoReturn:
    """The console script."""
    instruction = os.environ.get(COMPLETION_VARIABLE)
    code: int = (
        shell_complete(cli, {}, "evergrant", COMPLETION_VARIABLE, instruction) if instruction else run(sys.argv[1:])
    )
    gc.freeze()  # searched for garbage once more at its end, what was imported cost a command a quarter of its CPU
    sys.exit(code)
