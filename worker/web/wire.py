"""The wire's log of web: what is said of requests that never got as far as a handler."""

import logging


def in_a_line(record: logging.LogRecord) -> bool:
    """Tell of a request that is no HTTP in a line: its traceback would repeat what was sent, a key perhaps."""
    if record.exc_info and record.exc_info[0]:
        record.msg, record.args = f"web.unreadable_request ({record.exc_info[0].__name__})", ()
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


# What handlers raise never gets here: the middleware has it.
logger = logging.getLogger("evergrant.web.wire")
logger.addFilter(in_a_line)
