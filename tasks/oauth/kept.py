"""Kept values: labels that a provider gives by itself, in a token answer or in the redirect to us. Pure.

They are a stranger's word. One that would lead an address out of the provider's hosts, or that is no printable text,
is refused; what a grant had before stays.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard
from urllib.parse import parse_qsl

from tasks.oauth.addresses import OWN, Labels, address_of, needed, values_of
from tasks.oauth.echoes import repeats
from tasks.oauth.errors import AddressError
from tasks.oauth.fields import STAND_IN
from tasks.oauth.provider import Provider

LONGEST = 1000  # characters of one value


@dataclass(frozen=True, slots=True)
class Kept:
    """What is to be kept as labels, where it differs from what the grant has; and what is refused, with its code."""

    values: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def over(self, labels: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Labels with these in the place of what was there."""
        return {**labels, **{label: [value] for label, value in self.values.items()}}

    def without(self, sent: Iterable[str], *, tokens: Iterable[str | None] = ()) -> "Kept":
        """These without what repeats a secret: labels are stored in clear, and applications read them.

        `sent`: the secrets of the request, asked for only where something is kept; `tokens`: those of the answer. Many
        a token begins with the number of its tenant, so a number that is not the whole of one passes.
        """
        echoes = {label for label, value in self.values.items() if _is_echo(value, sent, tokens)}
        if not echoes:
            return self
        values = {label: value for label, value in self.values.items() if label not in echoes}
        return replace(self, values=values, refused={**self.refused, **dict.fromkeys(echoes, "repeats_secret")})


def _is_echo(value: str, sent: Iterable[str], tokens: Iterable[str | None]) -> bool:
    if any(token and token in value for token in tokens):
        return True
    return any(secret and secret == value for secret in sent) if value.isdecimal() else repeats(value, sent)


NOTHING_KEPT = Kept()


def from_answer(provider: Provider, body: bytes, labels: Labels) -> Kept:
    """What a token answer gives; whatever its bytes are, a value comes back. `labels`: what the grant has."""
    if not provider.keep_from_answer:
        return NOTHING_KEPT
    members = members_of(body)
    return _kept(provider, {label: at(members, path) for label, path in provider.keep_from_answer.items()}, labels)


def from_redirect(provider: Provider, parameters: Mapping[str, str], labels: Labels) -> Kept:
    """What the redirect to us gives."""
    return _kept(provider, {label: parameters.get(name) for label, name in provider.keep_from_redirect.items()}, labels)


def at(members: Any, path: str) -> Any:
    """What stands at a dotted path, a number being a place in a list; None: nothing."""
    for step in filter(None, path.split(".")):
        match members:
            case dict():
                members = members.get(step)
            case list() if step.isdecimal() and int(step) < len(members):
                members = members[int(step)]
            case _:
                return None
    return members


def members_of(body: bytes) -> Any:
    """A JSON answer, or a form, with every number as it was written: an id of 20 digits is no float."""
    try:
        text = body.decode(json.detect_encoding(body), errors="replace").removeprefix("\ufeff")
        return json.loads(text, strict=False, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return _form(body)


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode("ascii").strip(), max_num_fields=50))
    except ValueError:
        return {}


def _kept(provider: Provider, given: Mapping[str, Any], labels: Labels) -> Kept:
    there = {label: value for label, value in given.items() if value not in (None, "")}
    refused = {label: "not_text" for label, value in there.items() if not is_fit(value)}
    texts = {label: value for label, value in there.items() if label not in refused}
    merged = {**labels, **texts}
    for label in texts:
        if (code := fault(provider, label, merged)) is not None:
            refused[label] = code
    changed = {label for label, value in texts.items() if values_of(labels, label) != [value]}
    return Kept({label: texts[label] for label in texts if label in changed and label not in refused}, refused)


def is_fit(value: object) -> TypeGuard[str]:
    """Whether a value may be a label's."""
    return isinstance(value, str) and value.isprintable() and len(value) <= LONGEST


def fault(provider: Provider, label: str, labels: Labels) -> str | None:
    """The code of why no address can be made with a label's value, or None.

    Of an address that awaits another label the value itself is looked at; the rest is, when that one is there.
    """
    for field_ in _naming(provider, label):
        awaited = [each for each in needed(provider, field_) if not values_of(labels, each)]
        whole = {**labels, **dict.fromkeys(awaited, STAND_IN)}
        try:
            address_of(provider, field_, whole, own=dict.fromkeys(OWN.get(field_, ()), STAND_IN))
        except AddressError as error:
            if not awaited or getattr(error, "label", None) == label:
                return error.code
    return None


def _naming(provider: Provider, label: str) -> Iterable[str]:
    return (each for each in provider.addresses if label in needed(provider, each))
