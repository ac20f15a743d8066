"""`evergrant journals abandon`: a journal whose disk is gone for good, or that can be read no more."""

from typing import TYPE_CHECKING

import click

from models.states.journal import JournalState
from worker.cli import output, session
from worker.cli.arguments import confirm, yes_option
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.output import json_option

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.journal import Standing


@click.command(cls=Command, example="evergrant journals abandon 7")
@click.argument("id", type=click.IntRange(1, 2**63 - 1))
@yes_option
@json_option
def abandon(id: int, *, yes: bool, as_json: bool) -> None:  # noqa: A002  # the name that users see
    """Give up a journal whose disk is gone for good, or that is damaged: grants in doubt wait for it no longer.

    What it held is lost unless the disk comes back: a worker that finds it there settles it all the same.
    """
    from models import journal as register

    settings = session.prepared()
    with session.transaction() as connection:
        found = _standing(connection, id)
    if _is_over(found, as_json=as_json):
        return
    _refuse_what_is_not_gone(found)
    confirm(f"{_question(found)} {_waiting(found)}, and an answer that only it holds is lost.", yes=yes)
    with session.transaction() as connection:
        found = _standing(connection, id)
        _refuse_what_is_not_gone(found)
        register.abandon(connection, id, by=settings.who)
    record = {
        "id": id,
        "state": JournalState.ABANDONED,
        "grants_waited": found.grants_waiting,
        "abandoned_by": settings.who,
    }
    told = "Grants in doubt that waited for it go on as they fall due." if found.grants_waiting else ""
    output.done(record, f"Journal {id} is abandoned. {told}".rstrip(), as_json=as_json)


def _question(found: "Standing") -> str:
    where = f"journal {found.id} ({output.cell(found.host)}, process {output.cell(found.process)})"
    if found.damage is not None:
        return f"Give up {where}, of which {output.cell(found.damage)}?"
    return f"Is the disk of {where} gone for good?"


def _standing(connection: "Connection", journal_id: int) -> "Standing":
    from models import journal as register
    from models.views import fleet

    found = register.standing(connection, journal_id, silent_after=fleet.SILENT_AFTER)
    if found is None:
        raise Failure(
            code="unknown_journal",
            message=f"There is no journal {journal_id}",
            next_step="see `evergrant journals list`",
            exit_code=ExitCode.NOT_FOUND,
        )
    return found


def _is_over(found: "Standing", *, as_json: bool) -> bool:
    """Tell where nobody waits for a journal any longer."""
    if found.drained_at is None and found.abandoned_at is None:
        return False
    state = JournalState.DRAINED if found.drained_at else JournalState.ABANDONED
    by = f" by {output.cell(found.abandoned_by)}" if found.abandoned_by and state == JournalState.ABANDONED else ""
    record = {"id": found.id, "state": state, "grants_waited": 0, "abandoned_by": found.abandoned_by}
    output.done(record, f"Journal {found.id} was {state}{by} already; nobody waits for it.", as_json=as_json)
    return True


def _refuse_what_is_not_gone(found: "Standing") -> None:
    """Refuse a journal that will be drained by itself.

    Raises:
        Failure: its process lives, or it lies on this disk and nothing is known to be wrong with it.

    """
    from tasks.journal import journal_ids, left_behind

    if found.damage is not None and not found.alive:
        return

    folder = session.prepared().home / "journals"
    here = found.id in journal_ids(folder)
    holder_gone = found.id in {each.journal_id for each in left_behind(folder)}
    holder = f"{output.cell(found.process)} on {output.cell(found.host)}"
    if found.alive or (here and not holder_gone):
        raise Failure(
            code="journal_alive",
            message=f"Journal {found.id} is held by a living process, {holder}",
            next_step="it drains the journal itself; if you are about to take it away, stop it first",
        )
    if here:
        raise Failure(
            code="journal_here",
            message=f"Journal {found.id} lies on this disk, and any worker here settles what it holds within a minute",
            next_step=f"start one; if the key that opens it is lost, move {folder / str(found.id)} away first",
        )


def _waiting(found: "Standing") -> str:
    match found.grants_waiting:
        case 0:
            return "No grant in doubt waits for it"
        case 1:
            return "1 grant in doubt waits for it"
        case count:
            return f"{count} grants in doubt wait for it"
