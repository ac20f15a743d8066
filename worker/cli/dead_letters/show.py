"""`evergrant dead-letters show`: one letter, and what to do about it."""

from typing import TYPE_CHECKING, Any

import click

from models.states.grant import ConsentReason
from tasks.policy.advice import asks_again, consent_advice, named
from worker.cli import explaining, output, session
from worker.cli.commands import Command
from worker.cli.dead_letters.letters import record, unknown
from worker.cli.output import json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

NEXT = {
    "response_lost": "{again}",
    "revoked_or_expired": "{again}",
    "gave_up": "evergrant dead-letters redrive {id}",
    "refused": "if the provider's word for it means that the user withdrew: {again}",
    "our_configuration": "check the client's id and secret, then: evergrant dead-letters redrive {id}",
}


@click.command(cls=Command, changes=False, example="evergrant dead-letters show 3")
@click.argument("id", type=int)
@json_option
def show(id: int, *, as_json: bool) -> None:  # noqa: A002  # the name that users see
    """Show one dead letter and what to do about it."""
    from models.views import listing

    with session.reading() as connection:
        row = listing.dead_letter(connection, id)
        if row is None:
            raise unknown([id])
        told = explaining.explained(connection, row["grant_id"]) if row["resolved_at"] is None else None
    more: dict[str, Any] = {
        "resolved_by": row["resolved_by"],
        "generation": row["generation"],
        "grant_status": row["grant_status"],
        "revocation": row["revocation_id"],
        "next": next_step(row),
    }
    if told is not None:
        more |= explaining.members(told, as_json=as_json)
    output.one(record(row) | more, as_json=as_json)


def next_step(row: "RowMapping") -> str | None:
    """What a human should do about a letter; None where it is closed."""
    if row["resolved_at"] is not None:
        return None
    grant = named(row["ref"], row["client"])
    if row["cause"] in NEXT:
        again = asks_again(grant, by_link=row["asked_by_link"])
        return NEXT[row["cause"]].format(id=row["id"], again=again)
    if row["cause"] in ConsentReason.meanings():
        return consent_advice(row["cause"], grant=grant, by_link=row["asked_by_link"])
    return f"evergrant dead-letters redrive {row['id']}"
