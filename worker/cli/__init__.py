"""The command `evergrant`: for operators, for scripts, and to start the processes."""

import os
import sys
import traceback
from typing import NoReturn

import click
from click.shell_completion import shell_complete

from worker.cli.commands import Group, Late
from worker.cli.failures import ExitCode, tell
from worker.cli.translations import translate

COMPLETION_VARIABLE = "_EVERGRANT_COMPLETE"

SECTIONS = {
    "Run": {
        "demo": Late("worker.cli.demo:demo", "Show the whole system at work on this machine."),
        "up": Late("worker.cli.processes:up", "Run everything on this machine until Ctrl-C."),
        "worker": Late("worker.cli.processes:worker", "Run one worker: it talks to the providers."),
        "beat": Late("worker.cli.processes:beat", "Run one beat: it claims what is due."),
        "web": Late("worker.cli.processes:web", "Run one web: it hands out tokens over HTTP, and serves metrics."),
        "simulator": Late("worker.cli.simulator:simulator", "Run the simulated provider, for development and CI."),
    },
    "Set up": {
        "db": Late("worker.cli.db:db", "The tables in the database: upgrade, check, adopt, roles."),
        "providers": Late("worker.cli.providers:providers", "The authorization servers that are known."),
        "clients": Late("worker.cli.clients:clients", "Our registrations at the providers."),
        "keys": Late("worker.cli.keys:keys", "The key rings that seal every token."),
        "apps": Late("worker.cli.applications:apps", "The applications that may use the token interface."),
    },
    "Work": {
        "grants": Late("worker.cli.grants:grants", "The grants that are kept alive."),
        "revocations": Late("worker.cli.revocations:revocations", "Grants on their way to the end."),
        "dead-letters": Late("worker.cli.dead_letters:dead_letters", "What was given up on, and why."),
    },
    "Watch": {
        "status": Late("worker.cli.status:status", "The fleet at a glance."),
        "plan": Late("worker.cli.plan:plan_", "Can a client keep its grants alive within its rate."),
        "journals": Late("worker.cli.journals:journals", "The files that hold the providers' answers."),
        "completion": Late("worker.cli.completion:completion", "Print the script that completes commands in a shell."),
    },
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


@click.group(cls=Group, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
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
    if instruction:
        sys.exit(shell_complete(cli, {}, "evergrant", COMPLETION_VARIABLE, instruction))
    sys.exit(run(sys.argv[1:]))
