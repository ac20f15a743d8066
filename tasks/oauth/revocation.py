"""Revocation: the request for a token's end, in the shape that a provider wants; pure.

RFC 7009 §2.1 is the default; a provider file says what differs: the verb, where the members go, who it is from, which
token it names and under which name, and what else it holds.
"""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final, Literal

from tasks.oauth.addresses import Labels, address_of
from tasks.oauth.authentication import Proof
from tasks.oauth.errors import LabelNeeded, MissingSetting
from tasks.oauth.fields import labels_of
from tasks.oauth.messages import Registration, Request, accepting, fenced, from_client, written
from tasks.oauth.provider import CLIENT_ID, TOKEN, Provider
from tasks.oauth.shapes import Auth, Method, Presented, RevokeAuth

Hint = Literal["refresh_token", "access_token"]

AUTHS: Final = {RevokeAuth.BASIC: Auth.BASIC, RevokeAuth.BODY: Auth.BODY}
GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


def revoke(
    registration: Registration,
    *,
    token: str | None,
    hint: Hint | None = None,
    access_token: str | None = None,
    labels: Labels | None = None,
) -> Request:
    """Ask for a token's end; the hint is sent only where the provider wants one.

    A hint that does not fit the token makes some providers answer 200 and do nothing.

    Args:
        registration: who we are there.
        token: the one that it names; None where it names neither.
        hint: which one that is.
        access_token: whose revocation it is, where it comes from the grant's own (`revoke_auth` bearer).
        labels: of the grant, which address and members may name.

    Raises:
        MissingSetting: the provider has no revoke_url.
        AddressError: its address cannot be made of these labels.
        LabelNeeded: it needs one value of a label, and the grant has none, or several.

    """
    provider = registration.provider
    if provider.revoke_url is None:
        raise MissingSetting(provider.name, "revoke_url")
    filled = {CLIENT_ID: registration.client_id, TOKEN: token or ""}
    in_path = f"{{{TOKEN}}}" in provider.revoke_url
    url = address_of(provider, "revoke_url", labels, own=filled)
    members: dict[str, str] = {}
    if token is not None and not in_path:
        members[provider.revoke_parameter] = token
        if hint is not None and provider.revoke_hint:
            members["token_type_hint"] = hint
    for name, value in provider.revoke_parameters.items():
        members[name] = _filled(value, {CLIENT_ID: registration.client_id}, labels or {}, name)

    def write(from_us: Proof) -> Request:
        headers, said = {**accepting(provider), **from_us.headers}, {**members, **from_us.members}
        made = written(provider.revoke_method, url, headers, said, where=provider.revoke_where)
        return replace(fenced(made, provider), path_is_secret=in_path)

    auth = provider.auth if provider.revoke_auth is RevokeAuth.CLIENT else AUTHS.get(provider.revoke_auth)
    if auth is None:
        return write(_proof(registration, access_token))
    return from_client(registration, auth, labels, write)


def already_gone(provider: Provider) -> frozenset[int]:
    """The statuses by which a provider says that there is nothing to revoke any more: its address names the token."""
    named = provider.revoke_url is not None and f"{{{TOKEN}}}" in provider.revoke_url
    return GONE if named and provider.revoke_method is Method.DELETE else frozenset()


def names_access_token(provider: Provider) -> bool:
    """Whether a revocation needs the grant's access token: to name it, or to come from it."""
    return provider.revoke_token is Presented.ACCESS or provider.revoke_auth is RevokeAuth.BEARER


def _filled(template: str, ours: Mapping[str, str], labels: Labels, where: str) -> str:
    """Fill what a template leaves open: with what is ours, or with the one value of a label."""
    for name in labels_of(template):
        template = template.replace(f"{{{name}}}", ours[name] if name in ours else _one_value(name, labels, where))
    return template


def _one_value(label: str, labels: Labels, where: str) -> str:
    values = labels.get(label, ())
    several = [values] if isinstance(values, str) else list(values)
    if len(several) != 1:
        raise LabelNeeded(label, where, len(several))
    return several[0]


def _proof(registration: Registration, access_token: str | None) -> Proof:
    """What says who a revocation is from, where that is not said as in other requests of the client."""
    secret = registration.client_secret
    match registration.provider.revoke_auth:
        case RevokeAuth.BEARER:
            return Proof(headers=registration.provider.presenting(access_token or ""))
        case RevokeAuth.SECRET:
            return Proof(headers={"Authorization": f"Client {secret}"})
        case RevokeAuth.BEARER_SECRET:
            return Proof(headers={"Authorization": f"Bearer {secret}"})
        case _:
            return Proof()
