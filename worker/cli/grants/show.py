"""`evergrant grants show`: one grant, and what to do about it."""

from functools import partial
from typing import Any

import click

from worker.cli import explaining, keyrings, output, session
from worker.cli.arguments import client_option, ref_argument
from worker.cli.commands import Command
from worker.cli.grants.record import record
from worker.cli.output import json_option


@click.command(cls=Command, changes=False, example="evergrant grants show customer-42")
@ref_argument
@client_option
@json_option
def show(ref: str, *, client: str | None, as_json: bool) -> None:
    """Show one grant and what to do about it."""
    from models import asked_labels
    from models.sealing import key_use
    from models.views import listing

    with session.reading() as connection:
        located = listing.locate(connection, [ref], client)[0]
        row = listing.grant(connection, located.id)
        asked = asked_labels.of_grant(connection, located.id)
        missing = keyrings.missing_keys(connection, partial(key_use.missing_for, grant_id=located.id))
        told = explaining.explained(connection, located.id)
    shown = record(row)
    more: dict[str, Any] = {
        "id": row["id"],
        "provider": row["provider"],
        "keep": row["keep"],
        "under_way": row["under_way"],
        "in_doubt_since": row["doubt_since"],
        "suspect_since": row["suspect_at"],
        "failing_since": row["failing_since"],
        "former_tokens": row["former_tokens"],
        "dead_letters": row["dead_letters"] or [],
        "revocation": row["revocation"],
        "revocation_held": row["revocation_held"],
    }
    if asked is not None:
        more["labels_asked"] = {"at": asked["answered_at"], "due_at": asked["due_at"], **asked["told"]}
    if missing:
        more |= {"missing_keys": [what for what, _ in missing], "next": missing[0][1]}
    if shown["next"] is None and not missing and not told.well:
        more["next"] = told.command or told.remedy
    more |= explaining.members(told, as_json=as_json)
    output.one(shown | more, as_json=as_json)
