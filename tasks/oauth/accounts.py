"""Accounts: whose account at the provider a token set is, where its file says how that is told. Pure.

Two consents of one ref are compared by it, so it is taken as it was written, and is nothing where it is no short text.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from tasks.oauth.answer import Answer, Response
from tasks.oauth.kept import at, members_of
from tasks.oauth.provider import Provider

LONGEST: Final = 1000
# What the first step of a path may be, besides a member of the token answer.
ID_TOKEN: Final = "id_token"  # noqa: S105  # the name of a member
REDIRECT: Final = "redirect"
SUBJECT: Final = "sub"


def from_answer(provider: Provider, body: bytes, redirect: Mapping[str, str] | None = None) -> str | None:
    """Whose account a token answer says that it is; `redirect`: what the browser came back with.

    The claims of an ID token are read without its signature, as OpenID Connect allows where it came from the token
    endpoint itself.
    """
    if provider.account_at is None:
        return None
    first, _, rest = provider.account_at.partition(".")
    if first == REDIRECT:
        return _text((redirect or {}).get(rest))
    members = members_of(body)
    if first == ID_TOKEN and isinstance(members, dict):
        members = {**members, ID_TOKEN: _claims(members.get(ID_TOKEN))}
    return _text(at(members, provider.account_at))


def from_introspection(answer: Answer) -> str | None:
    """Whose account a token is by its introspection: the `sub` of one that lives (RFC 7662 §2.2)."""
    if not isinstance(answer, Response) or answer.status != HTTPStatus.OK:
        return None
    members = members_of(answer.body)
    if not isinstance(members, dict) or members.get("active") is not True:
        return None
    return _text(members.get(SUBJECT))


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


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST else None
