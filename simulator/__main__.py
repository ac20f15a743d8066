"""`python -m simulator`: the simulator alone, without the rest of the command line."""

from datetime import timedelta

import click

from simulator.habits import DIALECTS
from simulator.server import DEFAULT_PORT, run


@click.command(help="The bundled provider alone, for development and tests.")
@click.option("--port", default=DEFAULT_PORT, help="0: any free one; the line printed tells it.", show_default=True)
@click.option(
    "--profile", default="on_use", help="none, on_use, until_next_refresh, grace:SECONDS, immediate or family."
)
@click.option("--dialect", default="event-temple", type=click.Choice(list(DIALECTS)), show_default=True)
@click.option("--lifetime", default=7200.0, help="Seconds that an access token lives.", show_default=True)
@click.option("--rate", default=None, help="Requests per minute and application, as in 100/minute.")
@click.option("--fault", "faults", multiple=True, help="As in status,where=token,when=after,status=504,count=3")
@click.option("--seed", default=0, help="Same seed and same calls: same tokens.", show_default=True)
def main(
    *, port: int, profile: str, dialect: str, lifetime: float, rate: str | None, faults: tuple[str, ...], seed: int
) -> None:
    """Read the options and serve."""
    try:
        run(
            port=port,
            profile=profile,
            dialect=dialect,
            lifetime=timedelta(seconds=lifetime),
            rate=rate,
            faults=faults,
            seed=seed,
        )
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
