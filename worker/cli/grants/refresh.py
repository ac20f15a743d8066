"""`evergrant grants refresh`: a row that beat will find."""

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import click

from models.states.grant import GrantStatus
from tasks.policy.advice import named
from worker.cli import explaining, output, session
from worker.cli.arguments import client_option, read_refs, refs_argument, timeout_option, wait_option
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.output import json_option
from worker.cli.waiting import ran_out, wait_until

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.views.listing import Located
    from tasks.policy.explanation.cause import Explanation

MOST_EXPLAINED = 3  # of those that are waited for


@click.command(
    cls=Command,
    example="""
    evergrant grants refresh customer-42 --wait
    cut -f1 refs.tsv | evergrant grants refresh -
    """,
)
@refs_argument
@client_option
@wait_option
@timeout_option("60s")
@json_option
def refresh(refs: tuple[str, ...], *, client: str | None, wait: bool, timeout: timedelta, as_json: bool) -> None:
    """Ask for an early refresh; many requests for one grant make one refresh."""
    from models import operator_actions
    from models.views import listing

    settings = session.prepared()
    with session.transaction() as connection:
        located = listing.locate(connection, read_refs(refs), client)
        _refuse_unless_active(located)
        awaited = {each.id: operator_actions.request_refresh(connection, each.id, who=settings.who) for each in located}
    if wait:
        _wait_for(located, awaited, timeout=timeout, teller=explaining.Teller(as_json=as_json))
    for each in located:
        generation = awaited[each.id]
        fresh = generation == each.generation
        told = "is fresh already" if fresh else "was refreshed" if wait else "will be refreshed"
        what = {"ref": each.ref, "client": each.client, "generation": generation, "asked": not fresh}
        output.done(what, f"{each.ref} {told}: generation {generation}.", as_json=as_json)


def _wait_for(
    located: "list[Located]", awaited: dict[UUID, int], *, timeout: timedelta, teller: explaining.Teller
) -> None:
    begun, held = time.monotonic(), dict[str, str]()

    def refreshed() -> bool:
        with session.transaction() as connection:
            now = located_again(connection, located)
            waiting = [each for each in now if each.generation < awaited[each.id]]
            told = {each.ref: explaining.explained(connection, each.id) for each in waiting[:MOST_EXPLAINED]}
        _refuse_unless_active(now)
        if told and all(why.decided for why in told.values()) and len(told) == len(waiting):
            raise _in_vain(*next(iter(told.items())))
        for ref, why in told.items():
            teller.tell(ref, why, waited=timedelta(seconds=time.monotonic() - begun))
        held.clear()
        held.update({ref: explaining.for_what(why) for ref, why in told.items()})
        return not waiting

    if not wait_until(refreshed, timeout=timeout):
        ref, why = next(iter(held.items()))
        raise ran_out(timeout, "every refresh", f"evergrant explain {_named_of(located, ref)}", why=f"{ref}: {why}")


def _named_of(located: "list[Located]", ref: str) -> str:
    """The arguments that name the grant of a ref."""
    return next(named(each.ref, each.client) for each in located if each.ref == ref)


def _in_vain(ref: str, why: "Explanation") -> Failure:
    return Failure(
        code=why.cause,
        message=f"{ref} will not be refreshed by itself: {explaining.for_what(why)}",
        next_step=explaining.to_do(why),
        exit_code=ExitCode.TRY_AGAIN,
    )


def _refuse_unless_active(located: "Iterable[Located]") -> None:
    """Raise where a refresh cannot come.

    Raises:
        Failure: a grant is not active.

    """
    for each in located:
        if each.status != GrantStatus.ACTIVE:
            raise Failure(
                code=each.status,
                message=f"{each.ref} is {each.status}, so nothing was asked",
                next_step=f"see `evergrant grants show {named(each.ref, each.client)}`",
                exit_code=ExitCode.HUMAN if each.status == GrantStatus.NEEDS_CONSENT else ExitCode.FAILED,
            )


def located_again(connection: "Connection", located: "list[Located]") -> "list[Located]":
    """The same grants as they are now."""
    from models.views import listing

    return listing.located_by_id(connection, [each.id for each in located])
