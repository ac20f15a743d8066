"""`evergrant demo`: the whole system on this machine, beside the job that most teams write."""

from typing import TYPE_CHECKING

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.output import json_option
from worker.cli.started import as_started
from worker.demo.plan import DEFAULT_GRANTS, DEFAULT_SECONDS, LEAST_SECONDS, Plan

NEXT = (
    "evergrant up",
    "evergrant clients add temple --provider event-temple --client-id ID --client-secret-file FILE",
    "evergrant grants connect customer-1 --client temple",
)

if TYPE_CHECKING:
    from worker.demo.screen import Screen


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant demo
    evergrant demo --seconds 120 --grants 200
    evergrant demo --json | jq 'select(.event == "summary")'
    """,
)
@click.option(
    "--seconds",
    metavar="N",
    type=click.IntRange(LEAST_SECONDS, 3600),
    default=DEFAULT_SECONDS,
    show_default=True,
    help="How long the story takes, after the set-up.",
)
@click.option(
    "--grants",
    metavar="N",
    type=click.IntRange(10, 2000),
    default=DEFAULT_GRANTS,
    show_default=True,
    help="Grants of each side.",
)
@click.option("--keep", is_flag=True, help="Leave the folder with every log, and say where.")
@json_option
def demo(*, seconds: int, grants: int, keep: bool, as_json: bool) -> None:
    """Show the whole system at work on this machine.

    PostgreSQL, Valkey and a simulated provider are started in a throw-away folder. Evergrant and the job that most
    teams write keep the same grants alive under the same faults, and the provider's ledger counts what each has
    lost. Exit code 0 only if Evergrant lost none.
    """
    from worker.demo.installation import NotReady, Stopped
    from worker.demo.run import run

    plan = Plan(seconds, grants)
    screen = _screen(plan, as_json=as_json)
    try:
        result = run(plan, screen, commands=_next_commands(), keep=keep)
    except Stopped:
        raise Failure(
            code="interrupted",
            message="The demo was stopped, and nothing of it is left",
            next_step="run it again when you like",
            exit_code=ExitCode.INTERRUPTED,
        ) from None
    except NotReady as error:
        raise Failure(
            code="not_ready", message=f"The demo came to nothing: {error}", next_step="run it with --keep for its logs"
        ) from None
    finally:
        screen.close()
    if result.ours_lost:
        raise Failure(
            code="grants_lost",
            message=f"Evergrant lost {result.ours_lost} grants, and it should have lost none",
            next_step="run it with --keep and report it with demo.log",
        )


def _next_commands() -> list[str]:
    """What to type next, as it can be typed here."""
    return [as_started(each) for each in NEXT]


def _screen(plan: Plan, *, as_json: bool) -> "Screen":
    from worker.demo.screen import JsonScreen, PlainScreen

    if as_json:
        return JsonScreen(click.echo)
    if not output.on_terminal():
        return PlainScreen(click.echo)
    from worker.demo.page import LiveScreen

    return LiveScreen(plan)
