"""`evergrant simulator`: the bundled provider alone. It is a stand-in for development and CI."""

from datetime import timedelta

import click

from simulator.habits import DIALECTS
from worker.cli.arguments import Duration, port_fault
from worker.cli.commands import Command
from worker.cli.failures import Failure, misuse

DEFAULT_PORT = 9455  # as in tasks/oauth/providers/simulator.toml; the server's own module imports aiohttp


@click.command(
    cls=Command,
    example="""
    evergrant simulator --lifetime 60s --rate 100/minute
    evergrant simulator --profile family --fault status,where=token,when=after,status=504,count=3
    """,
)
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0: any free one.")
@click.option(
    "--profile",
    metavar="P",
    default="on_use",
    show_default=True,
    help="The old refresh token: none, on_use, until_next_refresh, grace:SECONDS, immediate, family.",
)
@click.option(
    "--dialect",
    type=click.Choice(list(DIALECTS)),
    default="event-temple",
    show_default=True,
    help="Whose habits it has.",
)
@click.option("--lifetime", type=Duration(), default="2h", show_default=True, help="How long an access token lives.")
@click.option("--rate", metavar="N/minute", help="Requests a minute and application; without it no limit.")
@click.option("--fault", "faults", multiple=True, metavar="…", help="What goes wrong; may be repeated.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same calls: same tokens.")
def simulator(
    *,
    port: int,
    profile: str,
    dialect: str,
    lifetime: timedelta,
    rate: str | None,
    faults: tuple[str, ...],
    seed: int,
) -> None:
    """Run the simulated provider, for development and CI.

    It is a real authorization server over HTTP on 127.0.0.1, with lives of seconds and faults to order.
    """
    from simulator.server import run

    try:
        run(port=port, profile=profile, dialect=dialect, lifetime=lifetime, rate=rate, faults=faults, seed=seed)
    except ValueError as error:
        raise misuse(message=str(error), next_step="see `evergrant simulator --help`") from None
    except OSError as error:
        raise Failure(
            code="port_in_use",
            message=f"Port {port} cannot be listened on: {port_fault(error)}",
            next_step="end what uses it, or choose another with --port",
        ) from None
