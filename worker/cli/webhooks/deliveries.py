"""`evergrant webhooks deliveries`: what was sent to webhooks, is being sent, or was given up."""

from typing import TYPE_CHECKING, Any

import click

from models.states.webhook import DeliveryStatus
from worker.cli import output, session
from worker.cli.arguments import limit_option
from worker.cli.commands import Command
from worker.cli.output import Column, json_option

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

COLUMNS = [
    Column("id", number=True),
    Column("webhook", number=True),
    Column("type"),
    Column("ref", spare=1),
    Column("status"),
    Column("tries", number=True),
    Column("last_code", "last"),
    Column("try_at", "next try", spare=2),
    Column("ended_at", "ended", spare=3),
    Column("client", spare=5),
    Column("event", spare=4),
]


@click.command(
    cls=Command,
    changes=False,
    example="""
    evergrant webhooks deliveries --webhook 1 --status dead
    evergrant webhooks deliveries --json | jq -r 'select(.status == "dead") | .id'
    """,
)
@click.option("--webhook", type=int, metavar="ID", help="Only those to this webhook.")
@click.option("--status", type=click.Choice([*DeliveryStatus.meanings()]), help="Only those that stand so.")
@limit_option("How many at most.")
@json_option
def deliveries(*, webhook: int | None, status: str | None, limit: int, as_json: bool) -> None:
    """Show what was sent to webhooks, is being sent, or was given up: the newest first.

    What was delivered is forgotten after 7 days, what is dead after 30.
    """
    from models import webhook as models
    from models import webhook_delivery

    chosen = None if status is None else DeliveryStatus(status)
    with session.reading() as connection:
        if webhook is not None:
            models.found(connection, webhook)
        found = webhook_delivery.listed(connection, webhook_id=webhook, status=chosen, most=limit)
    output.rows(map(record_of, found), COLUMNS, as_json=as_json, nothing="No delivery is there.")


def record_of(row: "RowMapping") -> dict[str, Any]:
    """A delivery as it is shown."""
    from models import event

    return {
        "id": row["id"],
        "webhook": row["webhook_id"],
        "event": event.told_id(row["event_id"], row["occurred_at"]),
        "type": row["type"],
        "client": row["client"],
        "ref": row["ref"],
        "status": row["status"],
        "tries": row["tries"],
        "last_code": row["last_code"],
        "last_http_status": row["last_http_status"],
        "queued_at": row["queued_at"],
        "try_at": row["try_at"],
        "ended_at": row["ended_at"],
    }
