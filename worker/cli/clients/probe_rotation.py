"""`evergrant clients probe-rotation`: find the rotation profile of a provider with a grant that may be lost."""

from typing import TYPE_CHECKING

import click

from tasks.policy.advice import named
from tasks.policy.rotation import RotationFinding
from worker.cli import output, session
from worker.cli.arguments import check_ref, confirm, yes_option
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure, misuse
from worker.cli.output import json_option

if TYPE_CHECKING:
    from tasks.probes.rotation import Probed

QUESTION = (
    "This may kill {ref} for good, and what else its user has given to {name} where the provider takes both for one. "
    "Is it a grant that you can give up, and does nobody use it now?"
)
TOLD = {
    RotationFinding.NONE: "the refresh token stays as it is",
    RotationFinding.ON_USE: "the old refresh token lives until the access token of its successor is used",
    RotationFinding.UNTIL_NEXT_REFRESH: "the old refresh token lives until its successor is used to refresh",
    RotationFinding.GRACE: "the old refresh token lives on for a while",
    RotationFinding.IMMEDIATE: "the old refresh token dies at once, and its successor does not mind a repeat",
    RotationFinding.FAMILY: "the old refresh token dies at once, and using it again kills its successor, too",
    RotationFinding.ON_USE_OR_GRACE: "the old refresh token works again; until its successor is used, or for a while?",
    RotationFinding.DEAD: "the provider refuses the refresh token of {ref}",
    RotationFinding.UNCLEAR: "it was broken off ({why}) after {requests} requests",
}
FAILED = {
    RotationFinding.ON_USE_OR_GRACE: (
        "give the client an address that takes an access token (`clients set {name} --api-url URL`), then probe again",
        ExitCode.FAILED,
    ),
    RotationFinding.DEAD: ("choose a grant that lives", ExitCode.HUMAN),
    RotationFinding.UNCLEAR: ("see `evergrant grants show {ref} --client {name}`, then try again", ExitCode.TRY_AGAIN),
}


@click.command("probe-rotation", cls=Command, example="evergrant clients probe-rotation temple --ref test-customer")
@click.argument("name")
@click.option("--ref", required=True, metavar="REF", help="A grant of this client that may be lost, active or paused.")
@yes_option
@json_option
def probe_rotation(name: str, *, ref: str, yes: bool, as_json: bool) -> None:
    """Find out what a provider does to old refresh tokens, with a grant that may be lost.

    Refreshes the grant, sends the spent refresh token again, and sees what that does; at some providers this kills
    the grant. Nobody may use its access token meanwhile. Up to eight requests, each in a slot of the client's rate.
    """
    from models.views import listing
    from tasks.oauth.shapes import Kind
    from tasks.probes import rotation as probing
    from tasks.runtime.registration import resolve
    from worker.cli.runtime import opened

    settings = session.prepared()
    with session.reading() as connection:
        row = listing.client_by_name(connection, name)
        (located,) = listing.locate(connection, [check_ref(ref)], name)
    if resolve(row["provider"], row["overrides"], settings).kind is not Kind.CODE:
        raise misuse(
            code="nothing_rotates",
            message=f"Grants of {name} hold no refresh token, so none can rotate",
            next_step="probe a client whose users consent by a code",
        )
    confirm(QUESTION.format(ref=ref, name=name), yes=yes)
    with opened(settings) as runtime:
        found = probing.probe_rotation(runtime, located.id, client_id=row["id"])
    _tell(found, name, ref, row["rotation"], as_json=as_json)


def _tell(found: "Probed", name: str, ref: str, configured: str, *, as_json: bool) -> None:
    facts = {"name": name, "ref": ref, "why": found.why, "requests": found.requests}
    told, command = TOLD[found.finding].format(**facts), _command(found, name, configured)
    record = {
        "client": name,
        "ref": ref,
        "finding": found.finding,
        "configured": configured,
        "agrees": None if found.finding in FAILED else found.finding == configured,
        "lived_seconds": round(found.lived.total_seconds(), 3),
        "requests": found.requests,
        "grant_usable": found.usable,
        "reason": found.why,
        "next": command,
    }
    if found.finding not in FAILED:
        told = f"{told}.\n{_setting(found, configured, command)}"
    output.done(record, f"{name}: {found.finding}: {told}\n{_left(found, name, ref)}", as_json=as_json)
    if found.finding in FAILED:
        next_step, exit_code = FAILED[found.finding]
        raise Failure(
            code=f"rotation_{found.finding}",
            message="The rotation profile was not found",
            next_step=next_step.format(**facts),
            exit_code=exit_code,
        )


def _command(found: "Probed", name: str, configured: str) -> str | None:
    """What sets the client to what was found; None where it is set so, or nothing was found."""
    if found.finding in FAILED or found.finding == configured:
        return None
    seconds = " --grace SECONDS" if found.finding is RotationFinding.GRACE else ""
    return f"evergrant clients set {name} --rotation {found.finding}{seconds}"


def _setting(found: "Probed", configured: str, command: str | None) -> str:
    told = f"It is set to {configured}" + (f"; to change that: {command}" if command else ", as it should be.")
    if found.finding is not RotationFinding.GRACE:
        return told
    lived = found.lived.total_seconds()
    return f"{told}\nIt was seen to live for {lived:.1f} s; the provider's documentation says for how long it does."


def _left(found: "Probed", name: str, ref: str) -> str:
    """What the probe has left of the grant."""
    match found.usable:
        case True:
            return f"{ref} is usable as before."
        case False:
            return f"{ref} is lost; its user must connect again: evergrant grants connect {named(ref, name)}"
        case None if not found.requests:
            return f"Nothing was sent: {ref} is as it was."
        case None:
            return f"Whether {ref} still lives will be seen at its next refresh."
