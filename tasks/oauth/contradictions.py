"""Contradictions: what cannot be true of one provider; each a function, which says in a sentence what to write.

They look at several fields at once; what one field may hold is said where the field is (tasks/oauth/fields.py).
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from tasks.oauth.fields import is_address, is_loopback, is_within, labels_of, leaves_host_open
from tasks.oauth.provider_fields import ProviderFields
from tasks.oauth.rotation import Rotation
from tasks.oauth.rules import Asked
from tasks.oauth.shapes import Auth, Kind, LifeFrom, Method, Presented, Reach, RevokeAuth, RevokeBody
from tasks.oauth.words import never_heard

# What we send ourselves: a further parameter or header must not replace it.
OURS_AT_TOKEN = frozenset(
    {"grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "client_id", "client_secret"}
)
OURS = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
)

OURS_IN_HEADS = frozenset(
    {"authorization", "content-type", "content-length", "host", "transfer-encoding", "connection", "accept-encoding"}
)
# A label is shown, exported and told to applications: none of these may become one.
TOKENS = frozenset({"access_token", "refresh_token", "id_token"})


def _callback_of_nobody(provider: ProviderFields) -> str | None:
    bare = provider.issuer_in_callback and provider.issuer is None
    return "issuer_in_callback needs issuer" if bare else None


def _grace_without_seconds(provider: ProviderFields) -> str | None:
    bare = provider.rotation is Rotation.GRACE and provider.grace_seconds is None
    return 'rotation "grace" needs grace_seconds' if bare else None


def _strange_end_of_grace(provider: ProviderFields) -> str | None:
    known = provider.after_grace in (Rotation.FAMILY, Rotation.IMMEDIATE)
    return None if known else 'after_grace must be "family" or "immediate"'


def _life_from_nowhere(provider: ProviderFields) -> str | None:
    bare = provider.life_from is LifeFrom.INTROSPECTION and provider.introspect_url is None
    return 'life_from "introspection" needs introspect_url: write where tokens are introspected' if bare else None


def _refresh_token_of_none(provider: ProviderFields) -> str | None:
    """What cannot be where no refresh token is: it would be sent a placeholder, or an access token of no use there."""
    kind = f'kind "{provider.kind}"'
    if provider.kind is Kind.CODE:
        return None
    if provider.probe:
        return f"{kind} has no refresh token to probe: leave probe out"
    if provider.kind is Kind.CLIENT_CREDENTIALS and provider.rotation is not Rotation.NONE:
        return f'{kind} has no refresh token that could rotate: leave rotation out, or write "none"'
    if provider.revoke_token is Presented.REFRESH or provider.revocation is Reach.REFRESH:
        return f'{kind} has no refresh token to revoke: revoke_token must be "access" or "neither"'
    return None


def _revocation_without_place(provider: ProviderFields) -> str | None:
    """A member that has no place would be left out without a word, and the provider would revoke nothing."""
    where = provider.revoke_where
    if provider.revoke_method is Method.GET and where in (RevokeBody.JSON, RevokeBody.FORM):
        return 'revoke_method "GET" has no body: revoke_body must be "query" or "none"'
    if where is not RevokeBody.NONE or provider.revoke_url is None:
        return None
    if provider.revoke_token is not Presented.NEITHER and "{token}" not in provider.revoke_url:
        return 'revoke_body "none" leaves the token no place: write {token} into revoke_url'
    if provider.revoke_parameters:
        return 'revoke_body "none" leaves revoke_parameters no place'
    if provider.revoke_auth is RevokeAuth.BODY or (
        provider.revoke_auth is RevokeAuth.CLIENT and provider.auth is not Auth.BASIC
    ):
        return 'revoke_body "none" leaves the client\'s id and secret no place: write another revoke_auth'
    return None


def _parameters_of_ours(provider: ProviderFields) -> str | None:
    own_id = {provider.client_id_parameter}
    sent = {
        "authorize_parameters": OURS | own_id,
        "exchange_parameters": OURS_AT_TOKEN | own_id,
        "refresh_parameters": OURS_AT_TOKEN | own_id | {"scope"},
        "revoke_parameters": frozenset({provider.revoke_parameter, "token_type_hint"}),
    }
    for field, ours in sent.items():
        if taken := ours & getattr(provider, field).keys():
            return f"{field} must not set {', '.join(sorted(taken))}"
    return None


def _open_without_fence(provider: ProviderFields) -> str | None:
    """A label is what a user or the provider said: without a fence it could lead our secret anywhere."""
    for field, url in provider.addresses.items():
        if not provider.hosts and leaves_host_open(url):
            return f'{field} leaves a label open in its host: add hosts, e.g. hosts = ["*.example.com"]'
    return None


def _outside_of_fence(provider: ProviderFields) -> str | None:
    """What would be refused at each request is told where it is written."""
    for field, url in provider.addresses.items():
        host = "" if leaves_host_open(url) else urlsplit(url).hostname or ""
        if provider.hosts and host and not is_within(host, provider.hosts):
            return f"{field} leads to {host}, which is not among hosts: add it there"
        if provider.hosts and not provider.private_hosts and (is_loopback(host) or is_address(host)):
            return f"{field} leads to {host}: say private_hosts = true, if that is meant"
    return None


def _headers_of_ours(provider: ProviderFields) -> str | None:
    taken = sorted(OURS_IN_HEADS & {name.lower() for name in provider.token_headers})
    if taken:
        return f"token_headers must not set {', '.join(taken)}"
    presenting = provider.api_header.partition(":")[0].lower()
    if presenting in OURS_IN_HEADS - {"authorization"}:
        return f"api_header must not set {presenting}"
    if presenting != "authorization" and presenting in {name.lower() for name in provider.headers}:
        return f"headers must not set {presenting}: api_header does"
    return None


def _tokens_as_labels(provider: ProviderFields) -> str | None:
    paths = TOKENS | {*provider.token_set.access_token, *provider.token_set.refresh_token}
    for label, path in provider.keep_from_answer.items():
        if path in paths or path.rpartition(".")[2] in TOKENS or not path:
            return f"keep_from_answer.{label} must not name a token: labels are shown to everybody"
    for label, path in provider.labels_at.items():
        if path.rpartition(".")[2] in TOKENS:
            return f"labels_at.{label} must not name a token: labels are shown to everybody"
    if provider.account_at is not None and (provider.account_at in paths or _names_a_token(provider.account_at)):
        return "account_at must not name a token: it changes with every answer"
    for label, name in provider.keep_from_redirect.items():
        if name in {"code", "state", provider.code_parameter}:
            return f"keep_from_redirect.{label} must not name {name}: labels are shown to everybody"
    return None


def _names_a_token(path: str) -> bool:
    return not path or path.rpartition(".")[2] in TOKENS | {"id_token"}


def _label_in_authorize_host_of_answer(provider: ProviderFields) -> str | None:
    """The first answer comes after the user was sent there, and after the code was exchanged."""
    late = provider.keep_from_answer.keys()
    for field in ("authorize_url", "token_url"):
        if opened := [label for label in labels_of(provider.addresses.get(field, "")) if label in late]:
            return f"{field} needs {opened[0]}, which only its answer gives: take a label, or refresh_url"
    for label in labels_of(provider.addresses.get("authorize_url", "")):
        if label in provider.keep_from_redirect:
            return f"authorize_url needs {label}, which only the redirect gives: take a label"
    return None


def _labels_asked_by_halves(provider: ProviderFields) -> str | None:
    """Where to ask and what to read there go together, and no other source gives the same label."""
    if bool(provider.labels_at) is not (provider.labels_url is not None):
        missing, there = ("labels_url", "labels_at") if provider.labels_at else ("labels_at", "labels_url")
        return f"{there} needs {missing}: write both, or neither"
    for label in provider.labels_at:
        for field in ("keep_from_answer", "keep_from_redirect"):
            if label in getattr(provider, field):
                return f"labels_at.{label} is given by {field}, too: leave one out"
    return None


def _label_asked_too_late(provider: ProviderFields) -> str | None:
    """It comes after the consent, or never: nothing that keeps a grant alive may wait for it."""
    for field in ("authorize_url", "token_url", "refresh_url", "labels_url"):
        for label in labels_of(provider.addresses.get(field, "")):
            if label in provider.labels_at:
                return f"{field} needs {label}, which only labels_url gives: take a label, or keep_from_answer"
    return None


def _rules_never_heard(provider: ProviderFields) -> str | None:
    return next(iter(never_heard(provider.answers)), None)


def _rules_for_token_sets(provider: ProviderFields) -> str | None:
    """A 2xx with a token set is read before any rule is asked."""
    for place, rule in enumerate(provider.answers, 1):
        held = [path for path in provider.token_set.access_token if rule.where.get(path)]
        in_success = rule.status and all(str(each).startswith("2") for each in rule.status)
        if held and in_success and rule.to in (Asked.REFRESH, Asked.CODE):
            return f"answers.{place}: a 2xx with {held[0]} is a token set, and no rule is asked of one: leave it out"
    return None


CHECKS: Final[tuple[Callable[[ProviderFields], str | None], ...]] = (
    _callback_of_nobody,
    _grace_without_seconds,
    _strange_end_of_grace,
    _life_from_nowhere,
    _refresh_token_of_none,
    _revocation_without_place,
    _parameters_of_ours,
    _open_without_fence,
    _outside_of_fence,
    _headers_of_ours,
    _tokens_as_labels,
    _label_in_authorize_host_of_answer,
    _labels_asked_by_halves,
    _label_asked_too_late,
    _rules_never_heard,
    _rules_for_token_sets,
)
