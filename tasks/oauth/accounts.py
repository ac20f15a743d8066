"""Accounts: whose account at the provider a token set is, where its file says how that is told. Pure.

Two consents of one ref are compared by it, so it is taken as it was written, and is nothing where it is no short text.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Self

from tasks.oauth.answer import Answer, Response
from tasks.oauth.kept import at, members_of
from tasks.oauth.provider import Provider

LONGEST: Final = 1000
# What the first step of a path may be, besides a member of the token answer.
ID_TOKEN: Final = "id_token"  # noqa: S105  # the name of a member
REDIRECT: Final = "redirect"
INTROSPECTION: Final = "introspection"
SUBJECT: Final = "sub"
_APART: Final = "="


@dataclass(frozen=True, slots=True)
class Account:
    """One account, and where that was told: a file whose `account_at` has changed tells another thing of the same."""

    place: str
    told: str = field(repr=False)

    @classmethod
    def read(cls, text: str) -> Self:
        """What `text` wrote."""
        place, _, told = text.partition(_APART)
        return cls(place, told)

    @property
    def text(self) -> str:
        """Both, to be sealed; no place has the sign between them."""
        return f"{self.place}{_APART}{self.told}"

    def is_another(self, other: Self) -> bool:
        """Whether these are known to be two."""
        return self.place == other.place and self.told != other.told


def from_answer(provider: Provider, body: bytes, redirect: Mapping[str, str] | None = None) -> Account | None:
    """Whose account a token answer says that it is; `redirect`: what the browser came back with.

    The claims of an ID token are read without its signature, as OpenID Connect allows where it came from the token
    endpoint itself.
    """
    if provider.account_at is None:
        return None
    first, _, rest = provider.account_at.partition(".")
    if first == REDIRECT:
        return _account(provider.account_at, (redirect or {}).get(rest))
    members = members_of(body)
    if first == ID_TOKEN and isinstance(members, dict):
        members = {**members, ID_TOKEN: _claims(members.get(ID_TOKEN))}
    return _account(provider.account_at, at(members, provider.account_at))


def from_introspection(answer: Answer) -> Account | None:
    """Whose account a token is by its introspection: the `sub` of one that lives (RFC 7662 §2.2)."""
    if not isinstance(answer, Response) or answer.status != HTTPStatus.OK:
        return None
    members = members_of(answer.body)
    if not isinstance(members, dict) or members.get("active") is not True:
        return None
    return _account(f"{INTROSPECTION}.{SUBJECT}", members.get(SUBJECT))


def _claims(token: Any) -> dict[str, Any]:
    """What an ID token says (RFC 7519 §3); nothing where it is none."""
    parts = token.split(".") if isinstance(token, str) else []
    if len(parts) != 3:  # noqa: PLR2004  # header, payload, signature
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), parse_int=str)
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _account(place: str, value: Any) -> Account | None:
    return Account(place, value) if isinstance(value, str) and 0 < len(value) <= LONGEST else None
