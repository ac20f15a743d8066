"""`evergrant webhooks add`: tell a URL what happens from now on."""

import click

from worker.cli import keyrings, output, session
from worker.cli.arguments import types_option
from worker.cli.commands import Command
from worker.cli.failures import misuse
from worker.cli.output import json_option
from worker.cli.webhooks.record import known_types, record_of
from worker.cli.webhooks.secrets import sealed, secret_file_option, secret_in


@click.command(
    cls=Command,
    example="""
    evergrant webhooks add https://app.example/evergrant --secret-file webhook.secret
    evergrant webhooks add https://app.example/consents --secret-file - --type grant.needs_consent --client temple
    """,
)
@click.argument("url")
@secret_file_option
@types_option("Only events of this type; may be repeated. Default: what happens to grants and clients by itself.")
@click.option(
    "--client", "clients", metavar="NAME", multiple=True, help="Only what is of this client; may be repeated."
)
@click.option(
    "--allow-private",
    is_flag=True,
    help="Its host may have a private address, or be this machine; then plain http:// will do on loopback.",
)
@json_option
def add(
    url: str,
    *,
    secret_file: str,
    types: tuple[str, ...],
    clients: tuple[str, ...],
    allow_private: bool,
    as_json: bool,
) -> None:
    """Tell a URL what happens from now on, in letters of Standard Webhooks.

    Try it with `evergrant webhooks test`. Of one grant it is told in order, each event once, or once more where its
    answer was lost; what it does not take with 2xx is sent again for three days.
    """
    from models import webhook
    from models.views import listing

    _check(url, allow_private=allow_private)
    settings = session.prepared()
    secret = secret_in(secret_file)
    vault = keyrings.keys_needed(keyrings.vault(), "refresh")
    with session.transaction() as connection:
        ids = [listing.client_by_name(connection, each)["id"] for each in dict.fromkeys(clients)] or None
        made = webhook.add(
            connection, url, types=known_types(types), client_ids=ids, allow_private=allow_private, who=settings.who
        )
        webhook.seal(connection, made, sealed(vault, secret, made))
        record = record_of(webhook.found(connection, made))
    told = f"Webhook {made} is told from now on; try it with `evergrant webhooks test {made}`."
    output.done(record, told, as_json=as_json)


def _check(url: str, *, allow_private: bool) -> None:
    """See that a URL may be sent to, as far as it says itself: what its host's name stands for is asked each time.

    Raises:
        Failure: it may not.

    """
    from tasks.oauth.fields import checked_url
    from tasks.oauth.transport import names_private_address

    try:
        checked_url(url)
    except ValueError as error:
        raise misuse(
            code="webhook_url", message=f"The URL {error}", next_step="write one such as https://app.example/evergrant"
        ) from None
    if not allow_private and (names_private_address(url) or url.startswith("http://")):
        raise misuse(
            code="webhook_url",
            message="The URL leads to this machine or into a private network",
            next_step="name a public https:// URL, or add --allow-private if that is meant",
        )
