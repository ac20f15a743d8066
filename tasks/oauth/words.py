"""Words: which rule of a provider's file fits an answer. Pure; asked only of what is no token set.

A body is read as JSON, or as a form where it looks like one and like no page; of what is neither, a rule that looks
into the body knows nothing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from tasks.oauth.rules import Asked, Rule

MOST_MEMBERS = 50
# Without the characters of pages and of broken JSON: a link in a page looks like a form else.
FORM: Final = re.compile(rb"[\x20\x21\x23-\x3b\x3d\x3f-\x7a\x7c\x7e]+")
# Numbers stay as they are written, so that a rule compares text with text.
_JSON: Final = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)
_AS_JSON: Final[Mapping[object, str]] = {True: "true", False: "false", None: "null"}


class _Unread:
    """The body has not been looked at, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """The rule that speaks of an answer; `number`: its place among the file's, from 1."""

    number: int
    rule: Rule

    @property
    def told(self) -> str:
        """How it is shown: `3: dead, revoked`."""
        reason = f", {self.rule.reason}" if self.rule.reason else ""
        return f"{self.number}: {self.rule.means}{reason}"


def spoken(rules: Sequence[Rule], to: Asked, *, status: int, body: bytes) -> Spoken | None:
    """The first rule whose `to`, `status` and `where` fit; None: the provider has said nothing that its file knows."""
    found: Any = _Unread
    read = False
    for number, rule in enumerate(rules, 1):
        if rule.to is not to or not rule.fits_status(status):
            continue
        if rule.where and not read:
            found, read = members(body), True
        if all(fits(pattern, text_at(found, path) if path else whole(body)) for path, pattern in rule.where.items()):
            return Spoken(number, rule)
    return None


def whole(body: bytes) -> str:
    """A body as it is written, whatever it is: what the empty path leads to."""
    return body.decode(json.detect_encoding(body), errors="replace").removeprefix("\ufeff")


def members(body: bytes) -> Any:
    """What a body holds: JSON of any kind, the members of a form, or nothing that a path leads into."""
    try:
        return _JSON.decode(whole(body))
    except (ValueError, RecursionError):
        return form(body.strip())


def form(body: bytes) -> Any:
    """The members of a form."""
    if b"=" not in body or not FORM.fullmatch(body):
        return _Unread
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_MEMBERS))
    except ValueError:
        return _Unread


def text_at(found: Any, path: str) -> str | None:
    """What stands at a dotted path, as text; None: nothing does, or a list or an object."""
    for step in path.split(".") if path else ():
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    if isinstance(found, str):
        return found
    return _AS_JSON[found] if found is None or isinstance(found, bool) else None


def fits(pattern: str, text: str | None) -> bool:
    """Whether a text fits a pattern, in which `*` stands for any text; in linear time, whoever wrote the text."""
    if text is None:
        return False
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    if not text.startswith(first):
        return False
    *middle, last = others
    at = len(first)
    for part in middle:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(text) - len(last) >= at and text.endswith(last)


def never_heard(rules: Sequence[Rule]) -> list[str]:
    """The rules that can never speak, because an earlier one always fits first; a sentence each."""
    return [
        f"answers.{place}: rule {place} fits only what rule {earlier} fits before it, so it never speaks: "
        "write it above that one, or leave it out"
        for place, rule in enumerate(rules, 1)
        if (earlier := next((n for n, each in enumerate(rules[: place - 1], 1) if _covers(each, rule)), None))
    ]


def _covers(wide: Rule, narrow: Rule) -> bool:
    """Whether whatever fits the one fits the other: a `*` of the narrow one lies within a `*` of the wide one."""
    if wide.to is not narrow.to or not _covers_status(wide, narrow):
        return False
    return all(path in narrow.where and fits(pattern, narrow.where[path]) for path, pattern in wide.where.items())


def _covers_status(wide: Rule, narrow: Rule) -> bool:
    if not wide.status:
        return True
    within = [each in wide.status or (isinstance(each, int) and wide.fits_status(each)) for each in narrow.status]
    return bool(within) and all(within)
