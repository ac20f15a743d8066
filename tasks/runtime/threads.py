"""Work in a thread that nobody waits for: what fails there is logged, or nobody would learn of it."""

from collections.abc import Callable

import structlog

log = structlog.get_logger()


def told(work: Callable[[], object], **whose: str) -> Callable[[], None]:
    """`work`, with its failure logged; `whose`: what the line says of whom it was for."""

    def run() -> None:
        try:
            work()
        except Exception:
            log.exception("afterwards.failed", **whose)

    return run
