"""`evergrant grants token`: the one command that prints an access token."""

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

import click

from models.states.grant import GrantStatus
from tasks.policy.advice import named
from worker.cli import audited, explaining, keyrings, session
from worker.cli.arguments import Duration, client_option, ref_argument, timeout_option
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.output import iso, json_option
from worker.cli.waiting import wait_until

if TYPE_CHECKING:
    from models.views.access_token import TokenState
    from tasks.policy.explanation.cause import Explanation


@click.command(
    cls=Command,
    example="""
    curl -H "Authorization: Bearer $(evergrant grants token customer-42)" https://api.example.com/
    evergrant grants token customer-42 --min-ttl 5m --json
    """,
    short_help="Print a fresh access token.",
)
@ref_argument
@client_option
@click.option("--min-ttl", type=Duration(), default="60s", show_default=True, help="How long it must live at least.")
@timeout_option("30s")
@json_option
def token(ref: str, *, client: str | None, min_ttl: timedelta, timeout: timedelta, as_json: bool) -> None:
    """Print a fresh access token, refreshing first where it is too old."""
    from models import operator_actions
    from models.views import access_token, listing

    settings = session.prepared()
    vault = keyrings.keys_needed(keyrings.vault(), "access")
    with session.transaction() as connection:
        grant_id = listing.locate(connection, [ref], client)[0].id
        state = access_token.by_id(connection, grant_id)
        if not state.lasts(min_ttl):
            _refuse_hopeless(state, explaining.explained(connection, grant_id))
            operator_actions.request_refresh(connection, grant_id, who=settings.who)
    if not state.lasts(min_ttl):
        state = _renewed(grant_id, min_ttl=min_ttl, timeout=timeout, teller=explaining.Teller(as_json=as_json))
    assert state.sealed_access_token is not None  # noqa: S101  # it lasts
    assert state.access_expires_at is not None  # noqa: S101
    value = vault.open(state.sealed_access_token, table="grants", row_id=grant_id, purpose="access")
    audited.of_tokens(vault, client=state.client, ref=state.ref, generation=state.generation, access_token=value)
    if not as_json:
        click.echo(value)
        return
    record = {
        "access_token": value,
        "token_type": "Bearer",
        "expires_at": iso(state.access_expires_at),
        "generation": state.generation,
        "ref": state.ref,
        "client": state.client,
    }
    click.echo(json.dumps(record))


def _renewed(grant_id: UUID, *, min_ttl: timedelta, timeout: timedelta, teller: explaining.Teller) -> "TokenState":
    """Wait for a token set; whoever waits is told at once for what.

    Raises:
        Failure: none will come, or none came in time; either says why.

    """
    begun, seen = time.monotonic(), [_look(grant_id, min_ttl)]

    def renewed() -> bool:
        seen[:] = [_look(grant_id, min_ttl)]
        state, told = seen[0]
        if told is None:
            return True
        _refuse_hopeless(state, told)
        waited = timedelta(seconds=time.monotonic() - begun)
        if told.decided:
            raise _late(state, told, waited)
        teller.tell(state.ref, told, waited=waited)
        return False

    if not wait_until(renewed, timeout=timeout):
        state, told = seen[0]
        assert told is not None  # noqa: S101  # it is not renewed
        raise _late(state, told, timeout)
    return seen[0][0]


def _look(grant_id: UUID, min_ttl: timedelta) -> "tuple[TokenState, Explanation | None]":
    """The grant as it is now, and where its token does not last, why."""
    from models.views import access_token

    with session.transaction() as connection:
        state = access_token.by_id(connection, grant_id)
        return state, None if state.lasts(min_ttl) else explaining.explained(connection, grant_id)


def _refuse_hopeless(state: "TokenState", told: "Explanation") -> None:
    """Raise where no refresh will come, whatever the wait.

    Raises:
        Failure: the grant is not active.

    """
    grant = named(state.ref, state.client)
    again = told.command if told.cause == "consent_is_needed" else f"evergrant grants connect {grant}"
    match GrantStatus(state.status):
        case GrantStatus.ACTIVE:
            return
        case GrantStatus.NEEDS_CONSENT:
            raise Failure(
                code="needs_consent",
                message=f"{state.ref} needs its user's consent again ({state.reason})",
                next_step=f"run `{again}`",
                exit_code=ExitCode.HUMAN,
            )
        case GrantStatus.PAUSED:
            raise Failure(
                code="paused",
                message=f"{state.ref} is paused and its access token is too old",
                next_step=f"run `evergrant grants resume {grant}`",
            )
        case GrantStatus.REVOKING | GrantStatus.REVOKED:
            raise Failure(
                code="revoked",
                message=f"{state.ref} is {state.status}",
                next_step=f"connect its user again with `evergrant grants connect {grant}`",
            )
        case status:
            assert_never(status)


def _late(state: "TokenState", told: "Explanation", waited: timedelta) -> Failure:
    within = "comes by itself" if told.decided else f"came within {waited.total_seconds():.3g} s"
    return Failure(
        code="not_fresh_yet",
        message=f"No fresh token of {state.ref} {within}: {explaining.for_what(told)}",
        next_step=f"{explaining.to_do(told)}, and try again",
        exit_code=ExitCode.TRY_AGAIN,
    )
