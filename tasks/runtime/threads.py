"""Work in a thread that nobody waits for: what fails there is logged, or nobody would learn of it."""

from collections.abc import Callable

import structlog

log = structlog.get_logger()


def told(work: Callable[[], object]) -> Callable[[], None]:
    """`work`, with its failure logged."""

    def run() -> None:
        try:
            work()
        except Exception:
            log.exception("afterwards.failed")

    return run
