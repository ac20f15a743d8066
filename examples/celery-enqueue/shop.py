"""A Celery application with tasks of its own, that asks Evergrant over the broker that both share. See README.md."""

import os

from celery import Celery

import evergrant_client

BROKER_URL = os.environ["SHOP_BROKER_URL"]

app = Celery("shop", broker=BROKER_URL)
app.conf.task_default_queue = "shop"
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
# An app of its own that only sends: with `app` a message would land in the queue `shop`, where Evergrant never looks.
evergrant = evergrant_client.sender(BROKER_URL)


@app.task(name="shop.prepare_report")
def prepare_report(ref: str) -> None:
    """Have a customer's token renewed now, because a long report is about to begin."""
    evergrant.send_task("evergrant.request_refresh", [ref])


@app.task(name="shop.close_account")
def close_account(ref: str, reason: str = "account closed") -> None:
    """Have a customer's grant killed at the provider; a customer who never connected is no error."""
    evergrant.send_task("evergrant.request_revocation", [ref], {"reason": reason, "missing_ok": True})
