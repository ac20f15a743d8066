"""`evergrant grants refresh | pause | resume | set | revoke`: rows that beat will find."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Connection

from models import operator_actions
from models.states.client import Keep
from models.states.grant import GrantStatus
from models.states.revocation import RevocationStatus
from models.views import listing
from models.views.listing import Located
from worker.cli import output, session
from worker.cli.arguments import (
    client_option,
    confirm,
    grouped,
    label_option,
    named,
    read_refs,
    ref_argument,
    refs_argument,
    timeout_option,
    yes_option,
)
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure, misuse
from worker.cli.grants import record
from worker.cli.output import json_option
from worker.cli.waiting import wait_until

wait_option = click.option("--wait", is_flag=True, help="Wait until it is done.")


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
    settings = session.prepared()
    with session.transaction() as connection:
        located = listing.locate(connection, read_refs(refs), client)
        _refuse_unless_active(located)
        awaited = {each.id: operator_actions.request_refresh(connection, each.id, who=settings.who) for each in located}
    if wait:
        _wait_for(located, awaited, timeout=timeout)
    for each in located:
        generation = awaited[each.id]
        fresh = generation == each.generation
        told = "is fresh already" if fresh else "was refreshed" if wait else "will be refreshed"
        what = {"ref": each.ref, "client": each.client, "generation": generation, "asked": not fresh}
        output.done(what, f"{each.ref} {told}: generation {generation}.", as_json=as_json)


@click.command(cls=Command, example="evergrant grants pause customer-42 customer-43")
@refs_argument
@client_option
@json_option
def pause(refs: tuple[str, ...], *, client: str | None, as_json: bool) -> None:
    """Stop refreshing grants; their access tokens may be used until they expire."""
    settings = session.prepared()
    with session.transaction() as connection:
        located = listing.locate(connection, read_refs(refs), client)
        operator_actions.pause_grants(connection, [each.id for each in located], who=settings.who)
        after = _statuses(connection, located)
    _tell_statuses(located, after, wanted=GrantStatus.PAUSED, as_json=as_json)


@click.command(
    cls=Command,
    example="""
    evergrant grants resume customer-42
    evergrant grants resume --client temple
    """,
)
@click.argument("refs", metavar="[REF...]", nargs=-1)
@client_option
@json_option
def resume(refs: tuple[str, ...], *, client: str | None, as_json: bool) -> None:
    """Go on refreshing paused grants: those named, or all of a client."""
    settings = session.prepared()
    with session.transaction() as connection:
        if refs:
            located = listing.locate(connection, read_refs(refs), client)
        elif client:
            located = _paused_of(connection, client)
        else:
            raise misuse(message="Nothing was named", next_step="name refs, or a client with --client")
        operator_actions.resume_grants(connection, [each.id for each in located], who=settings.who)
        after = _statuses(connection, located)
    if not located:
        click.echo("Nothing to resume; a grant that was handed over is resumed by its ref alone.", err=True)
    _tell_statuses(located, after, wanted=GrantStatus.ACTIVE, as_json=as_json)


@click.command("set", cls=Command, example="evergrant grants set customer-42 --label org=8f2 --keep on-demand")
@ref_argument
@client_option
@label_option
@click.option("--keep", type=click.Choice([*Keep.meanings()]), help="Renew always, or when it is read.")
@json_option
def set_(ref: str, *, client: str | None, labels: tuple[tuple[str, str], ...], keep: str | None, as_json: bool) -> None:
    """Change a grant's labels, or how it is kept; `--label key=` takes a label away."""
    if not labels and not keep:
        raise misuse(message="Nothing to change was named", next_step="add --label or --keep")
    settings = session.prepared()
    with session.transaction() as connection:
        each = listing.locate(connection, [ref], client)[0]
        operator_actions.set_grant(connection, each.id, labels=grouped(labels), keep=keep, who=settings.who)
        row = listing.grant(connection, each.id)
    output.done(record(row), f"Changed {ref}.", as_json=as_json)


@click.command(cls=Command, example='evergrant grants revoke customer-42 --reason "account deleted" --wait')
@refs_argument
@client_option
@click.option("--reason", metavar="TEXT", help="Why; it is kept with the revocation.")
@wait_option
@timeout_option("60s")
@yes_option
@json_option
def revoke(
    refs: tuple[str, ...],
    *,
    client: str | None,
    reason: str | None,
    wait: bool,
    timeout: timedelta,
    yes: bool,
    as_json: bool,
) -> None:
    """Kill grants at the provider, for good; from now on their tokens are not handed out."""
    settings = session.prepared()
    names = read_refs(refs)
    with session.transaction() as connection:
        located = listing.locate(connection, names, client)
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
    def ended() -> bool:
        with session.transaction() as connection:
            rows = [listing.revocation(connection, each) for each in ids]
        return all(row is not None and row["status"] in (RevocationStatus.DONE, RevocationStatus.DEAD) for row in rows)

    if not wait_until(ended, timeout=timeout):
        raise ran_out(timeout, "the revocations", "evergrant revocations list")


def _wait_for(located: list[Located], awaited: dict[UUID, int], *, timeout: timedelta) -> None:
    def refreshed() -> bool:
        with session.transaction() as connection:
            now = _located_again(connection, located)
        _refuse_unless_active(now)
        return all(each.generation >= awaited[each.id] for each in now)

    if not wait_until(refreshed, timeout=timeout):
        raise ran_out(timeout, "every refresh", "evergrant status")


def ran_out(timeout: timedelta, what: str, look: str) -> Failure:
    """The failure of a `--wait` that waited long enough."""
    return Failure(
        code="timeout",
        message=f"After {timeout.total_seconds():g} s {what} had not ended; the work goes on",
        next_step=f"look with `{look}`, or run it again with a longer --timeout",
        exit_code=ExitCode.TRY_AGAIN,
    )


def _refuse_unless_active(located: Iterable[Located]) -> None:
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


def _paused_of(connection: Connection, client: str) -> list[Located]:
    client_id = listing.client_by_name(connection, client)["id"]
    return listing.located_by_id(connection, operator_actions.paused_grants(connection, client_id))


def _located_again(connection: Connection, located: list[Located]) -> list[Located]:
    return listing.located_by_id(connection, [each.id for each in located])


def _statuses(connection: Connection, located: list[Located]) -> dict[UUID, str]:
    return {each.id: each.status for each in _located_again(connection, located)}


def _tell_statuses(located: list[Located], after: dict[UUID, str], *, wanted: str, as_json: bool) -> None:
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
