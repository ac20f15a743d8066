"""Logs: one JSON object a line on stderr, for our own events and for those of the libraries."""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import nullcontext, suppress
from typing import IO, Any

import structlog
from structlog.typing import Processor

import settings
from tasks.runtime import log_batch

log = structlog.get_logger()

Told = Callable[[Mapping[str, Any]], None]

# Whatever is logged under one of these names is a slip: it never leaves.
SECRET_NAMES = frozenset(
    {
        *("access_token", "refresh_token", "id_token", "token", "client_secret", "secret", "code", "code_verifier"),
        *("body", "authorization", "password", "cookie"),
    }
)
# The same slips inside of text: an exception's message, a library's sentence, a server's or a callback's URL.
SLIPS = (
    re.compile(
        r"""(?i)((?:access_token|refresh_token|id_token|client_secret|code_verifier|password)[\\"']*\s*[:=]\s*[\\"']*)"""
        r"""[^\s"'\\&,;)}\]]+"""
    ),
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[a-z0-9._~+/=-]{8,}"),
    re.compile(r"""([?&](?:code|state)=)[^\s"'\\&]+"""),
    re.compile(r"""(://[^\s/:@"'\\]*:)[^\s/@"'\\]+(?=@)"""),
)
# One of these stands in whatever a slip matches: most lines hold none, and looking for them costs a tenth.
HINTS = ("_token", "secret", "verifier", "password", "bearer", "basic", "code=", "state=", "://")
BLANK = "***"
PLAIN = frozenset({str, int, float, bool, type(None)})  # values with nothing inside that has a name


def redact(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank every member that is named like a secret, however deep."""
    for name, value in line.items():
        if type(value) not in PLAIN or name.lower() in SECRET_NAMES:
            line[name] = _redacted(name, value)
    return line


def _redacted(name: object, value: Any) -> Any:
    if isinstance(name, str) and name.lower() in SECRET_NAMES:
        return BLANK
    match value:
        case dict():
            return {inner: _redacted(inner, each) for inner, each in value.items()}
        case list() | tuple():
            return [_redacted(None, each) for each in value]
        case _:
            return value


def scrub(text: str) -> str:
    """Blank what looks like a secret inside of a finished line; it stays JSON, as no quote is touched."""
    folded = text.casefold()
    for hint in HINTS:  # as a loop: `any` of a generator costs as much again
        if hint in folded:
            return _without_slips(text)
    return text


def _without_slips(text: str) -> str:
    for slip in SLIPS:
        text = slip.sub(rf"\1{BLANK}", text)
    return text


_json = json.JSONEncoder(default=repr)  # made once: `json.dumps` with a default makes one a line


def _render(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    return scrub(_json.encode(line))


def _reorder(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Time, level and event first: a person reads them, too."""
    first = {name: line.pop(name) for name in ("at", "level", "event") if name in line}
    return {**first, **line}


class _Lines:
    """Our own events: whole lines, written beside those of the libraries.

    They do not pass through the standard library's logging, which costs as much again as the line itself. As there, a
    line that cannot be written (a full disk, a closed pipe) is no reason for what is logged to fail.
    """

    def __init__(self, handler: logging.StreamHandler[Any]) -> None:
        self._handler = handler

    def msg(self, line: str) -> None:
        """Write a line, or let it be written with others of its group."""
        log_batch.write(line + "\n", self._write)

    def _write(self, text: str) -> None:
        with self._handler.lock or nullcontext(), suppress(OSError, ValueError):
            self._handler.stream.write(text)
            self._handler.flush()

    debug = info = warning = error = critical = exception = msg


def configure(process: str, *, level: str, into: IO[str] | None = None, beside: Told | None = None) -> None:
    """Send all that this process logs to stderr, or `into` a file; `process` is its kind, as in `beat`.

    `beside` is told each of our own events as well.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        redact,
    ]
    ours: list[Processor] = [] if beside is None else [_tell(beside)]
    last: list[Processor] = [_add_process(process), _reorder, _render]
    handler = logging.StreamHandler(into or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    structlog.configure(
        processors=[*shared, *ours, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(handler),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("kombu", "amqp", "alembic", "aiohttp.access", "celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def warn_of_unknown_settings() -> None:
    """Name the variables that nobody reads: a misspelt one would be ignored in silence."""
    for name, meant in settings.unknown_variables().items():
        hint = "" if meant is None else f": is {meant} meant?"
        log.warning("settings.unknown_variable", reason=f"{name} is no setting and is ignored{hint}")


def _tell(beside: Told) -> Processor:
    def tell(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        beside(line)
        return line

    return tell


def _add_process(process: str) -> Processor:
    def add(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        # Threads of the libraries have contexts of their own, so the name is added at the end as well.
        line.setdefault("process", process)
        return line

    return add
