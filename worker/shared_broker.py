"""A broker that two installations share: each takes the other's messages, and nobody would say so.

Each beat notes now and then, at the broker, which installation it is of, and reads who else has.
"""

from typing import Any, Final

from sqlalchemy import Connection

from models import installation
from tasks.policy.explanation.faults import SHARED

NOTES: Final = "installations"  # a sorted set, by the broker's own clock; kombu puts its prefix before it
LATELY_SECONDS: Final = 60


def name_of(connection: Connection) -> str | None:
    """This installation as people tell it from others; None before it was adopted."""
    found = installation.adopted(connection)
    if found is None:
        return None
    return f"environment {found.environment}, database {found.database_name} of cluster {found.system_identifier}"


def others(client: Any, name: str) -> list[str]:
    """Note at the broker that we work with it; returns who else has lately.

    Raises:
        RedisError: it is away, or refuses.

    """
    now = client.time()[0]
    client.zadd(NOTES, {name: now})
    seen = client.zrange(NOTES, now - LATELY_SECONDS, "+inf", byscore=True)
    return sorted(other for other in map(bytes.decode, seen) if other != name)


def fault(found: list[str], where: str) -> str | None:
    """Say it in the words that tasks/policy/explanation/faults.py has a remedy for."""
    told = f"{SHARED}: each takes the other's messages, so much is late, or done in the wrong one"
    return f"{told} ({'; '.join(found)}; at {where})" if found else None
