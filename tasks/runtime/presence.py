"""Presence: what a process says of itself, now and then, so that people are told what it holds and lacks."""

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import settings as configuration
from models.process import Presence
from models.states.process import ProcessKind
from tasks.runtime import clock

if TYPE_CHECKING:
    from models.sealing.keys import KeyRing


def of_process(process_id: UUID, kind: ProcessKind, *, environment: str | None, **more: Any) -> Presence:
    """What any process says; `more` are members that are its kind's own."""
    return Presence(
        id=process_id,
        kind=kind,
        host=socket.gethostname(),
        pid=os.getpid(),
        environment=environment,
        clock_at=clock.wall(),
        ignored_variables=sorted(configuration.unknown_variables()),
        **more,
    )


def ids_of(ring: "KeyRing | None") -> Sequence[str]:
    """The ids of a ring's keys, never the keys; none where there is no ring."""
    return () if ring is None else ring.ids
