"""`evergrant grants connect-link`: a link for a customer's browser."""

import click

from worker.cli import session
from worker.cli.arguments import Address, check_ref, client_option, grouped, label_option, ref_argument
from worker.cli.commands import Command
from worker.cli.grants.code_flow import Labels, client_of
from worker.cli.grants.links import make_link, tell
from worker.cli.output import json_option


@click.command(
    "connect-link",
    cls=Command,
    example="evergrant grants connect-link customer-42 --client temple --return-to https://app.example/settings",
)
@ref_argument
@client_option
@label_option
@click.option("--scope", "scopes", multiple=True, metavar="S", help="Asked for in place of the client's; repeatable.")
@click.option("--return-to", type=Address(), metavar="URL", help="Where the customer goes afterwards.")
@click.option("--locale", metavar="TAG", help="The language of the pages, such as de; else the browser's.")
@json_option
def connect_link(
    ref: str,
    *,
    client: str | None,
    labels: Labels,
    scopes: tuple[str, ...],
    return_to: str | None,
    locale: str | None,
    as_json: bool,
) -> None:
    """Print a link that lets a customer connect in their own browser; good once, within 15 minutes.

    It leads to the public listener of `evergrant web`. Whoever opens it connects their account as this ref: show it to
    that customer alone.
    """
    from models.ticket import Wanted

    settings = session.prepared()
    chosen = client_of(check_ref(ref), client)
    wanted = Wanted(ref, None, return_to, grouped(labels), scopes, locale)
    link = make_link(chosen, wanted, settings, allow_other_account=False)
    tell(ref, chosen["name"], link, as_json=as_json)
