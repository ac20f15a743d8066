"""`evergrant grants import`: take over grants from JSON Lines, with a progress bar."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from select import select
from stat import S_ISFIFO
from typing import TYPE_CHECKING, BinaryIO

import click

from worker.cli import keyrings, output, session
from worker.cli.commands import Command
from worker.cli.failures import Failure, misuse
from worker.cli.output import json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from tasks.oauth.provider import Provider
    from worker.cli.imports.batches import Tally
    from worker.cli.imports.lines import Bad


MEND = "mend those and import again; refs that exist are skipped"
FORM = (
    'write each grant as one line of JSON, {"ref": "customer-42", "refresh_token": "…"}; CSV, or one JSON text over'
    " several lines, is not read"
)
A_WRITER_COMES = timedelta(seconds=10)


@click.command(
    "import",
    cls=Command,
    example="""
    evergrant grants import grants.jsonl --client temple --dry-run
    evergrant grants import - --client temple --paused < grants.jsonl
    evergrant grants import grants.jsonl --client temple --probe
    """,
)
@click.argument("file")
@click.option("--client", required=True, metavar="NAME", help="The client that they belong to.")
@click.option("--dry-run", is_flag=True, help="Store nothing; show the load against the client's rate.")
@click.option("--paused", is_flag=True, help="Store them paused: nothing is sent until `grants resume`.")
@click.option(
    "--probe", is_flag=True, help="Ask the provider first whether each refresh token lives; leave out the dead."
)
@click.option("--replace", is_flag=True, help="Put the token set in the place of the one that a ref holds.")
@json_option
def import_(file: str, *, client: str, dry_run: bool, paused: bool, probe: bool, replace: bool, as_json: bool) -> None:
    """Take over grants from JSON Lines.

    One object a line: ref and refresh_token; optional access_token, scope, labels, and expires_at, or expires_in
    with created_at (neither: due now). A ref that exists is skipped and counted; a bad line is named with its
    number and reason, and the good ones are kept.

    Grants without a user (client_credentials) need no token, and those whose access token is exchanged (exchange)
    need that one alone.

    --probe needs the client's secret and a provider whose file allows it; it keeps to the client's rate.
    """
    from models.views import listing
    from tasks.runtime.registration import resolve
    from worker.cli.imports.batches import Intake, Tally
    from worker.cli.imports.flow import flow, flow_probed
    from worker.cli.imports.probe import sieve_of

    settings = session.prepared()
    vault = keyrings.keys_needed(keyrings.vault(), "refresh", "access")
    with session.reading() as connection:
        row = listing.client_by_name(connection, client)
    provider = resolve(row["provider"], row["overrides"], settings)
    how = {"paused": paused, "replace": replace, "dry_run": dry_run}
    intake = Intake(row["id"], provider, vault, settings.who, keep=row["keep"], **how)
    tally, named = Tally(), False
    with ExitStack() as stack, _opened(file) as source, _progress(file, tally) as progress:
        sieve = stack.enter_context(sieve_of(row, settings)) if probe else None
        try:
            with closing(
                flow_probed(source, intake, tally, sieve) if sieve else flow(source, intake, tally)
            ) as passing:
                for passed in passing:
                    named = named or any(bad.ref for bad in passed.bad)
                    for bad in passed.bad:
                        progress.say(_told(bad, as_json=as_json))
                    progress.show(passed.read)
        except BaseException:
            click.echo(
                f"Stopped: {_counted(tally)} so far; run it again to go on, refs that exist are skipped.", err=True
            )
            raise
    _tell(tally, row, provider, dry_run=dry_run, as_json=as_json)
    if tally.counts["bad"]:
        raise Failure(
            code="bad_lines",
            message=f"{_lines(tally.counts['bad'])} cannot be used",
            next_step=sieve.advice()
            if sieve
            else MEND
            if named or tally.counts.total() > tally.counts["bad"]
            else FORM,
        )


class _Progress:
    """What is shown meanwhile: in a pipe only the bad lines."""

    def show(self, read: int) -> None:
        """Show how many bytes were read."""

    def say(self, text: str) -> None:
        """Write a line to standard error."""
        click.echo(text, err=True)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        source = _source(file)
    except OSError as error:
        raise misuse(
            code="file",
            message=f"{file} cannot be read: {error.strerror}",
            next_step="name a file that exists, or - for standard input",
        ) from None
    with source:
        yield source


def _source(file: str) -> BinaryIO:
    """Open a file, or a pipe that somebody writes to: to wait for a writer who never comes would look like work."""
    if not S_ISFIFO(Path(file).stat().st_mode):
        return Path(file).open("rb")
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    somebody, _, _ = select([descriptor], [], [], A_WRITER_COMES.total_seconds())
    if not somebody:
        os.close(descriptor)
        raise misuse(
            code="file",
            message=f"{file} is a pipe that nobody writes to",
            next_step="start what writes to it first, or name a file",
        )
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb")


@contextmanager
def _progress(file: str, tally: "Tally") -> Iterator[_Progress]:
    """Show a bar on a terminal, and nothing in a pipe."""
    if not sys.stderr.isatty():
        yield _Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    size = Path(file).stat().st_size if file != "-" and os.path.isfile(file) else None  # noqa: PTH113
    shown = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()]
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("importing", total=size)

        class Bar(_Progress):
            def show(self, read: int) -> None:
                bar.update(task, completed=read, description=_counted(tally))

            def say(self, text: str) -> None:
                bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

        yield Bar()


def _told(bad: "Bad", *, as_json: bool) -> str:
    named = f" ({output.cell(bad.ref)})" if bad.ref else ""
    record = {"line": bad.line, "ref": bad.ref, "reason": bad.reason}
    return json.dumps(record) if as_json else f"line {bad.line}{named}: {bad.reason}"


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _counted(tally: "Tally") -> str:
    told = [f"{count} {word}" for word, count in tally.record().items() if count or word == "imported"]
    return ", ".join(told)


def _tell(tally: "Tally", row: "RowMapping", provider: "Provider", *, dry_run: bool, as_json: bool) -> None:
    record: dict[str, object] = dict(tally.record())
    if tally.unread:
        record["unread"] = {name: {"lines": count, "first": line} for name, (count, line) in tally.unread.items()}
    for each in [] if as_json else tally.told_unread():
        click.echo(each, err=True)
    sentence = f"{row['name']}: {_counted(tally)}."
    if dry_run:
        load = _load(row["grants"] + tally.counts["imported"], row, provider)
        record |= {"dry_run": True, "load": load}
        sentence = f"Nothing was stored. It would be: {_counted(tally)}.\n{_load_sentence(load)}"
    output.done(record, sentence, as_json=as_json)


def _load(grants: int, row: "RowMapping", provider: "Provider") -> dict[str, object]:
    """What keeping so many grants costs of the client's rate, at the provider's usual life."""
    from tasks.policy.plan import Load, plan

    rate = row["rate_per_minute"]
    found = plan(Load(warm=grants, life=timedelta(seconds=provider.default_life_seconds), rate_per_minute=rate))
    return {
        "grants": grants,
        "life_seconds": provider.default_life_seconds,
        "requests_per_minute": round(found.refreshes_per_minute, 1),
        "rate_per_minute": rate,
        "share": None if found.share is None else round(found.share, 3),
        "fits": found.fits,
    }


def _load_sentence(load: dict[str, object]) -> str:
    told = f"Keeping {load['grants']} grants warm takes {load['requests_per_minute']} requests a minute"
    if load["rate_per_minute"] is None:
        return f"{told}; this client has no limit."
    verdict = "" if load["fits"] else ": too many; keep some on demand, or ask the provider for a higher rate"
    return f"{told} of {load['rate_per_minute']:g}{verdict}."
