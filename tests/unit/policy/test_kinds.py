"""What answers mean for grants that hold no refresh token."""

from uuid import uuid4

import pytest

from tasks.oauth.rules import Means
from tasks.oauth.shapes import Kind
from tasks.oauth.token_answer import TokenSet
from tasks.policy.kinds import held_of, of_kind, placeholder
from tasks.policy.outcome import NotNow, NotUnderstood, Outcome, Refreshed, Refused, Unknown


def test_a_refresh_token_beside_client_credentials_is_not_held_on_to() -> None:
    assert held_of(TokenSet("at", "rt"), Kind.CLIENT_CREDENTIALS) == TokenSet("at", None)


def test_what_is_exchanged_for_its_successor_is_held_as_what_renews_it() -> None:
    assert held_of(TokenSet("at"), Kind.EXCHANGE) == TokenSet("at", "at")
    assert of_kind(Refreshed(token_set=TokenSet("at")), Kind.EXCHANGE) == Refreshed(token_set=TokenSet("at", "at"))


def test_a_code_flows_token_set_stays_as_it_came() -> None:
    assert held_of(TokenSet("at", "rt"), Kind.CODE) == TokenSet("at", "rt")
    assert held_of(TokenSet("at"), Kind.CODE) == TokenSet("at")


def test_no_word_of_the_provider_is_the_death_of_a_grant_that_nobody_gave() -> None:
    assert of_kind(Refused(), Kind.CLIENT_CREDENTIALS) == NotUnderstood("invalid_grant", 400)


@pytest.mark.parametrize("kind", [Kind.CODE, Kind.EXCHANGE])
def test_elsewhere_a_refused_token_stays_refused(kind: Kind) -> None:
    assert of_kind(Refused(), kind) == Refused()


def test_an_access_token_that_has_ended_can_be_exchanged_no_more_whatever_the_provider_calls_it() -> None:
    refusal = NotUnderstood("OAuthException", 400)

    assert of_kind(refusal, Kind.EXCHANGE, token_ended=True) == Refused("OAuthException", 400)
    assert of_kind(refusal, Kind.EXCHANGE) == refusal
    assert of_kind(refusal, Kind.CODE, token_ended=True) == refusal


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize("code", ["OAuthException", "token_expired", "unrecognised"])
def test_it_is_the_providers_own_word_for_a_token_that_ends_it(status: int, code: str) -> None:
    end = of_kind(NotUnderstood(code, status), Kind.EXCHANGE, token_ended=True)

    assert end == Refused(code, status)


@pytest.mark.parametrize(
    "end",
    [
        *(NotUnderstood(f"http_{status}", status) for status in (400, 401, 403, 404, 405, 407)),
        *(NotUnderstood("token_expired", status) for status in (403, 404, 410, 425)),
        *(NotUnderstood(code, 401) for code in ("invalid_client", "unauthorized_client")),
        *(NotUnderstood(code, 400) for code in ("invalid_request", "invalid_scope", "unsupported_grant_type")),
        *(NotUnderstood(code, 400) for code in ("server_error", "too_many_devices")),
        *(NotUnderstood("says_so", 400, means=means) for means in (Means.OURS, Means.SCOPE)),
    ],
    ids=lambda end: f"{end.http_status} {end.code}",
)
def test_what_is_said_of_us_or_by_a_page_is_no_end_of_an_exchanged_token(end: NotUnderstood) -> None:
    assert of_kind(end, Kind.EXCHANGE, token_ended=True) == end


def test_under_credentials_that_nothing_proves_it_waits_for_proof() -> None:
    end = of_kind(NotUnderstood("OAuthException", 400), Kind.EXCHANGE, token_ended=True, proven=False)

    assert end == NotUnderstood("OAuthException_unproven", 400)
    assert isinstance(end, NotUnderstood)
    assert end.waits_for_proof


@pytest.mark.parametrize(
    "end",
    [Unknown("http_502", 502), NotNow("http_429", 429), NotUnderstood("error", 200, unknown=True)],
)
def test_what_may_come_from_a_machine_in_between_is_never_the_end_of_an_exchanged_token(end: Outcome) -> None:
    assert of_kind(end, Kind.EXCHANGE, token_ended=True) == end


def test_each_placeholder_is_its_grants_own() -> None:
    one, other = uuid4(), uuid4()

    assert placeholder(one) == placeholder(one) != placeholder(other)
