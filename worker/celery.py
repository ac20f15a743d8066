"""The Celery application: `celery -A worker worker`, `celery -A worker beat`."""

from typing import Any

import structlog
from celery import Celery, signals

import settings as configuration
from tasks import meters, pulse, workplace
from worker import broker, logs, metrics
from worker.embedded import discovery

log = structlog.get_logger()


def _broker_url() -> str:
    """The broker of the settings, or that of the `evergrant up` which runs in the same home."""
    resolved = discovery.resolve(configuration.current(), broker_needed=True)
    configuration.adopt(resolved)
    assert resolved.broker_url is not None  # noqa: S101  # `broker_needed`
    return resolved.broker_url.get_secret_value()


broker.use()
app = Celery("evergrant", config_source="celeryconfig")
app.conf.update(broker_url=_broker_url(), worker_concurrency=configuration.current().concurrency)


# What Celery runs here: it says so of a worker before it sets up the logs, and of a beat never.
_kinds = ["beat"]


@signals.celeryd_init.connect
def _be_a_worker(**_: Any) -> None:
    _kinds.append("worker")


@signals.setup_logging.connect
def _log(**_: Any) -> None:
    """Take Celery's place in setting up the logs."""
    logs.configure(_kinds[-1], level=configuration.current().log_level)
    logs.warn_of_unknown_settings()


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    """Open the workplace before the first message; a worker that cannot ends, to be started again.

    Celery logs whatever a signal's receiver raises and goes on, all but what ends a process.
    """
    try:
        pulse.begin(metrics_port=metrics.serve(meters.OF_WORKER, configuration.current().metrics_port))
    except Exception as error:
        log.exception("worker.cannot_start", reason=str(error))
        raise SystemExit(1) from error


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Begin nothing more; what is under way goes on to its end."""
    workplace.leave(stop_only=True)


@signals.worker_shutdown.connect
def _leave(**_: Any) -> None:
    """Settle what is still under way, and let the journal go."""
    pulse.end()
    workplace.leave()
