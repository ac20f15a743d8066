"""A worker's service around its tasks: it begins before the first message and leaves after the last.

Named in celeryconfig beside the tasks, so that only a worker imports it.
"""

import resource
from typing import Any

import structlog
from celery import signals
from celery.concurrency import solo, thread

import settings as configuration
from models import installation
from models.database import transaction
from models.sealing.keys import VARIABLES
from models.states.process import ProcessKind
from tasks import heartbeat, waiting_requests
from tasks.runtime import meters, runtime
from tasks.settling.settle import journal_answers, settle
from tasks.telling import teller
from worker import garbage, large_blocks, metrics, service_manager, traces
from worker.embedded.rings import RINGS, is_given

log = structlog.get_logger()


OTHER_FILES = 128  # of a worker: database, broker, journal, metrics, webhooks, traces
FEWEST_REQUESTS = 128

HERE = (thread.TaskPool, solo.TaskPool)
ELSEWHERE = "A pool of other processes or of greenlets would refresh nothing: start this worker with --pool threads"


@signals.celeryd_after_setup.connect
def _refuse_pool_elsewhere(instance: Any, **_: Any) -> None:
    """Refuse a pool whose tasks do not run in this process: it looks alive, and the runtime is not there.

    Asked before the pool starts, so there is no child to be waited for.
    """
    if not issubclass(instance.pool_cls, HERE):
        log.error("worker.cannot_start", reason=ELSEWHERE)
        raise SystemExit(1)


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    """Start the runtime before the first message; a worker that cannot ends, to be started again.

    Celery logs whatever a signal's receiver raises and goes on, all but what ends a process.
    """
    large_blocks.give_back_when_free()
    try:
        settings = configuration.current()
        _refuse_missing_rings(settings)
        metrics_port = metrics.serve(meters.OF_WORKER, settings.metrics_port)
        traces.begin(settings, ProcessKind.WORKER)
        settings = fitting(settings, open_files=_raise_open_files())
        _refuse_forgetful_server()
        started = runtime.start(settings, journal=journal_answers, settle=settle)
        heartbeat.begin(started, metrics_port=metrics_port)
        waiting_requests.begin()
        teller.begin(runtime.current().vault, settings)
    except Exception as error:
        log.exception("worker.cannot_start", reason=str(error))
        raise SystemExit(1) from error
    garbage.rest()
    # On the loop of the requests to providers: a worker whose loop stands still keeps nothing alive.
    started.transport.launch(service_manager.keep_telling())
    service_manager.tell(service_manager.READY)


def _refuse_missing_rings(settings: configuration.Settings) -> None:
    """Refuse to ask for what could not be stored: without the access ring a token set that came is sealed by nobody."""
    for ring in RINGS:
        if not is_given(settings, ring):
            reason = f"A worker needs the {ring} key ring: set {VARIABLES[ring]}_FILE to it"
            log.error("worker.cannot_start", reason=reason)
            raise SystemExit(1)


def _raise_open_files() -> int:
    """Let this process have as many files open as it may; returns how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def fitting(settings: configuration.Settings, *, open_files: int) -> configuration.Settings:
    """Settings by which no more requests are under way than there may be sockets: each needs one.

    Raises:
        SystemExit: there may be hardly any.

    """
    room = open_files - OTHER_FILES
    if open_files == resource.RLIM_INFINITY or room >= settings.in_flight:
        return settings
    remedy = "raise LimitNOFILE of its unit, or ulimit -Hn"
    if room < FEWEST_REQUESTS:
        reason = (
            f"A worker needs {OTHER_FILES + FEWEST_REQUESTS} open files at least, and may have {open_files}: {remedy}"
        )
        log.error("worker.cannot_start", reason=reason)
        raise SystemExit(1)
    log.warning("worker.few_open_files", open_files=open_files, in_flight=room, remedy=remedy)
    return settings.model_copy(update={"in_flight": room})


def _refuse_forgetful_server() -> None:
    """Refuse to start on a server that may forget a committed token set."""
    with transaction() as connection:
        if names := installation.not_durable(connection):
            raise installation.NotDurable(names)


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Begin nothing more; what is under way goes on to its end."""
    service_manager.tell(service_manager.LEAVING)
    runtime.stop()


@signals.worker_shutdown.connect
def _leave(**_: Any) -> None:
    """Settle what is still under way, and let the journal go."""
    waiting_requests.end()
    teller.end()
    heartbeat.end()
    runtime.close()
    traces.end()
