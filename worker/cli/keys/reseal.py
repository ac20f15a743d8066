"""`evergrant keys reseal`: what older keys have sealed is sealed anew."""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from worker.cli import keyrings, output, session
from worker.cli.arguments import timeout_option
from worker.cli.commands import Command
from worker.cli.failures import Failure
from worker.cli.keyrings import rings_of
from worker.cli.output import json_option
from worker.cli.waiting import ran_out, wait_until

if TYPE_CHECKING:
    from models.sealing.vault import Vault


@click.command(cls=Command, example="evergrant keys reseal --wait")
@click.option("--wait", is_flag=True, help="Go on until nothing needs another key, while workers are restarted.")
@timeout_option("60s")
@json_option
def reseal(*, wait: bool, timeout: timedelta, as_json: bool) -> None:
    """Seal what older keys have sealed anew, with the active key of each ring; refreshes go on meanwhile.

    It may be stopped and begun again at any time. Begin when every process has the new ring: one that has not seals
    with the old key again, and one that lacks the active key could open nothing. So while a living process says that
    it lacks it, nothing is sealed.
    """
    vault = keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    _refuse_unless_everywhere(vault)
    sealed = _seal_anew(vault)

    def nothing_left() -> bool:
        nonlocal sealed
        sealed += _seal_anew(vault)
        return not _left(vault)

    if wait and _left(vault) and not wait_until(nothing_left, timeout=timeout):
        raise ran_out(timeout, "the values that need another key", "evergrant keys list")
    left = _left(vault)
    told = f"Sealed {sealed} anew."
    if left:
        told += f" {sum(left.values())} need another key still: see `evergrant keys list`, then run it again."
    record = {"sealed": sealed, "left": [{"ring": of, "id": each, "values": n} for (of, each), n in left.items()]}
    output.done(record, told, as_json=as_json)


def _refuse_unless_everywhere(vault: "Vault") -> None:
    """See that every living process holds the active keys: what is sealed with another it could not open.

    Raises:
        Failure: one lacks it; nothing is sealed.

    """
    from models.sealing.keys import VARIABLES
    from models.views import fleet

    with session.reading() as connection:
        processes, adopted = fleet.processes(connection), fleet.clock(connection)["environment"]
    for each in processes:
        if not each["alive"] or each["environment"] not in (None, adopted):
            continue
        for name, ids in keyrings.rings_of_process(each).items():
            active = rings_of(vault)[name].active.key_id
            if ids is not None and active not in ids:
                raise Failure(
                    code="key_not_everywhere",
                    message=f"{each['kind']} {each['pid']} on {each['host']} lacks the key {active} of the {name} key"
                    " ring, so it could open nothing that is sealed with it: nothing was sealed",
                    next_step=f"add it to {VARIABLES[name]} there, start it again, then run this again",
                )


def _seal_anew(vault: "Vault") -> int:
    from models.sealing.reseal import PLACES, batch

    sealed = 0
    for place in PLACES:
        after: object = None
        while True:
            with session.transaction() as connection:
                found = batch(connection, vault, place, after=after)
            sealed += found.sealed
            if (after := found.last) is None:
                break
    return sealed


def _left(vault: "Vault") -> dict[tuple[str, str], int]:
    """What needs another key than the active one of its ring."""
    from models.sealing import key_use

    rings = rings_of(vault)
    with session.reading() as connection:
        return {
            (of, key_id): n
            for (of, key_id), n in key_use.counts(connection).items()
            if of in rings and key_id != rings[of].active.key_id
        }
