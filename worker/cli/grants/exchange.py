"""`evergrant grants exchange`: the second half of a code flow."""

import click

from worker.cli import session
from worker.cli.arguments import check_ref, client_option, read_secret, ref_argument
from worker.cli.commands import Command
from worker.cli.grants.code_flow import client_of, code_parameter, tell, warn_of_crowd
from worker.cli.output import json_option


@click.command(
    cls=Command,
    example="evergrant grants exchange customer-42 --client temple --callback-url-file callback.txt",
)
@ref_argument
@client_option
@click.option(
    "--callback-url-file",
    metavar="FILE",
    required=True,
    help="Holds the whole URL that the user came back to; - reads standard input.",
)
@json_option
def exchange(ref: str, *, client: str | None, callback_url_file: str, as_json: bool) -> None:
    """Finish a code flow with the URL that the user came back to; its state must be one made for this ref."""
    from tasks import code_exchange, connect
    from worker.cli.runtime import opened

    settings = session.prepared()
    chosen = client_of(check_ref(ref), client)
    url = read_secret(callback_url_file, what="callback URL")
    callback = connect.read_callback(url, code_parameter=code_parameter(chosen, settings))
    with opened(settings) as runtime:
        stored = code_exchange.finish(runtime, callback, client_id=chosen["id"], ref=ref, who=settings.who)
    warn_of_crowd(chosen, stored, settings)
    tell(stored, ref, chosen["name"], as_json=as_json)
