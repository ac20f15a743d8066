"""`evergrant webhooks test`: see whether a webhook works."""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from models.states.webhook import DeliveryStatus
from worker.cli import output, session
from worker.cli.arguments import timeout_option
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, Failure
from worker.cli.output import json_option
from worker.cli.waiting import ran_out, wait_until
from worker.cli.webhooks.deliveries import record_of
from worker.cli.webhooks.record import id_argument

if TYPE_CHECKING:
    from sqlalchemy import RowMapping


@click.command(cls=Command, example="evergrant webhooks test 1")
@id_argument
@timeout_option("30s")
@json_option
def test(id: int, *, timeout: timedelta, as_json: bool) -> None:  # noqa: A002  # as it is typed
    """Have a worker tell it an event `webhook.test`, once, and wait for the answer.

    It goes the way of every other event, so this tries the URL, the secret, the network and the workers.
    """
    from models import webhook

    settings = session.prepared()
    with session.transaction() as connection:
        number = webhook.test(connection, id, who=settings.who)
    if not wait_until(lambda: _delivery(id, number)["status"] != DeliveryStatus.QUEUED, timeout=timeout):
        raise ran_out(timeout, f"the test of webhook {id}", "evergrant webhooks deliveries")
    found = _delivery(id, number)
    if found["status"] != DeliveryStatus.DELIVERED:
        raise Failure(
            code="not_delivered",
            message=f"Webhook {id} did not take the test ({found['last_code']})",
            next_step=step_of(found["last_code"]),
            exit_code=ExitCode.FAILED,
        )
    output.done(record_of(found), f"Webhook {id} has it (HTTP {found['last_http_status']}).", as_json=as_json)


def _delivery(webhook_id: int, number: int) -> "RowMapping":
    from models import webhook_delivery

    with session.reading() as connection:
        (found,) = webhook_delivery.listed(connection, webhook_id=webhook_id, event_id=number, most=1)
    return found


def step_of(code: str) -> str:
    """What to do about a receiver that did not take a test."""
    match code:
        case "host_private":
            return "its host has a private address: add it again with --allow-private if that is meant"
        case "timeout":
            return (
                "it was sent, and not answered within ten seconds: let its receiver answer first, and work afterwards"
            )
        case _ if code.startswith("http_3"):
            return "a redirect is not followed: remove it, and add the address that it leads to"
        case "dns" | "connect" | "connect_refused" | "connect_timeout":
            return "see that its host can be reached from the workers"
        case "tls" | "tls_certificate":
            return "see that its certificate is good, and known to the workers' machines"
        case _:
            return "see what its receiver says of it, in its own log; it must answer 2xx within ten seconds"
