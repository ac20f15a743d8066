"""Kinds of grants: what is held of a token set, and what a refusal means, where there is no refresh token.

code                the table of tasks/policy/outcome.py, as it stands
client_credentials  a placeholder is held in the refresh token's place, and a refusal is never a dead consent: no user
                    gave one (RFC 6749 §4.4)
exchange            the access token is held as what renews it, and once it has ended nothing can be hoped for: what
                    the provider itself says of it then is its end, and nothing that it, or a page, says of us
"""

from dataclasses import replace
from http import HTTPStatus
from typing import Final
from uuid import UUID

from tasks.oauth.shapes import Kind
from tasks.oauth.token_answer import TokenSet
from tasks.policy.advice import UNPROVEN
from tasks.policy.outcome import NotUnderstood, Outcome, Refreshed, Refused
from tasks.policy.refusal import will_pass

# What speaks of us, or of the request (RFC 6749 §5.2), and of no token.
_OURS: Final = frozenset(
    {"invalid_client", "unauthorized_client", "invalid_request", "invalid_scope", "unsupported_grant_type"}
)


def placeholder(grant_id: UUID) -> str:
    """What a grant without a user holds where others hold a refresh token: never sent, and each grant's own."""
    return f"client-credentials-{grant_id}"


def held_of(token_set: TokenSet, kind: Kind) -> TokenSet:
    """What is held on to of a token set.

    A refresh token that comes with client credentials is of no use (RFC 6749 §4.4.3), and would have to be kept alive.
    """
    match kind:
        case Kind.CODE:
            return token_set
        case Kind.CLIENT_CREDENTIALS:
            return replace(token_set, refresh_token=None)
        case Kind.EXCHANGE:
            return replace(token_set, refresh_token=token_set.access_token)


def of_kind(end: Outcome, kind: Kind, *, token_ended: bool = False, proven: bool = True) -> Outcome:
    """What the end of a request means for a grant of this kind.

    `token_ended`: the access token held had ended by itself when it was asked, and the answer is the provider's own.
    `proven`: something has succeeded under the credentials; until then it may be them that are refused.
    """
    if kind is Kind.CODE:
        return end
    match end, kind:
        case Refreshed(token_set=token_set), _:
            return replace(end, token_set=held_of(token_set, kind))
        case Refused(), Kind.CLIENT_CREDENTIALS:
            return NotUnderstood(end.code, end.http_status, end.retry_after, rule=end.rule, shape=end.shape)
        case NotUnderstood(), Kind.EXCHANGE if token_ended and _speaks_of_the_token(end):
            if not proven:
                return replace(end, code=end.code + UNPROVEN)
            return Refused(end.code, end.http_status, end.retry_after, rule=end.rule, shape=end.shape)
        case _:
            return end


def _speaks_of_the_token(end: NotUnderstood) -> bool:
    """Whether a refusal has a word of its own, and neither that nor a rule says that it is about something else."""
    has_word = end.http_status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED) and not end.code.startswith("http_")
    about_else = end.unknown or end.means is not None or end.code in _OURS or will_pass(end.code)
    return has_word and not about_else and not end.waits_for_proof
