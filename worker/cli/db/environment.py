"""The name of the environment, which a database of one's own needs."""

from typing import TYPE_CHECKING

from worker.cli import session
from worker.cli.failures import misuse

if TYPE_CHECKING:
    from settings import Settings


def named_environment() -> "tuple[Settings, str]":
    """The settings and the environment's name, which a database of one's own needs.

    Raises:
        Failure: there is no name.

    """
    settings = session.prepared()
    if settings.environment is None:
        raise misuse(
            code="no_environment",
            message="A database of your own needs the name of its environment",
            next_step="set EVERGRANT_ENVIRONMENT, for example to production",
        )
    return settings, settings.environment
