"""`evergrant grants export`: hand grants over to another home, as a file that `grants import` reads."""

import errno
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

import click

from worker.cli import audited, keyrings, output, session
from worker.cli.arguments import timeout_option
from worker.cli.commands import Command
from worker.cli.failures import Failure, misuse
from worker.cli.output import json_option
from worker.cli.waiting import wait_until

if TYPE_CHECKING:
    from models.handover import Leaving
    from models.sealing.vault import Vault
    from settings import Settings
    from tasks.oauth.shapes import Kind


@dataclass
class Departure:
    """A handover under way: of each grant that was paused for it whether it was active; what is in the file."""

    were_active: dict[UUID, bool] = field(default_factory=dict)
    written: list[UUID] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def take_back(self) -> None:
        """Let what is not in the file be as it was."""
        from models import handover as handovers

        ids = [each for each in self.were_active if each not in set(self.written)]
        active = [each for each in ids if self.were_active[each]]
        with session.transaction() as connection:
            self.left = handovers.take_back(connection, ids, active=active)


@click.command(
    cls=Command,
    example="""
    evergrant grants export --handover --client temple --out temple.jsonl
    evergrant grants import temple.jsonl --client temple
    evergrant grants export --handover --client temple --out - | age -r "$RECIPIENT" -o temple.age
    """,
)
@click.option("--handover", is_flag=True, help="Needed: another home keeps them from now on, and this one does not.")
@click.option("--client", metavar="NAME", help="Whose grants; unneeded where only one client has some.")
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file to make, mode 0600; - writes to standard output, into a pipe.",
)
@timeout_option("60s")
@json_option
def export(*, handover: bool, client: str | None, out: Path, timeout: timedelta, as_json: bool) -> None:
    """Hand a client's grants over to another home.

    Two homes that refresh one grant would kill it. So every grant that is active or paused is paused here first, and
    waited for if a request is under way; then its tokens are written to a new file, one JSON object a line, as `grants
    import` reads them. What cannot leave safely stays as it was, and is named.

    `grants resume --client` leaves alone what was handed over; name a grant to take it back. Delete the file after the
    import: its tokens are not sealed. With `--out -` there is none: what reads the pipe encrypts them, and everything
    else is told on standard error.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from models import handover as handovers

    if not handover:
        raise misuse(
            message="Tokens are exported only to hand the grants over: they are paused here", next_step="add --handover"
        )
    settings = session.prepared()
    vault = keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    name, client_id, kind = _client(client, settings)
    leaving = Departure()
    with _made(out) as file:
        try:
            with session.transaction() as connection:
                leaving.were_active = handovers.pause(connection, client_id)
            ids = list(leaving.were_active)
            wait_until(lambda: _settled(ids), timeout=timeout)
            with session.transaction() as connection:
                written = list(_write(file, handovers.ready(connection, ids), vault, kind, client=name))
                handovers.note(connection, written, who=settings.who)
        except BaseException:
            if out != output.PIPE:
                out.unlink(missing_ok=True)
            with suppress(SQLAlchemyError):
                leaving.take_back()
            raise
    leaving.written = written
    leaving.take_back()
    _tell(name, out, leaving, as_json=as_json)


def _client(name: str | None, settings: "Settings") -> "tuple[str, int, Kind]":
    """The client whose grants leave, and their kind: a file holds those of one.

    Raises:
        Failure: none was named, and there is not just one.

    """
    from models import handover as handovers
    from models.views import listing
    from tasks.runtime.registration import resolve

    with session.transaction() as connection:
        if name is None:
            names = handovers.clients(connection)
            if len(names) != 1:
                raise misuse(
                    message=f"{len(names)} clients have grants that can be handed over",
                    next_step="name one with --client",
                )
            name = names[0]
        row = listing.client_by_name(connection, name)
    return name, row["id"], resolve(row["provider"], row["overrides"], settings).kind


def _made(out: Path) -> IO[bytes]:
    if out == output.PIPE:
        return output.pipe("wb", what="Tokens are", example="age -r RECIPIENT -o FILE")
    try:
        return os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise misuse(
            code="file_exists", message=f"{out} exists already, and may hold tokens", next_step="name another file"
        ) from None
    except OSError as error:
        raise misuse(
            code="file", message=f"{out} cannot be made: {error.strerror}", next_step="name a file that can be made"
        ) from None


def _settled(ids: list[UUID]) -> bool:
    from models import handover as handovers

    with session.transaction() as connection:
        return handovers.unsettled(connection, ids) == 0


def _write(
    file: IO[bytes], leaving: "Iterable[Leaving]", vault: "Vault", kind: "Kind", *, client: str
) -> Iterable[UUID]:
    """Write what can be opened here, to the platter or into the pipe; yields what was written."""
    from models.sealing.keys import VaultError

    for each in leaving:
        try:
            line = _line(each, vault, kind)
        except VaultError:
            continue
        tokens = {name: line[name] for name in ("refresh_token", "access_token") if name in line}
        audited.of_tokens(vault, client=client, ref=each.ref, generation=each.generation, **tokens)
        file.write(json.dumps(output.plain(line)).encode() + b"\n")
        yield each.id
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS):  # a pipe has no platter (fsync(2))
            raise


def _line(each: "Leaving", vault: "Vault", kind: "Kind") -> dict[str, Any]:
    from tasks.oauth.shapes import Kind as Kinds

    def opened(sealed: bytes, purpose: str) -> str:
        return vault.open(sealed, table="grants", row_id=each.id, purpose=purpose)

    line: dict[str, Any] = {"ref": each.ref}
    if kind is not Kinds.CLIENT_CREDENTIALS:  # there it is a placeholder, of use to nobody
        name = "refresh_token" if kind is Kinds.CODE else "access_token"
        line[name] = opened(each.sealed_refresh_token, "refresh")
    if each.sealed_access_token is not None and each.access_expires_at is not None:
        line["access_token"] = opened(each.sealed_access_token, "access")
        line["expires_at"] = each.access_expires_at
        if each.life is not None:
            line["expires_in"] = each.life.total_seconds()
    more: dict[str, Any] = {"scope": each.scope, "labels": each.labels, "in_doubt": each.in_doubt}
    more |= {"refresh_expires_at": each.refresh_expires_at, "consent_expires_at": each.consent_expires_at}
    return line | {key: value for key, value in more.items() if value}


def _tell(name: str, out: Path, leaving: Departure, *, as_json: bool) -> None:
    for ref in leaving.left:
        reason = (
            "a request of it is under way, or its answer may be in a journal that nobody has read, or a key is missing"
        )
        click.echo(json.dumps({"ref": ref, "reason": reason}) if as_json else f"{output.cell(ref)}: {reason}", err=True)
    count = len(leaving.written)
    if not count and out != output.PIPE:
        out.unlink()
    record = {"client": name, "file": str(out), "handed_over": count, "left": len(leaving.left)}
    read = f"`evergrant grants import {out.name} --client {name}`"
    sentence = (
        f"{count} grants of {name} went into the pipe, and are paused here. Read them in the other home with {read}."
        if out == output.PIPE
        else f"{count} grants of {name} are in {out}, and paused here. Read it in the other home with {read}, "
        "then delete it."
    )
    told = sentence if count else f"{name} has nothing that can be handed over."
    output.done(record, told, as_json=as_json, err=out == output.PIPE)
    if leaving.left:
        raise Failure(
            code="left",
            message=f"{len(leaving.left)} grants could not leave and go on here",
            next_step="see them with `evergrant grants show`, and hand the rest over later, into another file",
        )
