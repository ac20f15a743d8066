"""What a browser asks for: a search and where it goes on, read from the query; what cannot be used is told."""

import base64
import binascii
import json
from collections.abc import Collection
from typing import Final
from uuid import UUID

from multidict import MultiMapping

from models.views.pages import STATES, Key
from worker.web.refusal import bad_parameter

LARGEST: Final = 1000  # characters of a text


def text_of(query: MultiMapping[str], name: str) -> str | None:
    """A text, None where it is absent or empty.

    Raises:
        Refusal: no row of the database could hold it.

    """
    given = query.get(name, "").strip()
    return usable(given, name) if given else None


def usable(given: str, name: str) -> str:
    """A text that the database can be asked for.

    Raises:
        Refusal: it cannot.

    """
    if "\x00" in given or len(given) > LARGEST or any("\ud800" <= each <= "\udfff" for each in given):
        raise bad_parameter(
            message=f"The {name} cannot be used",
            next_step=f"leave out control characters, and all beyond {LARGEST} characters",
        )
    return given


def word_of(query: MultiMapping[str], name: str, words: Collection[str]) -> str | None:
    """One of some words, None where it is absent or empty.

    Raises:
        Refusal: it is none of them.

    """
    given = text_of(query, name)
    if given is not None and given not in words:
        raise bad_parameter(message=f"There is no {name} of that name", next_step=f"choose one of {', '.join(words)}")
    return given


def state_of(query: MultiMapping[str]) -> str | None:
    """A state of grants; raises what `word_of` does."""
    return word_of(query, "state", STATES)


def label_of(query: MultiMapping[str]) -> tuple[str, str] | None:
    """A label and its value.

    Raises:
        Refusal: it is not written as `name=value`.

    """
    given = text_of(query, "label")
    if given is None:
        return None
    name, sign, value = given.partition("=")
    if not (name and sign):
        raise bad_parameter(message="The label cannot be used", next_step="write it as name=value, such as org=8f2")
    return name, value


def number_of(query: MultiMapping[str], name: str) -> int | None:
    """The number of a row.

    Raises:
        Refusal: it is none.

    """
    given = text_of(query, name)
    if given is None:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) < 19):  # noqa: PLR2004  # what a bigint holds
        raise bad_parameter(message=f"{name} is no number", next_step="follow the links of the page")
    return int(given)


def written(key: Key) -> str:
    """Where a page ended, as an address has it."""
    return base64.urlsafe_b64encode(json.dumps([key[0], str(key[1])]).encode()).decode().rstrip("=")


def key_of(query: MultiMapping[str]) -> Key | None:
    """Where the page before ended.

    Raises:
        Refusal: it is not what a page of ours has written.

    """
    given = query.get("after", "")
    if not given:
        return None
    try:
        ref, grant_id = json.loads(base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True))
        return usable(str(ref), "ref"), UUID(grant_id)
    except (ValueError, TypeError, AttributeError, binascii.Error):
        raise bad_parameter(message="This is no place in the list", next_step="begin again at its first page") from None
