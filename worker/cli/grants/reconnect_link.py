"""`evergrant grants reconnect-link`: a link by which a customer consents again."""

import click

from worker.cli import session
from worker.cli.arguments import Address, client_option, ref_argument
from worker.cli.commands import Command
from worker.cli.grants.links import make_link, tell
from worker.cli.output import json_option


@click.command(
    "reconnect-link",
    cls=Command,
    example="evergrant grants reconnect-link customer-42 --return-to https://app.example/settings",
)
@ref_argument
@client_option
@click.option("--return-to", type=Address(), metavar="URL", help="Where the customer goes afterwards.")
@click.option("--locale", metavar="TAG", help="The language of the pages, such as de; else the browser's.")
@click.option(
    "--allow-other-account", is_flag=True, help="Let them sign in with another account at the provider than before."
)
@json_option
def reconnect_link(
    ref: str, *, client: str | None, return_to: str | None, locale: str | None, allow_other_account: bool, as_json: bool
) -> None:
    """Print a link by which a customer consents again; good once, within 15 minutes.

    The grant keeps its ref, its labels and its count of generations. Another account than before is refused, where the
    provider tells whose it is.
    """
    from models.ticket import Wanted
    from models.views import listing

    settings = session.prepared()
    with session.reading() as connection:
        located = listing.locate(connection, [ref], client)[0]
        chosen = listing.client_by_name(connection, located.client)
    wanted = Wanted(ref, None, return_to, locale=locale)
    link = make_link(chosen, wanted, settings, allow_other_account=allow_other_account)
    tell(ref, chosen["name"], link, as_json=as_json)
