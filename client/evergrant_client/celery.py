"""`sender`: a Celery app that reaches Evergrant's workers over a broker that both share."""

from ssl import CERT_REQUIRED

from celery import Celery
from kombu import Exchange, Queue

KEY_PREFIX = "evergrant:"
QUEUE = "upkeep"
EXCHANGE = "evergrant"


def sender(broker_url: str) -> Celery:
    """Make an app that only sends; it does not become the current app of your process.

    The broker may lose what is sent: where a revocation must not be lost, use SQL.
    """
    app = Celery("evergrant_client", broker=broker_url, set_as_current=False)
    app.conf.update(
        # Without these two a message lands in a list that no worker of Evergrant reads.
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            "socket_connect_timeout": 5,
            "socket_timeout": 30,
            "socket_keepalive": True,
        },
        # Kombu would trust any server, and hand it the password, unless the URL says `ssl_…` something.
        broker_use_ssl={"ssl_cert_reqs": CERT_REQUIRED} if broker_url.startswith("rediss:") else False,
        # Nothing is declared: to push into one list is all that this app has to be allowed.
        task_queues=(
            Queue(QUEUE, Exchange(EXCHANGE, type="direct", no_declare=True), routing_key=QUEUE, no_declare=True),
        ),
        task_default_queue=QUEUE,
        task_default_exchange=EXCHANGE,
        task_default_routing_key=QUEUE,
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
    )
    return app
