"""Strange: what a provider tells of lives and makes no sense is told once, and is no reason to drop a token set.

Nor is a refresh token that could not be sent back.
"""

from functools import lru_cache

import structlog

log = structlog.get_logger()

MOST = 4096  # of clients and fields together; who comes later may be told again


@lru_cache(maxsize=MOST)
def tell_once(client_id: int, provider: str, field: str) -> None:
    """Tell that the answers to a client say something of an end that cannot be, or for a refresh token; once."""
    log.warning(
        "answer.strange_end",
        client_id=client_id,
        provider=provider,
        field=field,
        next="it was left out: the default was taken, or the former refresh token kept; correct token_set in the"
        " provider file, see docs/reference/provider-file.md",
    )
