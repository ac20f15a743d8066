"""`evergrant grants authorize-url`: the first half of a code flow, for a user elsewhere."""

import click

from worker.cli import output, session
from worker.cli.arguments import check_ref, client_option, label_option, ref_argument
from worker.cli.commands import Command
from worker.cli.grants.code_flow import Labels, client_of, invite
from worker.cli.output import json_option


@click.command("authorize-url", cls=Command, example="evergrant grants authorize-url customer-42 --client temple")
@ref_argument
@client_option
@label_option
@json_option
def authorize_url(ref: str, *, client: str | None, labels: Labels, as_json: bool) -> None:
    """Print the URL that a user must visit; it may be used once, within 15 minutes."""
    settings = session.prepared()
    chosen = client_of(check_ref(ref), client)
    invitation = invite(chosen, ref, labels, settings)
    record = {
        "ref": ref,
        "client": chosen["name"],
        "url": invitation.url,
        "redirect_uri": invitation.redirect_uri,
        "expires_in": int(invitation.lives.total_seconds()),
    }
    output.done(record, invitation.url, as_json=as_json)
