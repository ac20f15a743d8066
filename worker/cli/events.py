"""`evergrant events`: what happened, as webhooks are told of it."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from worker.cli import output, session
from worker.cli.arguments import Duration, client_option, limit_option, types_option
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import RowMapping

PAGE = 1000
LATE_IDS = 1000  # so much lower may the number of an event be that is committed later
PAUSE_SECONDS = 0.5

COLUMNS = [
    Column("occurred_at", "at"),
    Column("type"),
    Column("client", spare=2),
    Column("ref"),
    Column("generation", "gen", spare=4, number=True),
    Column("reason", spare=1),
    Column("data", "more", spare=5),
    Column("actor", "who", spare=3),
]
# A reader sees how long ago it was, and what counts in 80 columns.
ON_TERMINAL = [
    Column("when"),
    Column("type"),
    Column("client", spare=2),
    Column("ref"),
    Column("reason", spare=1),
    Column("generation", "gen", spare=4, number=True),
    Column("actor", "who", spare=3),
    Column("occurred_at", "at", spare=5),
    Column("data", "more", spare=6),
]


class Since(Duration):
    """A time, or how long ago: `2026-11-24T07:20:53Z`, `2h`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        text = str(value).strip()
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            found = None
        if found is not None and not text.isdecimal():
            return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        try:
            return super().convert(text, param, ctx)
        except click.UsageError:
            self.fail(f"'{value}' is neither a time such as 2026-11-24T07:20:53Z nor how long ago, 2h", param, ctx)


@dataclass(frozen=True)
class Wanted:
    """Which events are shown."""

    types: list[str] | None
    grant_ids: "list[UUID] | None"
    client_id: int | None

    @property
    def filters(self) -> dict[str, Any]:
        """As the query takes them."""
        return {"types": self.types, "grant_ids": self.grant_ids, "client_id": self.client_id}


@dataclass
class Stream:
    """Events as they are committed: numbers may come a little out of turn, so what was shown is remembered."""

    wanted: Wanted
    highest: int
    shown: set[int] = field(default_factory=set)

    def new(self) -> list[dict[str, Any]]:
        """What has come since the last look."""
        from models.views import events as told

        low = max(0, self.highest - LATE_IDS)
        with session.reading() as connection:
            found = told.events(connection, after=low, most=PAGE + LATE_IDS, **self.wanted.filters)
        fresh = [row for row in found if row["id"] not in self.shown]
        self.highest = max([self.highest, *(row["id"] for row in fresh)])
        self.shown |= {row["id"] for row in fresh}
        self.shown = {number for number in self.shown if number > self.highest - 2 * LATE_IDS}
        return [record_of(row) for row in fresh]


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant events --follow
    evergrant events --since 2h --type grant.needs_consent --json
    evergrant events --ref customer-42 --since 2026-11-24T07:20:53Z
    """,
)
@click.option("--follow", is_flag=True, help="Show those that come as well, until Ctrl-C.")
@click.option(
    "--since", type=Since(), metavar="T", help="From then on: a time, or how long ago (2h). Default: the last 100."
)
@click.option("--ref", metavar="REF", help="Only of the grants of this ref.")
@client_option
@types_option("Only of this type; may be repeated.")
@limit_option("How many without --since.")
@json_option
def events(
    *,
    follow: bool,
    since: datetime | timedelta | None,
    ref: str | None,
    client: str | None,
    types: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """Show what happened, the oldest first: the same events that webhooks are told of.

    A time without an offset is UTC. With --json a line each, as a webhook gets it, and `actor`: who did it.
    """
    from models.views import events as told
    from models.views import fleet

    with session.reading() as connection:
        wanted = _wanted(connection, ref, client, types)
        stream = Stream(wanted, told.last_id(connection))
        stream.shown |= {row["id"] for row in told.events(connection, after=stream.highest - LATE_IDS, most=LATE_IDS)}
        at = None if since is None else _instant(since)
        if at is None:
            found = told.events(connection, most=min(limit, 10) if follow else limit, newest=True, **wanted.filters)
            records: Iterator[dict[str, Any]] = map(record_of, found)
        else:
            records = _all_since(connection, at, wanted)
        nothing = "Nothing has happened." if not follow else "Nothing yet."
        if not as_json and output.on_terminal():
            now = fleet.clock(connection)["at"]
            records = ({**each, "when": output.away(each["occurred_at"], now)} for each in records)
            output.rows(records, ON_TERMINAL, as_json=False, nothing=nothing)
        else:
            output.rows(records, COLUMNS, as_json=as_json, nothing=nothing)
    if follow:
        _follow(stream, as_json=as_json)


def _wanted(connection: Any, ref: str | None, client: str | None, types: tuple[str, ...]) -> Wanted:
    from models.views import events as told
    from models.views import listing

    client_id = None if client is None else listing.client_by_name(connection, client)["id"]
    grant_ids = None
    if ref is not None:
        grant_ids = told.grants_of(connection, ref, client_id)
        if not grant_ids:
            listing.locate(connection, [ref], client)  # says that there is none
    return Wanted(list(dict.fromkeys(types)) or None, grant_ids, client_id)


def _all_since(connection: Any, at: datetime, wanted: Wanted) -> Iterator[dict[str, Any]]:
    from models.views import events as told

    after = told.before(connection, at)
    while page := told.events(connection, after=after, since=at, most=PAGE, **wanted.filters):
        yield from map(record_of, page)
        after = page[-1]["id"]


def _follow(stream: Stream, *, as_json: bool) -> None:
    while True:
        for record in stream.new():
            click.echo(json.dumps(output.plain(record)) if as_json else _line(record))
        time.sleep(PAUSE_SECONDS)


def _line(record: Mapping[str, Any]) -> str:
    shown = ("occurred_at", "type", "client", "ref", "reason", "data")
    return "  ".join(output.cell(record[name]) for name in shown if record[name] not in (None, {}))


def _instant(since: datetime | timedelta) -> datetime:
    return since if isinstance(since, datetime) else datetime.now(UTC) - since


def record_of(row: "RowMapping") -> dict[str, Any]:
    """An event as it is told."""
    from models import event

    return {
        "id": event.told_id(row["id"], row["occurred_at"]),
        "type": row["type"],
        "occurred_at": row["occurred_at"],
        "environment": row["environment"],
        "client": row["client"],
        "ref": row["ref"],
        "generation": row["generation"],
        "labels": row["labels"],
        "reason": row["reason"],
        "data": row["data"],
        "actor": row["actor"],
    }
