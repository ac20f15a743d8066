"""Parameters: what a request to web says, its ref, query and body, or a refusal that says what cannot be used."""

import asyncio
import json
import math
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from aiohttp import web

from worker.web.refusal import Refusal, bad_parameter, unknown_ref

LARGEST_BODY = 16 * 1024
LARGEST_REF = 255
LARGEST_TEXT = 1000
LARGEST_GENERATION = 2**63 - 1
BODY_SECONDS = 10.0


def ref_of(request: web.Request) -> str:
    """The ref in the path, decoded.

    Raises:
        Refusal: no grant can have it, so it is unknown.

    """
    ref = request.match_info["ref"]
    # What PostgreSQL takes for no text at all: a NUL, and halves of a surrogate pair.
    if len(ref) > LARGEST_REF or "\x00" in ref or any("\ud800" <= c <= "\udfff" for c in ref):
        raise unknown_ref(ref[:LARGEST_REF].encode("ascii", "backslashreplace").decode())
    return ref


def query_of(request: web.Request, *, allowed: Collection[str] | None) -> dict[str, str]:
    """The query, each parameter once; `allowed` None: any name may come.

    Raises:
        Refusal: one came twice, is empty, or is none of those allowed.

    """
    query = dict(request.query)
    for name in request.query:
        if len(request.query.getall(name)) > 1 or not query[name] or len(query[name]) > LARGEST_REF:
            raise bad_parameter(
                message=f"The parameter {name} came more than once, is empty or too long", next_step="send it once"
            )
        if not query[name].isprintable():
            raise bad_parameter(message=f"The parameter {name} is no printable text", next_step="send text")
    if allowed is not None:
        refuse_unknown(query, allowed)
    return query


def refuse_unknown(query: Collection[str], allowed: Collection[str]) -> None:
    """Refuse a parameter that means nothing: a misspelt one must not be ignored.

    Raises:
        Refusal: names it.

    """
    for name in query:
        if name not in allowed:
            raise bad_parameter(
                message=f"There is no parameter {name!r} here", next_step=f"use {', '.join(sorted(allowed))}"
            )


def seconds(query: dict[str, str], name: str, *, default: float, most: float) -> timedelta:
    """Read a length of time in seconds.

    Raises:
        Refusal: it is no number from 0 to `most`.

    """
    text = query.get(name)
    if text is None:
        return timedelta(seconds=default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise bad_parameter(
            message=f"The parameter {name} is no number of seconds from 0 to {most:g}", next_step="correct it"
        )
    return timedelta(seconds=value)


async def body_of(request: web.Request, *, allowed: Collection[str]) -> dict[str, Any]:
    """The JSON object of the body; no body is an empty one.

    Raises:
        Refusal: it is too slow, too large, no JSON object, or has a member that means nothing.

    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.read()
    except TimeoutError:
        raise Refusal(408, "too_slow", f"The body did not come within {BODY_SECONDS:g} s", "send it at once") from None
    try:
        members = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise bad_parameter(
            message="The body is no JSON object", next_step="send one, with Content-Type: application/json"
        )
    for name in members:
        if name not in allowed:
            raise bad_parameter(
                message=f"The body has a member {name[:50]!r} that means nothing here", next_step="leave it out"
            )
    return members


def generation(members: dict[str, Any], name: str) -> int:
    """The generation that a body names.

    Raises:
        Refusal: it names none.

    """
    value = members.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_GENERATION:
        raise bad_parameter(
            message=f"The body has no {name}: a whole number, as the token's answer tells it",
            next_step=f'send {{"{name}": n}}',
        )
    return value


def words(members: dict[str, Any], name: str, *, most: int = LARGEST_TEXT) -> str | None:
    """The text that a body names, or None.

    Raises:
        Refusal: it is none, or too long.

    """
    value = members.get(name)
    if value is None:
        return None
    if not _is_text(value, most):
        raise bad_parameter(message=f"{name} is no printable text of 1 to {most} characters", next_step="correct it")
    return str(value)


def list_of_words(members: dict[str, Any], name: str) -> list[str]:
    """The texts that a body lists; absent is none.

    Raises:
        Refusal: it is no list of texts.

    """
    value = members.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(_is_text(each, LARGEST_TEXT) for each in value):
        raise bad_parameter(
            message=f"{name} is no list of printable texts of 1 to {LARGEST_TEXT} characters", next_step="correct it"
        )
    return value


def labels(members: dict[str, Any], name: str) -> dict[str, list[str]] | None:
    """The labels that a body names, every value in a list; None where it names none.

    Raises:
        Refusal: they are none.

    """
    value = members.get(name)
    if value is None:
        return None
    read = {k: v if isinstance(v, list) else [v] for k, v in value.items()} if isinstance(value, dict) else {None: []}
    if not all(_is_text(each, LARGEST_TEXT) for label, held in read.items() for each in (label, *held)):
        raise bad_parameter(
            message=f"{name} is no object of printable texts",
            next_step='write it as {"org": "8f2"} or {"org": ["8f2", "9a1"]}',
        )
    return {str(label): held for label, held in read.items()}


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable()


def flag(members: dict[str, Any], name: str) -> bool:
    """The yes or no that a body names; absent is no.

    Raises:
        Refusal: it is neither.

    """
    value = members.get(name, False)
    if not isinstance(value, bool):
        raise bad_parameter(message=f"{name} is neither true nor false", next_step="correct it")
    return value
