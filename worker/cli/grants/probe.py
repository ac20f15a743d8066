"""`evergrant grants probe`: ask the provider whether a grant's refresh token lives, without consuming it."""

from typing import TYPE_CHECKING

import click

from worker.cli import output, session
from worker.cli.arguments import client_option, read_refs, refs_argument
from worker.cli.commands import Command
from worker.cli.failures import Failure
from worker.cli.output import json_option

if TYPE_CHECKING:
    from tasks.policy.life import Finding


@click.command("probe", cls=Command, example="evergrant grants probe customer-42")
@refs_argument
@client_option
@json_option
def probe_(refs: tuple[str, ...], *, client: str | None, as_json: bool) -> None:
    """Ask the provider whether refresh tokens live, without consuming them.

    Only at providers whose file allows it: elsewhere such a question may kill the grant.
    """
    from models.views import listing
    from tasks.probes.grant import probe
    from worker.cli.grants.findings import EXIT_CODES, TOLD
    from worker.cli.runtime import opened

    settings = session.prepared()
    with session.reading() as connection:
        located = listing.locate(connection, read_refs(refs), client)
    found: set[Finding] = set()
    with opened(settings) as runtime:
        for each in located:
            finding = probe(runtime, each.id, client_id=each.client_id)
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
