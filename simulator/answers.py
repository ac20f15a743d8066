"""Answers: what the provider says, with Doorkeeper's texts and statuses, before any fault touches it."""

import re
from dataclasses import dataclass, field
from math import ceil
from typing import Any

REALM = "Doorkeeper"
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")  # an error; anything else is a body

TEXTS = {
    "invalid_client": "Client authentication failed due to unknown client, no client authentication included, or "
    "unsupported authentication method.",
    "invalid_grant": "The provided authorization grant is invalid, expired, revoked, does not match the redirection "
    "URI used in the authorization request, or was issued to another client.",
    "invalid_request": "The request is missing a required parameter, includes an unsupported parameter value, or is "
    "otherwise malformed.",
    "invalid_scope": "The requested scope is invalid, unknown, or malformed.",
    "unsupported_grant_type": "The authorization grant type is not supported by the authorization server.",
    "unsupported_response_type": "The authorization server does not support this response type.",
    "invalid_redirect_uri": "The requested redirect uri is malformed or doesn't match client redirect URI.",
    "invalid_code_challenge_method": "The code challenge method must be plain or S256.",
    "access_denied": "The resource owner or authorization server denied the request.",
    "revoked": "The access token was revoked",
    "expired": "The access token expired",
    "unknown": "The access token is invalid",
}


@dataclass(slots=True, eq=False)
class Answer:
    """One answer: `body` is JSON (a dict or list), bytes, or None for an empty one."""

    status: int
    outcome: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"


def error(code: str, text: str = "", *, status: int = 0) -> Answer:
    """Answer an OAuth error (RFC 6749 §5.2): 401 for `invalid_client`, else 400."""
    description = text or TEXTS[code]
    headers = {
        "Cache-Control": "no-store, no-cache",
        "WWW-Authenticate": f'Bearer realm="{REALM}", error="{code}", error_description="{description}"',
    }
    body = {"error": code, "error_description": description}
    return Answer(status or (401 if code == "invalid_client" else 400), code, body, headers)


def refused(said: str, outcome: str = "") -> Answer:
    """Refuse as a habit says, e.g. `Habits.says_dead`: a status and an error, or a status and the whole body.

    `outcome`: what it stands for in the traffic, where the words tell nothing; by default the error itself.
    """
    status, _, words = said.partition(" ")
    if WORD.fullmatch(words):
        answer = error(words, TEXTS.get(words, "refresh_token is invalid"), status=int(status))
        answer.outcome = outcome or words
        return answer
    kind = "application/json; charset=utf-8" if words[:1] in ("{", "[") else "text/plain; charset=utf-8"
    return Answer(int(status), outcome or "refused", words.encode() or None, content_type=kind)


def invalid_client(said: str) -> Answer:
    """Refuse credentials as `Habits.says_wrong_client` says."""
    return refused(said, "invalid_client")


def missing(name: str) -> Answer:
    """Answer that a parameter is missing."""
    return error("invalid_request", f"Missing required parameter: {name}.")


def not_yours() -> Answer:
    """Refuse a revocation: wrong credentials, or another client's token."""
    body = {
        "error": "unauthorized_client",
        "error_description": "You are not authorized to revoke this token",
    }
    return Answer(403, "unauthorized_client", body)


def dead_token(reason: str) -> Answer:
    """Answer 401 with an empty body; only the header tells whether it was `revoked`, `expired` or is `unknown`."""
    header = f'Bearer realm="{REALM}", error="invalid_token", error_description="{TEXTS[reason]}"'
    return Answer(401, f"token_{reason}", None, {"WWW-Authenticate": header, "Cache-Control": "no-store"})


def too_many(wait_seconds: float, said: str = "") -> Answer:
    """Answer with the whole seconds to wait: 429, or as `Habits.says_too_many` says."""
    if said:
        answer = refused(said, "too_many_requests")
        answer.headers["Retry-After"] = str(max(1, ceil(wait_seconds)))
        return answer
    body = {"errors": [{"status": "429", "title": "Too Many Requests"}]}
    return Answer(429, "too_many_requests", body, {"Retry-After": str(max(1, ceil(wait_seconds)))})
