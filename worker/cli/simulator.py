"""`evergrant simulator`: the bundled provider alone. It is a stand-in for development and CI."""

from datetime import timedelta
from typing import Any

import click

from simulator.habits import DIALECTS
from worker.cli.arguments import Duration, port_fault
from worker.cli.commands import Command
from worker.cli.failures import Failure, misuse

DEFAULT_PORT = 9455  # as in tasks/oauth/providers/simulator.toml; the server's own module imports aiohttp


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant simulator --lifetime 60s --rate 100/minute
    evergrant simulator --like atlassian --lifetime 60s
    evergrant simulator --profile family --fault status,where=token,when=after,status=504,count=3
    """,
)
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0: any free one.")
@click.option(
    "--profile",
    metavar="P",
    help="The old refresh token: none, on_use (the usual), until_next_refresh, grace:SECONDS, immediate, family.",
)
@click.option(
    "--dialect",
    type=click.Choice(list(DIALECTS)),
    default="event-temple",
    show_default=True,
    help="Whose habits it has.",
)
@click.option("--like", metavar="NAME", help="Take rotation, life, rate, refusals and paths from this provider's file.")
@click.option("--lifetime", type=Duration(), help="How long an access token lives; 2h unless it is like another.")
@click.option("--rate", metavar="N/minute", help="Requests a minute and application; without it no limit.")
@click.option("--fault", "faults", multiple=True, metavar="…", help="What goes wrong; may be repeated.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same calls: same tokens.")
def simulator(
    *,
    port: int,
    profile: str | None,
    dialect: str,
    like: str | None,
    lifetime: timedelta | None,
    rate: str | None,
    faults: tuple[str, ...],
    seed: int,
) -> None:
    """Run the simulated provider, for development and CI.

    It is a real authorization server over HTTP on 127.0.0.1, with lives of seconds and faults to order.
    """
    from simulator.server import run

    given = {"profile": profile, "lifetime": lifetime, "rate": rate}
    told = {name: value for name, value in given.items() if value is not None}
    try:
        run(port=port, faults=faults, seed=seed, **({"dialect": dialect} | _like(like) | told))
    except ValueError as error:
        raise misuse(message=str(error), next_step="see `evergrant simulator --help`") from None
    except OSError as error:
        raise Failure(
            code="port_in_use",
            message=f"Port {port} cannot be listened on: {port_fault(error)}",
            next_step="end what uses it, or choose another with --port",
        ) from None


def _like(name: str | None) -> dict[str, Any]:
    """What a provider's file makes of the simulator.

    Raises:
        UnknownProvider, ProviderFileError: there is no such file, or it cannot be used.

    """
    if name is None:
        return {}
    import settings
    from tasks.oauth import provider as files
    from worker.cli.likeness import likeness_of

    found = likeness_of(files.load(name, folder=settings.current().provider_folder))
    return {
        "dialect": "doorkeeper",
        "profile": found.profile,
        "habits": found.habits,
        "lifetime": found.lifetime,
        "rate": found.rate,
        "paths": found.paths,
    }
