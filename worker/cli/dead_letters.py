"""`evergrant dead-letters`: what was given up on, and why."""

from typing import Any

import click
from sqlalchemy import RowMapping

from models.redrive import discard as discard_letters
from models.redrive import redrive as redrive_letters
from models.states.dead_letter import Cause
from models.views import listing
from worker.cli import output, session
from worker.cli.arguments import client_option, confirm, named, yes_option
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure, misuse
from worker.cli.output import Column, json_option

COLUMNS = [
    Column("id", number=True),
    Column("ref"),
    Column("client", spare=2),
    Column("kind", spare=4),
    Column("cause"),
    Column("attempts", spare=5, number=True),
    Column("dead_at", spare=1),
    Column("detail", spare=6),
    Column("resolution", spare=3),
]
NEXT = {
    Cause.RESPONSE_LOST: "evergrant grants connect {grant}",
    Cause.REVOKED_OR_EXPIRED: "evergrant grants connect {grant}",
    Cause.GAVE_UP: "evergrant dead-letters redrive {id}",
    Cause.REFUSED: "if the provider's word for it means that the user withdrew: evergrant grants connect {grant}",
    Cause.OUR_CONFIGURATION: "check the client's id and secret, then: evergrant dead-letters redrive {id}",
}
cause_option = click.option("--cause", metavar="C", help="Such as revoked_or_expired or gave_up.")
ids_argument = click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)


@click.group("dead-letters")
def dead_letters() -> None:
    """What was given up on, and why."""


@dead_letters.command("list", cls=Command, example="evergrant dead-letters list --cause gave_up")
@client_option
@cause_option
@click.option("--all", "everything", is_flag=True, help="The closed ones as well.")
@json_option
def list_(*, client: str | None, cause: str | None, everything: bool, as_json: bool) -> None:
    """List the open dead letters, oldest first."""
    with session.reading() as connection:
        if client:
            listing.client_by_name(connection, client)
        found = listing.dead_letters(connection, client=client, cause=cause, resolved=everything)
        columns = COLUMNS if everything else COLUMNS[:-1]
        output.rows(map(record, found), columns, as_json=as_json, nothing="No dead letter is open.")


@dead_letters.command(cls=Command, example="evergrant dead-letters show 3")
@click.argument("id", type=int)
@json_option
def show(id: int, *, as_json: bool) -> None:  # noqa: A002  # the name that users see
    """Show one dead letter and what to do about it."""
    with session.reading() as connection:
        row = listing.dead_letter(connection, id)
    if row is None:
        raise _unknown([id])
    more = {
        "resolved_by": row["resolved_by"],
        "generation": row["generation"],
        "grant_status": row["grant_status"],
        "revocation": row["revocation_id"],
        "next": _next(row),
    }
    output.one(record(row) | more, as_json=as_json)


@dead_letters.command(
    cls=Command,
    example="""
    evergrant dead-letters redrive 3 4
    evergrant dead-letters redrive --all --cause gave_up --dry-run
    """,
)
@click.argument("ids", metavar="[ID...]", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every open one that matches.")
@client_option
@cause_option
@click.option("--dry-run", is_flag=True, help="Only show which.")
@yes_option
@json_option
def redrive(
    ids: tuple[int, ...],
    *,
    everything: bool,
    client: str | None,
    cause: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Send back what was given up on; a grant only at the generation that the letter speaks of."""
    if bool(ids) == everything:
        raise misuse(message="Either ids or --all is needed", next_step="name one of both")
    settings = session.prepared()
    with session.reading() as connection:
        chosen = _chosen(listing.dead_letters(connection, client=client, cause=cause), ids)
    if dry_run:
        output.rows(map(record, chosen), COLUMNS[:-1], as_json=as_json, nothing="No dead letter matches.")
        return
    if everything:
        confirm(f"Redrive {len(chosen)} dead letters?", yes=yes)
    with session.transaction() as connection:
        results = redrive_letters(connection, [row["id"] for row in chosen], who=settings.who)
    for each in results:
        told = f"{each.id} ({each.ref}) goes back." if each.done else f"{each.id} ({each.ref}): {each.why_not}."
        what = {"id": each.id, "ref": each.ref, "redriven": each.done, "reason": each.why_not}
        output.done(what, told, as_json=as_json)
    if not all(each.done for each in results):
        raise Failure(
            code="not_redriven",
            message="Not every letter could be sent back",
            next_step="look at those with `evergrant dead-letters show`",
        )


@dead_letters.command(cls=Command, example="evergrant dead-letters discard 3")
@ids_argument
@yes_option
@json_option
def discard(ids: tuple[int, ...], *, yes: bool, as_json: bool) -> None:
    """Close dead letters without doing anything about them."""
    settings = session.prepared()
    with session.reading() as connection:
        _chosen(listing.dead_letters(connection), ids)
    confirm(f"Discard {'dead letter' if len(ids) == 1 else 'dead letters'} {', '.join(map(str, ids))}?", yes=yes)
    with session.transaction() as connection:
        done = discard_letters(connection, ids, who=settings.who)
    for each in ids:
        told = f"{each} is closed." if each in done else f"{each} was closed already."
        output.done({"id": each, "discarded": each in done}, told, as_json=as_json)


def record(row: RowMapping) -> dict[str, Any]:
    """A dead letter as JSON and tables show it."""
    names = (
        "id",
        "kind",
        "ref",
        "client",
        "cause",
        "detail",
        "attempts",
        "first_failed_at",
        "dead_at",
        "resolved_at",
        "resolution",
    )
    return {name: row[name] for name in names}


def _chosen(found: Any, ids: tuple[int, ...]) -> list[RowMapping]:
    """Those of the ids, or all where no id is given.

    Raises:
        Failure: an id is not among the open letters.

    """
    rows = [row for row in found if not ids or row["id"] in ids]
    missing = sorted(set(ids) - {row["id"] for row in rows})
    if missing:
        raise _unknown(missing)
    return rows


def _unknown(ids: list[int]) -> Failure:
    return Failure(
        code="unknown_dead_letter",
        message=f"There is no open dead letter {', '.join(map(str, ids))}",
        next_step="see `evergrant dead-letters list`",
        exit_code=ExitCode.NOT_FOUND,
    )


def _next(row: RowMapping) -> str | None:
    if row["resolved_at"] is not None:
        return None
    return NEXT.get(row["cause"], "evergrant dead-letters redrive {id}").format(
        id=row["id"], grant=named(row["ref"], row["client"])
    )
