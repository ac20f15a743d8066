"""What a human can do about an error that waiting will not mend; docs/reference/outcomes.md lists every code."""

import re
import shlex
from typing import Final

_SET = "evergrant clients set {client}"
_ANY_GRANT = re.compile(r"\bREF\b(?: --client \S+)?")
_REDIRECT = re.compile(r"http_3\d\d")
_ADVICE = {
    "dns": "the token URL's host has no address here (no proxy is used, whatever HTTPS_PROXY says): check it, then"
    f" {_SET} --token-url URL",
    "connect_refused": f"nobody listens at the token URL: check it, then {_SET} --token-url URL",
    "tls_certificate": "the provider's certificate has ended, is not trusted here, or is made for another name: check"
    " the token URL; where it has a CA of its own, start workers with SSL_CERT_FILE",
    "tls_certificate ended": "the provider's certificate has ended, by the workers' clocks: the provider must renew it;"
    " nothing is to be changed here",
    "tls_certificate other_name": "the provider's certificate is made for another name: check the token URL, then"
    f" {_SET} --token-url URL",
    "tls_certificate unknown_issuer": "who issued the provider's certificate is not trusted here: where it has a CA of"
    " its own, start workers with SSL_CERT_FILE",
    "tls": f"no TLS could be agreed with the provider: check the token URL, then {_SET} --token-url URL",
    "http_404": f"the provider knows no such address: check the token URL, then {_SET} --token-url URL",
    "http_405": f"the address takes no POST: check the token URL, then {_SET} --token-url URL",
    "http_415": f"the provider does not take this kind of body: {_SET} --body form, or json",
    "label_missing": "an address of its provider needs a label that it does not have: see `evergrant providers show`,"
    " then evergrant grants set REF --label KEY=VALUE",
    "label_ambiguous": "an address of its provider needs one value of a label that has several here:"
    " evergrant grants set REF --label KEY=VALUE",
    "label_unfit": "a label cannot stand in the address that is made of it: evergrant grants set REF --label KEY=VALUE",
    "host_not_allowed": "its labels lead to none of the provider's hosts, so nothing is sent: mend them with"
    f" evergrant grants set REF --label KEY=VALUE, or {_SET} --host HOST",
    "host_private": "its host lies in a private range, so nothing is sent: mend its labels with evergrant grants set"
    " REF --label KEY=VALUE, or write private_hosts = true into the provider file",
    "setting_missing": "a request needs a setting that nobody has made, such as the redirect URI:"
    f" {_SET} --redirect-uri URL",
    "invalid_client": "the provider does not know this id and secret:"
    " evergrant clients set-secret {client} --client-secret-file -;"
    f" or it wants them elsewhere: {_SET} --auth basic, or body",
    "unauthorized_client": "the provider does not allow this client to refresh: look at its registration there",
    "unsupported_grant_type": "the provider has no refresh tokens there, or does not read the body:"
    f" {_SET} --body form, or json",
    "invalid_request": f"the provider does not read what is sent: {_SET} --body form, or json; with --auth basic"
    " look at basic_encoded in the provider's file",
}
# Behind a word for a dead token, while nothing has succeeded under these credentials.
UNPROVEN: Final = "_unproven"
_UNPROVEN_ADVICE = (
    "nothing has succeeded under these credentials yet, so this may be a wrong id or secret as well as a dead consent:"
    " compare both with what the provider shows, then connect one user anew; where that succeeds the credentials are"
    " right, and the old consent was dead: evergrant grants connect REF --client {client}"
)

# What must be done first, and who must do it, where the provider said why.
_FIRST: Final = {
    "admin_policy": "an administrator there must allow it first; then ",
    "user_gone": "its user is gone there: choose another; then ",
    "scope_changed": "see that the client asks for scopes that it may have there; then ",
}


def asks_again(grant: str, *, by_link: bool) -> str:
    """The command by which a user is asked again: `by_link`, in their own browser, where customers can be led there."""
    return f"evergrant grants {'reconnect-link' if by_link else 'connect'} {grant}"


def consent_advice(reason: str | None, *, grant: str, by_link: bool = False) -> str:
    """Say what to do about a grant that needs consent, by its reason."""
    return f"{_FIRST.get(reason or '', '')}ask the user to connect again: {asks_again(grant, by_link=by_link)}"


def refused_alone_advice(code: str | None, rule: str | None, *, client: str, grant: str, by_link: bool = False) -> str:
    """Say what to do about a grant that alone is refused, by the rule of the provider's file that reads the refusal."""
    again = asks_again(grant, by_link=by_link)
    match (rule or "").partition(": ")[2]:
        case "ours":
            told = advice(code, client=client) or "look at the client's registration there"
            return f"by the provider's file the fault is ours, not the grant's: {told}"
        case "scope":
            return (
                "the provider refuses its scope, not its token: see which scopes the client may have there,"
                f" then ask the user to connect again: {again}"
            )
        case _:
            return f"the provider refuses this grant alone, in a word of its own; if its user withdrew: {again}"


def advice(code: str | None, *, client: str, shape: str | None = None) -> str | None:
    """Say what to do about a grant's last error or a valve's reason; None where time may mend it."""
    if code is None:
        return None
    if _REDIRECT.fullmatch(code):
        told = f"the token URL redirects, which is never followed: name the address itself, {_SET} --token-url URL"
    elif code.endswith(UNPROVEN):
        told = _UNPROVEN_ADVICE
    else:
        told = _ADVICE.get(f"{code} {shape}") or _ADVICE.get(code, "")
    return told.format(client=client) or None


def advice_for(code: str | None, *, ref: str, client: str, shape: str | None = None) -> str | None:
    """The same of one grant, whose name stands in the commands."""
    told = advice(code, client=client, shape=shape)
    return None if told is None else _ANY_GRANT.sub(lambda _: named(ref, client), told)


def named(ref: str, client: str) -> str:
    """The arguments that name a grant, as they must be typed in a shell."""
    if ref.startswith("-"):
        return f"--client {client} -- {shlex.quote(ref)}"
    return f"{shlex.quote(ref)} --client {client}"
