"""`evergrant grants erase`: revoke grants, and forget whose they were."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from models.states.revocation import RevocationStatus
from worker.cli import output, session
from worker.cli.arguments import (
    client_option,
    confirm,
    read_refs,
    refs_argument,
    timeout_option,
    wait_option,
    yes_option,
)
from worker.cli.commands import Command
from worker.cli.grants.revoke import counted, fail_for_dead
from worker.cli.output import json_option
from worker.cli.waiting import ran_out, wait_until

if TYPE_CHECKING:
    from models.views.listing import Located


@click.command(cls=Command, example="evergrant grants erase customer-42 --wait")
@refs_argument
@client_option
@wait_option
@timeout_option("60s")
@yes_option
@json_option
def erase(
    refs: tuple[str, ...], *, client: str | None, wait: bool, timeout: timedelta, yes: bool, as_json: bool
) -> None:
    """Kill grants at the provider, and forget whose they were.

    Once a grant is dead, its ref, its labels and the texts of its requests are gone from every table, with those of
    earlier grants of the same ref; its id, its status and keyed fingerprints stay as long as journals are kept. One
    that the provider does not let die is erased when its dead letter is redriven.
    """
    from models import erasure, operator_actions
    from models.views import listing

    settings = session.prepared()
    names = read_refs(refs)
    with session.transaction() as connection:
        located = listing.locate(connection, names, client)
    confirm(f"Revoke {counted(names)} at the provider and forget whose they were, for good?", yes=yes)
    with session.transaction() as connection:
        for each in located:
            operator_actions.request_revocation(connection, each.id, reason=None, who=settings.who)
            erasure.request(connection, each.id, who=settings.who)
    if wait:
        _wait(located, timeout)
    _tell(located, as_json=as_json)


def _wait(located: "Sequence[Located]", timeout: timedelta) -> None:
    from models.views import listing

    def ended() -> bool:
        with session.transaction() as connection:
            open_ = {each.id for each in located} - _erased(connection, located)
            dead = {
                row["grant_id"]
                for row in listing.revocations_of(connection, open_)
                if row["status"] == RevocationStatus.DEAD
            }
        return open_ <= dead

    if not wait_until(ended, timeout=timeout):
        raise ran_out(timeout, "the erasures", "evergrant revocations list")


def _erased(connection: Any, located: "Sequence[Located]") -> set[UUID]:
    from models import erasure

    return erasure.erased(connection, [each.id for each in located])


def _tell(located: "Sequence[Located]", *, as_json: bool) -> None:
    """Say what became of each by the ref that was typed: its row may not know it any more."""
    from models.views import listing

    with session.transaction() as connection:
        erased = _erased(connection, located)
        by_grant = {row["grant_id"]: row for row in listing.revocations_of(connection, {each.id for each in located})}
    for each in located:
        row = by_grant[each.id]
        told = "is erased" if each.id in erased else "will be erased when it is dead"
        what = {"ref": each.ref, "client": each.client, "revocation": row["id"], "status": row["status"]}
        evidence = {"evidence": row["evidence"], "erased": each.id in erased}
        output.done(what | evidence, f"{each.ref} {told}; revocation {row['id']} is {row['status']}.", as_json=as_json)
    fail_for_dead([each.ref for each in located if by_grant[each.id]["status"] == RevocationStatus.DEAD])
