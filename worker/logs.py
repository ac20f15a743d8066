"""Logs: one JSON object a line on stderr, for our own events and for those of the libraries."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

# Whatever is logged under one of these names is a slip: it never leaves.
SECRET_NAMES = frozenset(
    {"access_token", "refresh_token", "client_secret", "code", "code_verifier", "body", "authorization", "password"}
)


def redact(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank every member that is named like a secret."""
    for name in SECRET_NAMES & line.keys():
        line[name] = "***"
    return line


def _reorder(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Time, level and event first: a person reads them, too."""
    first = {name: line.pop(name) for name in ("at", "level", "event") if name in line}
    return {**first, **line}


def configure(process: str, *, level: str) -> None:
    """Send all that this process logs to stderr; `process` is its kind, as in `beat`."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                _add_process(process),
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _reorder,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("kombu", "amqp", "alembic", "aiohttp.access", "celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _add_process(process: str) -> Processor:
    def add(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        # Threads of the libraries have contexts of their own, so the name is added at the end as well.
        line.setdefault("process", process)
        return line

    return add
