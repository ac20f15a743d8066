"""`evergrant grants revoke`: a row that beat will find."""

from datetime import timedelta
from typing import TYPE_CHECKING

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
from worker.cli.failures import ExitCode, Failure
from worker.cli.output import json_option
from worker.cli.waiting import ran_out, wait_until

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.views.listing import Located
    from settings import Settings


@click.command(cls=Command, example='evergrant grants revoke customer-42 --reason "account deleted" --wait')
@refs_argument
@client_option
@click.option("--reason", metavar="TEXT", help="Why; it is kept with the revocation.")
@click.option("--shared", is_flag=True, help="Also where other refs share the grant at the provider, and end with it.")
@wait_option
@timeout_option("60s")
@yes_option
@json_option
def revoke(
    refs: tuple[str, ...],
    *,
    client: str | None,
    reason: str | None,
    shared: bool,
    wait: bool,
    timeout: timedelta,
    yes: bool,
    as_json: bool,
) -> None:
    """Kill grants at the provider, for good; from now on their tokens are not handed out.

    Refused where another living ref shares the grant at the provider, and would end with it, unless --shared.
    """
    from models import operator_actions
    from models.views import listing

    settings = session.prepared()
    names = read_refs(refs)
    with session.transaction() as connection:
        located = listing.locate(connection, names, client)
        if not shared:
            _refuse_shared(connection, located, settings)
    confirm(f"Revoke {counted(names)} at the provider, for good?", yes=yes)
    with session.transaction() as connection:
        made = [
            operator_actions.request_revocation(connection, each.id, reason=reason, who=settings.who)
            for each in located
        ]
    ids = [row["id"] for row in made]
    if wait:
        _wait_for_revocations(ids, timeout=timeout)
    with session.transaction() as connection:
        ended = [listing.revocation(connection, each) for each in ids]
    for row in filter(None, ended):
        what = {name: row[name] for name in ("id", "ref", "client", "status", "evidence")}
        told = f"{row['ref']}: revocation {row['id']} is {row['status']}"
        output.done(what, told + (f" ({row['evidence']})." if row["evidence"] else "."), as_json=as_json)
    fail_for_dead([row["ref"] for row in ended if row and row["status"] == RevocationStatus.DEAD])


def _refuse_shared(connection: "Connection", located: "list[Located]", settings: "Settings") -> None:
    """Refuse to end what others hang on.

    Raises:
        Failure: it names the first of them.

    """
    from models import shared_grant
    from models.views import listing
    from tasks.runtime.registration import resolve

    for name in sorted({each.client for each in located}):
        row = listing.client_by_name(connection, name)
        labels = sorted(resolve(row["provider"], row["overrides"], settings).labels_revoked_by)
        ids = [each.id for each in located if each.client == name]
        found = shared_grant.sharing(connection, row["id"], ids, labels=labels)
        if found:
            first, more = found[0], f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise Failure(
                code="shared_grant",
                message=f"{first.ref} and {first.other}{more} share one grant at the provider: both would end",
                next_step="name all of them, or add --shared; whoever is to live on must be connected again",
            )


def counted(names: list[str]) -> str:
    """Refs as a question names them."""
    return names[0] if len(names) == 1 else f"{len(names)} grants ({', '.join(names[:3])}, …)"


def fail_for_dead(refs: list[str]) -> None:
    """Fail where a revocation was given up.

    Raises:
        Failure: it names them.

    """
    if refs:
        raise Failure(
            code="dead_letter",
            message=f"The provider could not be made to revoke {', '.join(refs)}",
            next_step="see `evergrant dead-letters list`",
            exit_code=ExitCode.HUMAN,
        )


def _wait_for_revocations(ids: list[int], *, timeout: timedelta) -> None:
    from models.views import listing

    def ended() -> bool:
        with session.transaction() as connection:
            rows = [listing.revocation(connection, each) for each in ids]
        return all(row is not None and row["status"] in (RevocationStatus.DONE, RevocationStatus.DEAD) for row in rows)

    if not wait_until(ended, timeout=timeout):
        raise ran_out(timeout, "the revocations", "evergrant revocations list")
