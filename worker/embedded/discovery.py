"""Find the engines of the `evergrant up` that runs in the same home."""

from typing import Any

from pydantic import SecretStr

from settings import Settings
from worker.embedded import state
from worker.embedded.errors import NotRunning, StillStarting
from worker.embedded.home import Home
from worker.embedded.lock import holder
from worker.embedded.rings import ring_files

ENVIRONMENT = "embedded"


def resolve(settings: Settings, *, broker_needed: bool = False, kind: str | None = None) -> Settings:
    """Fill in what is unset from the engines that run in the same home: URLs, key rings, environment.

    `kind`: of the process, `worker` (beat as well) or `web`, which come in under their own role; else the superuser's.

    A URL that is set is never replaced. The broker is only filled in where it can be, unless it is needed: commands
    write rows, and work without one.

    Raises:
        NotRunning: something is missing and nothing runs in this home.
        StillStarting: the engines of this home are not ready yet.

    """
    home = Home(settings.home.expanduser().absolute())
    found = state.read(home)
    merged = settings if found is None else merge(settings, found, home, kind)
    if merged.database_url is None:
        raise _missing(home, "EVERGRANT_DATABASE_URL")
    if merged.broker_url is None and broker_needed:
        raise _missing(home, "EVERGRANT_BROKER_URL")
    return merged


def merge(settings: Settings, running: state.State, home: Home, kind: str | None = None) -> Settings:
    """Complete `settings` by what `running` offers to such a process."""
    update: dict[str, Any] = {}
    if settings.database_url is None and running.database_url is not None:
        url = running.role_urls.get(kind or "", running.database_url)
        update = {"database_url": SecretStr(url), **ring_files(settings, home)}
        update["environment"] = settings.environment or ENVIRONMENT
    if settings.broker_url is None and running.broker_url is not None:
        update["broker_url"] = SecretStr(running.broker_url)
    return settings.model_copy(update=update)


def _missing(home: Home, variable: str) -> NotRunning | StillStarting:
    pid = holder(home)
    if pid is not None and state.read(home) is None:
        return StillStarting(home=home.path, pid=pid)
    return NotRunning(home=home.path, variable=variable)
