"""`evergrant grants pause`, and what is told of grants whose status was changed."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from worker.cli import output, session
from worker.cli.arguments import client_option, read_refs, refs_argument
from worker.cli.commands import Command
from worker.cli.failures import Failure
from worker.cli.grants.refresh import located_again
from worker.cli.output import json_option

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.views.listing import Located


@click.command(cls=Command, example="evergrant grants pause customer-42 customer-43")
@refs_argument
@client_option
@json_option
def pause(refs: tuple[str, ...], *, client: str | None, as_json: bool) -> None:
    """Stop refreshing grants; their access tokens may be used until they expire."""
    from models import operator_actions
    from models.views import listing

    settings = session.prepared()
    with session.transaction() as connection:
        located = listing.locate(connection, read_refs(refs), client)
        operator_actions.pause_grants(connection, [each.id for each in located], who=settings.who)
        after = statuses(connection, located)
    tell_statuses(located, after, wanted="paused", as_json=as_json)


def statuses(connection: "Connection", located: "list[Located]") -> dict[UUID, str]:
    """What each grant is now."""
    return {each.id: each.status for each in located_again(connection, located)}


def tell_statuses(located: "list[Located]", after: dict[UUID, str], *, wanted: str, as_json: bool) -> None:
    """Say of each what it is now, and fail for those that could not be changed."""
    left = [each for each in located if after[each.id] != wanted]
    for each in located:
        what: dict[str, Any] = {"ref": each.ref, "client": each.client, "status": after[each.id]}
        output.done(what, f"{each.ref} is {after[each.id]}.", as_json=as_json)
    if left:
        raise Failure(
            code="not_changed",
            message=f"{len(left)} of {len(located)} could not become {wanted}",
            next_step="see `evergrant grants show` of those that are not",
        )
