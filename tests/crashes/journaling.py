"""What a process says of the answers that it journals: of which grant and token set, and when no kill takes them."""

import json
import threading
from contextlib import suppress
from typing import Any

from tests.crashes.strike import Striker
from tests.crashes.trace import mark_of


class Journaling:
    """Hooks around a process's own journal."""

    def __init__(self, striker: Striker) -> None:
        self._striker = striker
        self._appending = threading.local()
        self._told: dict[Any, dict[str, Any]] = {}  # by position

    def reading(self, _: Any, entries: Any) -> None:
        """Answers are about to be written."""
        if entries:
            self._striker.hit("answer.read")
        self._appending.entries = entries
        self._say("writing", entries)

    def syncing(self, _: Any, __: Any, ___: Any, positions: Any) -> None:
        """They are written, and not synced: the machine's end could take them, no kill of this process can."""
        entries = getattr(self._appending, "entries", ())
        self._appending.entries = ()
        self._told.update(
            {position: told for entry, position in zip(entries, positions, strict=False) if (told := told_of(entry))}
        )
        self._say("written", entries)
        if positions:
            self._striker.hit("journal.written")

    def kept(self, _: Any, __: Any, entries: Any) -> None:
        """They are on the platter."""
        for entry in entries:
            if told := told_of(entry):
                self._striker.trace.say("kept", kind=entry.kind, **told)
        if entries:
            self._striker.hit("journal.synced")

    def marking(self, _: Any, positions: Any) -> None:
        """Those that this process has journaled are about to be marked as settled."""
        for position in positions:
            if told := self._told.pop(position, None):
                self._striker.trace.say("marking", **told)

    def _say(self, what: str, entries: Any) -> None:
        for entry in entries:
            if told := told_of(entry):
                self._striker.trace.say(what, started_at=entry.started_at.timestamp(), **told)


def told_of(entry: Any) -> dict[str, Any]:
    """Of which grant and token set an entry is; nothing where it holds none."""
    with suppress(ValueError, KeyError, TypeError):
        return {"grant": entry.grant_id, "mark": mark_of(json.loads(entry.body)["access_token"])}
    return {}
