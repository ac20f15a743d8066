"""Answer text: the body of an answer as text, and the JSON in it; whatever the bytes are, a value comes back."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

BYTE_ORDER_MARK: Final = "\ufeff"
# An integer of any length is read as a float: a silly number must not make its neighbours unreadable. Made once: a
# decoder for each answer costs more than the answer.
JSON: Final = json.JSONDecoder(strict=False, parse_int=float)
_OPENING: Final = re.compile(r'\{\s*"')
# What no notice of a server has and every page: where it begins, what it is headed by, what it runs or asks for.
_OF_PAGES: Final = re.compile(r"<(?:!doctype\s+html|html|head|title|meta|link|style|body|script|form)\b", re.IGNORECASE)
# What may stand before a page or XML, and the elements that a page, or a piece of one, begins with. XML has its own,
# and a notice of PHP's, behind which the application itself speaks, begins with <br>, <b>, <font> or <table>.
_BEFORE: Final = re.compile(r"(?:\s+|<\?xml.*?\?>|<!--.*?-->)*", re.IGNORECASE | re.DOTALL)
_BEGINNING: Final = re.compile(
    r"<(?:!--|(?:!doctype\s+html|html|head|title|base|meta|link|style|script|noscript|body|header|main|nav|section|div|p"
    r"|h[1-6]|center|form|frameset|iframe|ul|ol|svg|img|a|span)(?=[\s/>]|$))",
    re.IGNORECASE,
)
_HTML: Final = re.compile(r"<(?:!doctype\s+)?html(?=[\s/>]|$)", re.IGNORECASE)
HEAD: Final = 1024  # characters that say what a text is


def text_of(body: bytes) -> str:
    """The body as text: in UTF-8, or in UTF-16 or UTF-32 where it begins so; what is none is replaced."""
    if body.startswith(b'{"'):  # in UTF-16 and UTF-32 a NUL would stand between
        return body.decode(errors="replace")
    return body.decode(json.detect_encoding(body), errors="replace").removeprefix(BYTE_ORDER_MARK)


def is_page(text: str) -> bool:
    """Whether a text is HTML: a machine in between wants a login, or says that it is ill."""
    before = _BEFORE.match(text)
    start = before.end() if before else 0
    return bool(_BEGINNING.match(text, start) or _HTML.search(text, start, start + HEAD))


def is_of_a_page(text: str) -> bool:
    """Whether a text has what pages consist of."""
    return _OF_PAGES.search(text) is not None


def objects_amid(text: str) -> Iterator[Any]:
    """The JSON objects that stand in a text one behind the other, or in JSON that is a text itself.

    A server prints its notices (PHP's *Deprecated*, a comment on how long it took) before and behind what an
    application answers, or a guard against scripts, or writes its JSON as a JSON text. None where the text is JSON
    of another kind. What is not surely a whole answer is left alone: an object inside of another one that has no end,
    in a list, or in a page was written for somebody else, perhaps with the tokens that were sent.
    """
    try:
        told = JSON.decode(text)
    except (ValueError, RecursionError):
        return _one_by_one(text)
    return _one_by_one(told.removeprefix(BYTE_ORDER_MARK)) if isinstance(told, str) else iter(())


def _one_by_one(text: str) -> Iterator[Any]:
    braces = brackets = end = 0
    while found := _OPENING.search(text, end):
        between = text[end : found.start()]
        braces += between.count("{") - between.count("}")
        brackets += between.count("[") - between.count("]")
        if braces > 0 or brackets > 0 or is_of_a_page(between):
            return
        try:
            members, end = JSON.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            return
        yield members
