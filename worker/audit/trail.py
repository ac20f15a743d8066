"""Trail: the lines of the audit, and where they go."""

import json
import os
import secrets
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

from models.sealing.vault import Vault
from settings import Settings, current
from tasks.runtime import clock
from worker.audit.collector import Collector
from worker.audit.file import AuditFile

LONGEST_LINE = 4096  # of a pipe: up to here lines of several processes do not mix (POSIX, PIPE_BUF)
LONGEST_TEXT = 1024  # bytes, as JSON: a ref of 255 characters of any script
SURELY_SHORT = 80  # characters: as JSON one has at most twelve bytes
LONGEST_LIST = 2048  # bytes
BEGUN, OK, GONE = "begun", "ok", "gone"
# Every member that a line may have, in the order of docs/reference/audit.md; a test compares.
MEMBERS = (
    *("at", "environment", "by", "what", "request", "who", "peer", "outcome"),
    *("client", "application", "ref", "refs", "id", "ids", "options", "generation", "access_token", "refresh_token"),
    *(
        "erase",
        "revocation",
        "held",
        "status",
        "state",
        "how",
        "finding",
        "asked",
        "erased",
        "removed",
        "applied",
        "dry_run",
    ),
    *("redriven", "discarded", "handed_over", "left", "imported", "replaced", "skipped", "bad"),
    *("ring", "sealed", "revision", "may", "expires_at", "ticket"),
)

_json = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": "))


class AuditUnwritable(Exception):
    """A line cannot be written, so what it was to tell of must not happen; the text is the system's reason."""


class Sink(Protocol):
    """What takes lines."""

    def write(self, line: bytes) -> None:
        """Take one, whole."""


class Trail:
    """One process's lines: each has when, where, by whom and how."""

    def __init__(self, sink: Sink, *, environment: str | None) -> None:
        self._sink = sink
        self._environment = environment

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The trail that the settings want; None: none.

        Raises:
            AuditUnwritable: it is a file that cannot be opened; a collector may come later.

        """
        if settings.audit_file is None:
            return None
        path = Path(settings.audit_file.removeprefix("unix:"))
        if settings.audit_file.startswith("unix:"):
            return cls(Collector(path), environment=settings.environment)
        file = AuditFile(path)
        try:
            file.opened()
        except OSError as error:
            raise AuditUnwritable(error.strerror or type(error).__name__) from None
        return cls(file, environment=settings.environment)

    def write(self, members: Mapping[str, Any], *, outcome: str) -> None:
        """Write a line; of a list as many as it takes.

        Raises:
            AuditUnwritable: it cannot be written.

        """
        at = clock.wall().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for part in split(members):
            told = {"at": at, "environment": self._environment or current().environment, **part, "outcome": outcome}
            try:
                self._sink.write(line(told))
            except OSError as error:
                raise AuditUnwritable(error.strerror or type(error).__name__) from None


def line(members: Mapping[str, Any]) -> bytes:
    """One object and a line end; what is None is left out, and no text makes it too long."""
    told = {name: shown(value) for name, value in members.items() if value is not None}
    return (_json.encode(told) + "\n").encode("utf-8", "backslashreplace")


def shown(value: Any) -> Any:
    """A text that nothing of ours can be is told by its length alone."""
    if isinstance(value, list):
        return [shown(each) for each in value]
    if not isinstance(value, str) or len(value) <= SURELY_SHORT or _size(value) <= LONGEST_TEXT:
        return value
    return unknown(value)


def unknown(text: str) -> str:
    """A text that is no name of ours is told by its length alone: it may be a secret in the wrong place."""
    return f"<string {len(text)}>"


def split(members: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The members as often as the longest list in them needs: every line has all that is short."""
    long = next((name for name, value in members.items() if isinstance(value, list) and _long(value)), None)
    if long is None:
        yield members
        return
    for piece in _pieces(shown(members[long])):
        yield from split({**members, long: piece})


def _long(values: Sequence[Any]) -> bool:
    return len(values) > 1 and sum(map(_size, map(shown, values))) > LONGEST_LIST


def _size(value: Any) -> int:
    return len(_json.encode(value).encode("utf-8", "backslashreplace"))


def _pieces(values: Sequence[Any]) -> Iterator[list[Any]]:
    piece: list[Any] = []
    for value in values:
        if piece and sum(map(_size, piece)) + _size(value) > LONGEST_LIST - 2 * len(piece):
            yield piece
            piece = []
        piece.append(value)
    yield piece


def hashed(vault: Vault, token: str, *, purpose: str) -> str:
    """What tells two tokens apart, and neither of them: the key's id and HMAC-SHA256, 16 bytes, in hex."""
    fingerprint = vault.fingerprint(token, purpose=purpose)
    length = fingerprint[0]
    return f"{fingerprint[1 : length + 1].decode('ascii')}:{fingerprint[length + 1 :].hex()}"


def number() -> str:
    """What the lines of one request or command share."""
    return secrets.token_hex(8)


def of_socket(door: Any) -> str | None:
    """Who is at the other end of a unix socket, as the kernel knows it (SO_PEERCRED)."""
    with suppress(OSError, AttributeError, struct.error):
        found = door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", found)
        return f"uid {uid} pid {pid}"
    return None


def of_this_process() -> str:
    """Who runs a command, whatever EVERGRANT_ACTOR says."""
    return f"uid {os.getuid()} pid {os.getpid()}"
