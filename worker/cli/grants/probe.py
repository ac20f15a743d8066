"""`evergrant grants probe`: ask the provider whether a grant's refresh token lives, without consuming it."""

import click

from models import reading
from tasks.probe import Finding, probe
from worker.cli import output, session
from worker.cli.arguments import client_option, read_refs, refs_argument
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.output import json_option
from worker.cli.workplace import workplace

TOLD = {
    Finding.ALIVE: "lives",
    Finding.DEAD: "is dead, or another client's",
    Finding.REFRESHED: "lives; the provider refreshed it, and the new token set is stored",
    Finding.MISCONFIGURED: "could not be looked at: the provider refuses this client's credentials",
    Finding.UNCLEAR: "could not be looked at: the provider gave no answer that says anything",
    Finding.BUSY: "is not active, under way or held back: nothing was sent",
}
EXIT_CODES = {
    Finding.DEAD: ExitCode.HUMAN,
    Finding.MISCONFIGURED: ExitCode.FAILED,
    Finding.UNCLEAR: ExitCode.TRY_AGAIN,
    Finding.BUSY: ExitCode.TRY_AGAIN,
}


@click.command("probe", cls=Command, example="evergrant grants probe customer-42")
@refs_argument
@client_option
@json_option
def probe_(refs: tuple[str, ...], *, client: str | None, as_json: bool) -> None:
    """Ask the provider whether refresh tokens live, without consuming them.

    Only at providers whose file allows it: elsewhere such a question may kill the grant.
    """
    settings = session.prepared()
    with session.reading() as connection:
        located = reading.locate(connection, read_refs(refs), client)
    found: set[Finding] = set()
    with workplace(settings) as place:
        for each in located:
            finding = probe(place, each.id, client_id=each.client_id)
            found.add(finding)
            record = {"ref": each.ref, "client": each.client, "finding": finding.value}
            output.done(record, f"{each.ref} {TOLD[finding]}.", as_json=as_json)
    for finding, exit_code in EXIT_CODES.items():
        if finding in found:
            raise Failure(
                code=f"probe_{finding.value}",
                message="Not every refresh token was found alive",
                next_step="see `evergrant grants show` of those that are not",
                exit_code=exit_code,
            )
