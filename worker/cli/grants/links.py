"""What the commands share that make a link for a customer's browser."""

from typing import TYPE_CHECKING, Any

from worker.cli import output, session
from worker.cli.failures import misuse

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from models.ticket import Wanted
    from settings import Settings

LIVES_SECONDS = 15 * 60


def make_link(
    chosen: "RowMapping", wanted: "Wanted", settings: "Settings", *, allow_other_account: bool
) -> tuple[str, str]:
    """Make a ticket; returns its link, and the redirect URI that the provider must know.

    Raises:
        Failure: the client's grants have no user.
        NoPublicListener: nobody serves one.
        TicketRefused: what was said makes no ticket, or there are too many.

    """
    from models import public_listener, ticket
    from worker.cli.grants.code_flow import has_no_user

    if has_no_user(chosen, settings):
        raise misuse(
            code="no_user",
            message=f"Grants of {chosen['name']} have no user who could be sent anywhere",
            next_step=f"run `evergrant grants connect {wanted.ref} --client {chosen['name']}`, which asks at once",
        )
    with session.transaction() as connection:
        told = public_listener.served(connection)
        made = ticket.make(
            connection, chosen["id"], wanted, other_account_allowed=allow_other_account, who=settings.who
        )
        base = settings.public_url or told
    return f"{base}/connect/{made}", f"{base}/callback"


def tell(ref: str, client: str, link: tuple[str, str], *, as_json: bool) -> None:
    """Print the link."""
    url, redirect_uri = link
    record: dict[str, Any] = {
        "ref": ref,
        "client": client,
        "url": url,
        "redirect_uri": redirect_uri,
        "expires_in": LIVES_SECONDS,
    }
    output.done(record, url, as_json=as_json)
