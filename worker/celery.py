"""The Celery application: `celery -A worker worker`, `celery -A worker beat`."""

from ssl import CERT_REQUIRED
from typing import Any

from celery import Celery, signals
from celery.apps import beat
from kombu.utils import cached_property

import models  # noqa: F401  # Celery has this folder on its path only now: what it loads later finds both
import settings as configuration
import tasks  # noqa: F401
from models.states.process import ProcessKind
from worker import broker, core_dumps, logs
from worker.embedded import discovery


def _broker_url() -> str:
    """The broker of the settings, or that of the `evergrant up` which runs in the same home."""
    resolved = discovery.resolve(configuration.current(), broker_needed=True, kind=ProcessKind.WORKER)
    configuration.adopt(resolved)
    assert resolved.broker_url is not None  # noqa: S101  # `broker_needed`
    return resolved.broker_url.get_secret_value()


class Beat(beat.Beat):
    """Celery's beat without the tasks: it names them, and would import the HTTP client with them."""

    def init_loader(self) -> None:
        """Import no task."""
        app.finalize()


class Evergrant(Celery):
    """The application: a worker has the modules of celeryconfig's `imports`, a beat has not."""

    @cached_property
    def Beat(self) -> type[Beat]:  # noqa: N802  # Celery's name
        """Our beat, bound to this application."""
        bound: type[Beat] = self.subclass_with_self(Beat)
        return bound


core_dumps.forbid()
broker.use()
app = Evergrant("evergrant", config_source="celeryconfig")
app.conf.update(broker_url=_broker_url(), worker_concurrency=configuration.current().concurrency)
if app.conf.broker_url.startswith("rediss:"):
    # Kombu would trust any server, and hand it the password, unless the URL says `ssl_…` something.
    app.conf.broker_use_ssl = {"ssl_cert_reqs": CERT_REQUIRED}


# What Celery runs here: it says so of a worker before it sets up the logs, and of a beat never.
_kinds = [ProcessKind.BEAT]


@signals.celeryd_init.connect
def _be_a_worker(**_: Any) -> None:
    _kinds.append(ProcessKind.WORKER)


@signals.setup_logging.connect
def _log(**_: Any) -> None:
    """Take Celery's place in setting up the logs."""
    logs.configure(_kinds[-1], level=configuration.current().log_level)
    logs.warn_of_unknown_settings()
