"""Samples: answers of a provider that somebody has written down, a JSON object a line, for `providers check`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.oauth.answer import Response
from tasks.oauth.rules import Asked
from tasks.policy.understood import WORDS

MEMBERS = ("to", "status", "body", "headers", "means", "note")
STATUSES = range(100, 600)


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, what it is to, and what whoever wrote it down says that it means."""

    line: int
    to: Asked
    response: Response = field(repr=False)
    means: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class BadSample:
    """A line that is none, and what to write instead."""

    line: int
    problem: str


def samples_in(path: Path) -> Iterator[Sample | BadSample]:
    """Read a file line by line; empty lines are passed over."""
    text = path.read_text(encoding="utf-8", errors="replace")
    for line, written in enumerate(text.splitlines(), 1):
        if written.strip():
            try:
                yield _sample(line, _object(written))
            except ValueError as error:
                yield BadSample(line, str(error))


def _object(written: str) -> dict[str, Any]:
    """Read one line.

    Raises:
        ValueError: says what to write.

    """
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        message = 'is no JSON: write {"to": "refresh", "status": 400, "body": {"error": "…"}} on one line'
        raise ValueError(message) from None
    if not isinstance(found, dict):
        message = 'is no object: write {"to": "refresh", "status": 400, "body": {"error": "…"}}'
        raise ValueError(message)  # noqa: TRY004  # as every other problem of a line
    if strange := sorted(found.keys() - set(MEMBERS)):
        message = f"has {strange[0]!r}, which is no member: write {', '.join(MEMBERS)}"
        raise ValueError(message)
    return found


def _sample(line: int, found: dict[str, Any]) -> Sample:
    """Make a sample of a line's members.

    Raises:
        ValueError: says what to write.

    """
    to = found.get("to", str(Asked.REFRESH))
    status, means, headers = found.get("status"), found.get("means"), found.get("headers", {})
    problems = {
        f"to must be one of {', '.join(Asked)}": to in tuple(Asked),
        "status must be a number from 100 to 599": type(status) is int and status in STATUSES,
        f"means must be one of {', '.join(WORDS)}": means is None or means in WORDS,
        'headers must be an object of texts, like {"Retry-After": "30"}': isinstance(headers, dict)
        and all(isinstance(value, str) for value in headers.values()),
        "note must be a text": isinstance(found.get("note", ""), str),
    }
    for problem, fits in problems.items():
        if not fits:
            raise ValueError(problem)
    named = {name.lower(): value for name, value in headers.items()}
    response = Response(int(status or 0), named, _body(found.get("body", "")))
    return Sample(line, Asked(to), response, means, found.get("note"))


def _body(body: Any) -> bytes:
    """A text as it is; anything else as JSON."""
    return (body if isinstance(body, str) else json.dumps(body)).encode("utf-8", "replace")
