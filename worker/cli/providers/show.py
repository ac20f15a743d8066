"""`evergrant providers show`: show every habit of a provider, where it is known from, and what nobody knows."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.commands import Command
from worker.cli.output import Column, json_option
from worker.cli.providers.list import origin
from worker.cli.units import rate

if TYPE_CHECKING:
    from tasks.oauth import provider as files

RULES = [Column("answer_to"), Column("status"), Column("where"), Column("means"), Column("reason", spare=1)]
FACTS = [Column("field"), Column("confidence"), Column("known_since", spare=1), Column("source", spare=2)]


@click.command(
    cls=Command, changes=False, example="evergrant providers show event-temple\nevergrant providers show google --json"
)
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show every habit of a provider, where it is known from, and what nobody knows."""
    import settings
    from tasks.oauth import provider as files
    from tasks.oauth.facts import unknown

    found = files.load(name, folder=settings.current().provider_folder)
    record = found.model_dump(mode="json") | {"rate": rate(found.rate), "file": origin(name), "unknown": unknown(found)}
    if as_json:
        output.one(record, as_json=True)
        return
    tables = {"answers": (_rules(found), RULES), "facts": (_facts(found), FACTS)}
    output.one({key: value for key, value in record.items() if key not in tables}, as_json=False)
    for rows, columns in tables.values():
        if rows:
            click.echo()
            output.rows(rows, columns, as_json=False, nothing="")


def _rules(found: "files.Provider") -> list[dict[str, Any]]:
    return [
        {
            "answer_to": rule.to.value,
            "status": list(rule.status),
            "where": {path or "(anywhere)": wanted for path, wanted in rule.where.items()},
            "means": rule.means.value,
            "reason": rule.reason,
        }
        for rule in found.answers
    ]


def _facts(found: "files.Provider") -> list[dict[str, Any]]:
    from tasks.oauth.facts import read

    return [{"field": field, **read(fact)._asdict()} for field, fact in found.facts.items()]
