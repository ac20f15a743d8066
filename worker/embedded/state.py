"""State of a home: what the process that holds it runs, written by it and read by every other command."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from worker.embedded.home import Home, write_private
from worker.embedded.lock import holder


@dataclass(frozen=True)
class RunningProcess:
    """One child: its process id (None while it is down) and how often it was started again."""

    pid: int | None
    restarts: int


@dataclass(frozen=True)
class State:
    """Who runs in a home, and where its engines are.

    A URL is None where that engine is not embedded; `role_urls`: what each kind of process of ours uses instead of the
    superuser's. PostgreSQL's names its password's file; Valkey's holds the
    password, for its clients read no file, so this one is as private as that.
    """

    pid: int
    started_at: datetime
    database_url: str | None
    broker_url: str | None
    processes: Mapping[str, RunningProcess] = field(default_factory=dict)
    role_urls: Mapping[str, str] = field(default_factory=dict)

    def write(self, home: Home) -> None:
        """Publish it to the other commands."""
        write_private(home.state, json.dumps(asdict(self) | {"started_at": self.started_at.isoformat()}))


def read(home: Home) -> State | None:
    """The state of the process that runs in `home` now; None if none does, or it is not ready yet."""
    pid = holder(home)
    if pid is None:
        return None
    try:
        facts: Any = json.loads(home.state.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # where the machine lost its power it may be there and empty
        return None
    if not isinstance(facts, dict) or facts.get("pid") != pid:
        return None  # left by one that was killed; the present one has not written its own yet
    facts["started_at"] = datetime.fromisoformat(facts["started_at"]).astimezone(UTC)
    facts["processes"] = {name: RunningProcess(**child) for name, child in facts["processes"].items()}
    return State(**facts)
