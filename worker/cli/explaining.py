"""How an explanation is told on a terminal, and how those who wait are told at once for what."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from worker.cli import output, session
from worker.cli.started import as_started

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tasks.policy.explanation.cause import Explanation

INDENT = 9
UNHURRIED = timedelta(seconds=3)  # a refresh takes one: before that there is nothing to tell where nothing is wrong


def explained(connection: "Connection", grant_id: UUID, *, unwritable: str | None = None) -> "Explanation":
    """Why a grant is as it is, to whoever runs this command; `unwritable`: what it has found of the database."""
    from tasks import explain

    return explain.of_grant(connection, grant_id, settings=session.prepared(), unwritable=unwritable)


def record(told: "Explanation") -> dict[str, Any]:
    """As JSON shows it."""
    from tasks.policy.explanation.cause import record_of

    return record_of(told)


def members(told: "Explanation", *, as_json: bool) -> dict[str, Any]:
    """What a record of a grant, or of what hangs on it, has of it: the whole, or for a reader two lines."""
    return {"explanation": record(told)} if as_json else {"why": for_what(told), "then": told.next}


def page(told: "Explanation", *, at: datetime) -> list[str]:
    """Everything, a line for each part, folded to the terminal."""
    lines = [("", told.headline)]
    if told.since is not None:
        lines.append(("since", f"{output.relative(told.since, at)}{f', by {told.by_whom}' if told.by_whom else ''}"))
    lines += [
        ("also", each.told + (f" Since {output.relative(each.since, at)}." if each.since else ""))
        for each in told.chain
    ]
    lines += [("token", told.token), ("next", told.next)]
    if told.will_retry_at is not None:
        lines.append(("retry", output.relative(told.will_retry_at, at)))
    if told.remedy:
        lines.append(("do", told.remedy))
    folded = [line for name, text in lines for line in _folded(name, text)]
    return [
        *folded,
        *([f"{click.style('copy'.ljust(INDENT), dim=True)}{as_started(told.command)}"] if told.command else []),
    ]


def _folded(name: str, text: str) -> Iterable[str]:
    if not name:
        return [click.style(line, bold=True) for line in output.folded(output.hint(text))]
    return output.folded(output.hint(text), click.style(name.ljust(INDENT), dim=True), INDENT)


def for_what(told: "Explanation") -> str:
    """In one line, for whoever waits or is sent away: the headline, since when and by whom, and what to do."""
    since = f" since {output.iso(told.since)}" if told.since else ""
    whom = f" by {told.by_whom}" if told.by_whom else ""
    headline = told.headline.rstrip(".")
    return f"{headline}{_noted(since + whom)}"


def _noted(facts: str) -> str:
    return f" ({facts.strip()})" if facts else ""


def to_do(told: "Explanation") -> str:
    """What a person does about it, in words and by the command; else when it is tried again."""
    if told.remedy and told.command and told.command not in told.remedy:
        return f"{told.remedy}: `{told.command}`"
    if told.command and not told.remedy:
        return f"run `{told.command}`"
    return told.remedy or f"{told.next[0].lower()}{told.next[1:]}".rstrip(".")


class Teller:
    """Tells whoever waits for what, once for each cause, on standard error; a program reads one object there."""

    def __init__(self, *, as_json: bool) -> None:
        self._quiet = as_json
        self._told: set[str] = set()

    def tell(self, ref: str, told: "Explanation", *, waited: timedelta) -> None:
        """Say it, where it is no news that comes by itself within seconds."""
        if self._quiet or (told.well and waited < UNHURRIED) or (key := f"{ref} {told.cause}") in self._told:
            return
        self._told.add(key)
        step = "" if told.well else f"; {to_do(told)}"
        click.echo(as_started(f"{ref} waits: {for_what(told)}{step}"), err=True)
