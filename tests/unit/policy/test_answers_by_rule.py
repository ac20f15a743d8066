"""What a rule of the provider's file makes of an answer: more exact than the table, and never more than a refusal."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.answer import Answer, NotSent, Response, Silence
from tasks.oauth.provider import Provider
from tasks.oauth.rules import Asked, Means, Reason
from tasks.oauth.token_answer import TokenSet
from tasks.policy.life import Finding, Life, may_be_asked_again, presented, probed
from tasks.policy.outcome import (
    Accepted,
    GrantThrottled,
    NotNow,
    NotUnderstood,
    Outcome,
    Race,
    Refreshed,
    Refused,
    Unknown,
    outcome,
    revocation_outcome,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def provider(*answers: dict[str, Any]) -> Provider:
    return Provider.checked("a file", {"name": "x", "answers": list(answers)})


def error(status: int, word: str, **headers: str) -> Response:
    return Response(status, headers, json.dumps({"error": word}).encode())


def rule(word: str, means: str, **more: Any) -> dict[str, Any]:
    return {"where": {"error": word}, "means": means, **more}


def told(answer: Answer, *answers: dict[str, Any], proven: bool = True, to: Asked = Asked.REFRESH) -> Outcome:
    return outcome(answer, provider=provider(*answers), proven=proven, wall_clock=NOW, hide=(), to=to)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500, 502, 503])
def test_a_word_for_dead_is_a_refusal_of_the_token_whatever_its_status(status: int) -> None:
    end = told(error(status, "gone"), rule("gone", "dead", reason="app_removed"))
    assert end == Refused("gone", status, means=Means.DEAD, reason=Reason.APP_REMOVED, rule="1: dead, app_removed")
    assert not end.unknown


def test_a_human_who_must_act_is_a_refusal_of_the_token_too() -> None:
    end = told(error(400, "rapt"), rule("rapt", "consent", reason="mfa_required"))
    assert end == Refused("rapt", 400, means=Means.CONSENT, reason=Reason.MFA_REQUIRED, rule="1: consent, mfa_required")


@pytest.mark.parametrize("status", [200, 403])
def test_a_word_for_dead_under_credentials_that_never_succeeded_blames_no_grant(status: int) -> None:
    end = told(error(status, "gone"), rule("gone", "dead"), proven=False)
    assert end == NotUnderstood("gone_unproven", status, means=Means.DEAD, rule="1: dead")


@pytest.mark.parametrize("means", ["ours", "scope"])
@pytest.mark.parametrize("proven", [True, False])
def test_what_is_ours_or_of_the_scope_is_no_refusal_of_the_token(means: str, *, proven: bool) -> None:
    end = told(error(400, "invalid_grant"), rule("invalid_grant", means), proven=proven)
    assert end == NotUnderstood("invalid_grant", 400, means=Means(means), rule=f"1: {means}")


def test_a_race_is_definite_and_no_refusal() -> None:
    body = json.dumps({"error": "invalid_grant", "error_description": "token request is already being processed"})
    salesforce = {
        "where": {"error": "invalid_grant", "error_description": "*already being processed*"},
        "means": "race",
    }
    end = told(Response(400, {}, body.encode()), salesforce)
    assert end == Race("invalid_grant", 400, rule="1: race")
    assert told(error(400, "invalid_grant"), salesforce) == Refused()


@pytest.mark.parametrize("status", [200, 400, 429, 503])
def test_throttled_in_any_status_shuts_the_clients_valve_for_as_long_as_is_told(status: int) -> None:
    end = told(error(status, "ratelimited", **{"retry-after": "9"}), rule("ratelimited", "throttled"))
    assert end == NotNow("ratelimited", status, timedelta(seconds=9), rule="1: throttled")


@pytest.mark.parametrize("whose", ["grant", "user"])
def test_throttled_of_a_grant_or_a_user_lets_that_grant_wait(whose: str) -> None:
    end = told(error(200, "slow", **{"retry-after": "9"}), rule("slow", "throttled", scope_of_limit=whose))
    assert end == GrantThrottled("slow", 200, timedelta(seconds=9), rule="1: throttled")


def test_a_503_that_a_rule_reads_by_its_status_alone_may_have_been_carried_out() -> None:
    assert told(Response(503), {"status": 503, "means": "throttled"}).unknown
    assert not told(Response(429), {"status": 429, "means": "throttled"}).unknown


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_ill_provider_is_unknown(status: int) -> None:
    assert told(error(status, "oops"), rule("oops", "ill")) == Unknown("oops", status, rule="1: ill")


ALL = [rule("*", means) for means in Means]


@pytest.mark.parametrize("means", Means)
@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_token_set_is_a_token_set_whatever_the_rules_say(means: Means, status: int) -> None:
    body = json.dumps({"access_token": "at", "refresh_token": "rt", "error": "gone", "ok": False}).encode()
    end = told(Response(status, {}, body), rule("*", means), {"where": {"ok": "false"}, "means": means})
    assert end == Refreshed(token_set=TokenSet("at", "rt"), http_status=status)


@pytest.mark.parametrize("answer", [Silence("timeout"), Silence("truncated", 403), NotSent("dns"), Silence("x", 503)])
def test_what_did_not_come_whole_fits_no_rule(answer: Answer) -> None:
    assert told(answer, {"status": 403, "means": "dead"}, rule("*", "dead")) == told(answer)


@pytest.mark.parametrize("answer", [error(400, "x"), error(200, "x"), error(429, "x"), error(500, "x"), Response(404)])
def test_what_fits_no_rule_is_read_as_without_any(answer: Response) -> None:
    assert told(answer, rule("gone", "dead"), {"status": 410, "means": "dead"}) == told(answer)


def test_a_rule_for_the_exchange_of_a_code_is_none_for_a_refresh() -> None:
    code = rule("invalid_grant", "ours", to="code")
    assert told(error(400, "invalid_grant"), code) == Refused()
    assert told(error(400, "invalid_grant"), code, to=Asked.CODE) == NotUnderstood(
        "invalid_grant", 400, means=Means.OURS, rule="1: ours"
    )


def test_the_word_of_an_error_that_repeats_the_token_is_not_repeated() -> None:
    body = json.dumps({"errors": [{"errorType": "sesame", "message": "invalid: sesame"}]}).encode()
    for answers in ([], [{"where": {"errors.0.errorType": "*"}, "means": "dead"}]):
        for status in (200, 400):
            end = outcome(
                Response(status, {}, body), provider=provider(*answers), proven=True, wall_clock=NOW, hide=["sesame"]
            )
            assert "sesame" not in repr(end)


@given(
    status=st.sampled_from([200, 400, 401, 403, 404, 408, 429, 500, 503]),
    body=st.dictionaries(st.sampled_from(["error", "status", "ok", "access_token"]), st.none() | st.text(max_size=9)),
    means=st.sampled_from(Means),
    proven=st.booleans(),
)
def test_whatever_rules_say_a_verdict_needs_a_rule_for_it_and_proven_credentials(
    status: int, body: dict[str, Any], means: Means, *, proven: bool
) -> None:
    end = told(Response(status, {}, json.dumps(body).encode()), rule("*", means), proven=proven)
    if isinstance(end, Refused) and end.rule is not None:
        assert proven
        assert means in (Means.DEAD, Means.CONSENT)
    if isinstance(end, GrantThrottled | Race | Refused):
        assert not end.unknown


# ── probe, look, revocation ─────────────────────────────────────────────────────────────────────────────────────

PROBED = {
    "dead": Finding.DEAD,
    "consent": Finding.DEAD,
    "ours": Finding.MISCONFIGURED,
    "scope": Finding.ALIVE,
    "throttled": Finding.UNCLEAR,
    "ill": Finding.UNCLEAR,
    "race": Finding.UNCLEAR,
}


@pytest.mark.parametrize("status", [200, 401, 403])
@pytest.mark.parametrize(("means", "finding"), PROBED.items())
def test_a_probe_is_read_by_the_rules_of_a_refresh(means: str, finding: Finding, status: int) -> None:
    answer = error(status, "word")
    assert probed(answer, told(answer, rule("word", means))) is finding


LOOKS = {"dead": Life.DEAD, "scope": Life.ALIVE, "ours": Life.UNTOLD, "throttled": Life.UNTOLD, "ill": Life.UNTOLD}


@pytest.mark.parametrize("status", [200, 401, 403])
@pytest.mark.parametrize(("means", "life"), LOOKS.items())
def test_what_the_api_says_is_read_by_its_own_rules(means: str, life: Life, status: int) -> None:
    slack = provider(rule("word", means, to="api"))
    assert presented(error(status, "word"), slack) is life
    assert may_be_asked_again(error(status, "word"), slack) is (means in ("throttled", "ill"))


def test_an_api_that_says_no_in_a_success_has_not_seen_a_living_token_even_without_a_rule() -> None:
    answer = Response(200, {}, b'{"ok":false,"error":"token_revoked"}')
    assert presented(answer, provider()) is Life.UNTOLD
    assert presented(answer, provider(rule("token_revoked", "dead", to="api"))) is Life.DEAD
    assert presented(Response(200, {}, b'{"ok":true}'), provider(rule("*", "dead", to="api"))) is Life.ALIVE


REVOKED: dict[str, tuple[type, bool]] = {
    "dead": (Accepted, False),
    "consent": (Accepted, False),
    "ours": (NotUnderstood, False),
    "scope": (NotUnderstood, False),
    "throttled": (NotNow, False),
    "ill": (Unknown, True),
    "race": (Race, False),
}


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("means", "expected"), REVOKED.items())
def test_the_answer_to_a_revocation_is_read_by_its_own_rules(
    means: str, expected: tuple[type, bool], status: int
) -> None:
    end = revocation_outcome(
        error(status, "word"), provider=provider(rule("word", means, to="revoke")), wall_clock=NOW, hide=()
    )
    assert (type(end), end.unknown, end.rule) == (*expected, f"1: {means}")
