"""When a token set, its refresh token and its consent end, and when the grant is due because of it."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.provider import Provider
from tasks.oauth.token_answer import Ends as Told
from tasks.oauth.token_answer import TokenSet
from tasks.policy import timing
from tasks.policy.ends import Before, Ends, ends

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
GRANT = UUID(int=2**31)  # whose jitter is 0
EARLY, LATE = UUID(int=0), UUID(int=2**32 - 1)  # -1, and nearly 1


def reckoned(
    token_set: TokenSet, *, before: Before | None = None, grant_id: UUID = GRANT, keep: str = "warm", **fields: Any
) -> Ends:
    provider = Provider.checked("here", {"name": "here", **fields})
    return ends(token_set, provider, grant_id=grant_id, started_at=NOW, on_demand=keep == "on-demand", before=before)


def before(**known: Any) -> Before:
    values = dict.fromkeys(("refreshed_at", "access_expires_at", "refresh_expires_at", "consent_expires_at", "life"))
    return Before(**{**values, "created_at": NOW - 100 * DAY, **known})


# ── the access token ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_end_that_was_told_as_an_instant_is_a_life_from_the_start_of_the_request() -> None:
    found = reckoned(TokenSet("a", "r", ends=Told(expires_at=NOW + 3 * HOUR)))

    assert (found.life, found.due_at, found.strange) == (3 * HOUR, NOW + 2 * HOUR, ())


def test_an_end_in_the_past_is_told_and_the_default_life_is_taken() -> None:
    found = reckoned(TokenSet("a", "r", ends=Told(expires_at=NOW - SECOND)), default_life_seconds=600)

    assert (found.life, found.strange) == (10 * MINUTE, ("expires_at",))


def test_what_the_reader_found_strange_is_told_on() -> None:
    assert reckoned(TokenSet("a", ends=Told(strange=("expires_in",)))).strange == ("expires_in",)


# ── the same token again ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("grant_id", "later"), [(EARLY, 0 * MINUTE), (GRANT, 3 * MINUTE), (LATE, 6 * MINUTE)])
def test_it_is_asked_for_once_a_refresh_brings_another_token_and_a_little_later(
    grant_id: UUID, later: timedelta
) -> None:
    found = reckoned(TokenSet("a", "r", 6 * 3600), grant_id=grant_id, same_token_above_seconds=3600)

    assert found.due_at - (NOW + 5 * HOUR) == pytest.approx(later, abs=SECOND)
    assert found.due_at >= NOW + 5 * HOUR


def test_a_token_that_is_repeated_with_its_rest_is_asked_for_again_when_it_helps() -> None:
    known = before(access_expires_at=NOW + 2 * HOUR)
    found = reckoned(TokenSet("a", "r", 7200), before=known, grant_id=EARLY, same_token_above_seconds=3600)

    assert (found.life, found.due_at) == (2 * HOUR, NOW + HOUR)


@given(st.floats(1, 10_000), st.uuids())
def test_a_provider_that_repeats_the_token_to_its_end_is_never_asked_in_a_tight_loop(rest: float, grant: UUID) -> None:
    known = before(access_expires_at=NOW + timedelta(seconds=rest))
    found = reckoned(TokenSet("a", "r", rest), before=known, grant_id=grant)

    assert found.due_at - NOW >= min(timedelta(seconds=max(rest, 5)), MINUTE) - SECOND


def test_a_short_life_that_is_no_repetition_is_renewed_in_time() -> None:
    found = reckoned(TokenSet("a", "r", 10), before=before(access_expires_at=NOW + 3 * SECOND), grant_id=GRANT)

    assert found.due_at - NOW == pytest.approx(6.67 * SECOND, abs=0.1 * SECOND)


# ── the refresh token ───────────────────────────────────────────────────────────────────────────────────────────


def test_its_end_is_what_the_answer_says_before_what_the_file_says() -> None:
    assert reckoned(TokenSet("a", "r"), refresh_idle_days=60).refresh_expires_at == NOW + 60 * DAY
    told = Told(refresh_life=86400)
    assert reckoned(TokenSet("a", "r", ends=told), refresh_idle_days=60).refresh_expires_at == NOW + DAY
    endless = Told(refresh_life=math.inf)
    assert reckoned(TokenSet("a", "r", ends=endless), refresh_idle_days=60).refresh_expires_at is None
    instant = Told(refresh_expires_at=NOW + 9 * DAY)
    assert reckoned(TokenSet("a", "r", ends=instant), refresh_idle_days=60).refresh_expires_at == NOW + 9 * DAY


def test_an_end_in_the_past_is_told_and_the_file_counts() -> None:
    found = reckoned(TokenSet("a", "r", ends=Told(refresh_expires_at=NOW)), refresh_idle_days=60)

    assert (found.refresh_expires_at, found.strange) == (NOW + 60 * DAY, ("refresh_expires_at",))


def test_a_refresh_token_that_stays_keeps_its_end_and_another_has_none_that_is_known() -> None:
    known = before(refresh_expires_at=NOW + 50 * DAY)

    assert reckoned(TokenSet("a"), before=known).refresh_expires_at == NOW + 50 * DAY
    assert reckoned(TokenSet("a", "r"), before=known).refresh_expires_at is None


def test_on_demand_it_is_renewed_at_half_of_the_refresh_tokens_life_and_weekly_at_the_least() -> None:
    def due(**fields: Any) -> timedelta:
        return reckoned(TokenSet("a", "r"), keep="on-demand", **fields).due_at - NOW

    assert due() == 7 * DAY
    assert due(refresh_idle_days=60) == 7 * DAY
    assert due(refresh_idle_days=60, idle_refresh_days=90) == 30 * DAY
    assert due(refresh_idle_days=2) == DAY


def test_kept_warm_it_is_renewed_before_a_refresh_token_ends_that_lives_shorter_than_the_access_token() -> None:
    found = reckoned(TokenSet("a", "r", 86400, ends=Told(refresh_life=3600)))

    assert found.due_at == NOW + 30 * MINUTE


# ── the consent ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_consent_ends_by_its_answer_or_by_the_file_from_its_beginning() -> None:
    assert reckoned(TokenSet("a", "r", ends=Told(consent_life=86400)), consent_days=182).consent_expires_at == NOW + DAY
    assert reckoned(TokenSet("a", "r"), consent_days=182).consent_expires_at == NOW + 182 * DAY
    assert reckoned(TokenSet("a", "r"), consent_days=182, before=before()).consent_expires_at == NOW + 82 * DAY
    assert reckoned(TokenSet("a", "r"), before=before()).consent_expires_at is None


def test_a_rest_that_is_told_anew_is_no_other_end() -> None:
    known = before(consent_expires_at=NOW + 10 * DAY - 2 * SECOND)
    told = Told(consent_life=10 * 86400)

    assert reckoned(TokenSet("a", "r", ends=told), before=known).consent_expires_at == NOW + 10 * DAY - 2 * SECOND


def test_what_was_known_of_a_consent_stays_where_nothing_is_told() -> None:
    known = before(consent_expires_at=NOW + 10 * DAY)

    assert reckoned(TokenSet("a", "r"), before=known).consent_expires_at == NOW + 10 * DAY


def test_a_refresh_token_whose_end_stays_however_often_it_is_renewed_ends_the_consent() -> None:
    """Google's test apps: `refresh_token_expires_in` is what is left of seven days from the consent."""
    known = before(refreshed_at=NOW - HOUR, refresh_expires_at=NOW + 5 * DAY)

    found = reckoned(TokenSet("a", "r", ends=Told(refresh_life=5 * 86400)), before=known)
    assert (found.refresh_expires_at, found.consent_expires_at) == (NOW + 5 * DAY, NOW + 5 * DAY)
    assert reckoned(TokenSet("a"), before=known).consent_expires_at == NOW + 5 * DAY
    for rest in (5 * 86400 + 3600, 86400):  # it was put off; it is a shorter life than it was
        moved = Told(refresh_life=rest)
        assert reckoned(TokenSet("a", "r", ends=moved), before=known).consent_expires_at is None


def test_two_token_sets_close_together_do_not_tell_whether_an_end_stays() -> None:
    known = before(refreshed_at=NOW - MINUTE, refresh_expires_at=NOW + 60 * DAY - MINUTE)

    assert reckoned(TokenSet("a", "r"), before=known, refresh_idle_days=60).consent_expires_at is None


def test_an_end_that_was_taken_for_one_that_stays_and_moved_since_is_forgotten() -> None:
    known = before(refreshed_at=NOW - HOUR, refresh_expires_at=NOW + 5 * DAY, consent_expires_at=NOW + 5 * DAY)

    assert reckoned(TokenSet("a", "r"), before=known, refresh_idle_days=60).consent_expires_at is None


# ── trouble ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_grant_in_trouble_is_asked_once_more_before_its_refresh_token_ends() -> None:
    assert timing.before_the_end(HOUR, NOW, None) == HOUR
    assert timing.before_the_end(HOUR, NOW, NOW + 2 * HOUR) == HOUR
    assert timing.before_the_end(HOUR, NOW, NOW + 30 * MINUTE) == 29 * MINUTE
    assert timing.before_the_end(HOUR, NOW, NOW + 30 * SECOND) == HOUR, "that was the last time"


LIVES = st.none() | st.floats(-1e18, 1e18)
INSTANTS = st.none() | st.datetimes(timezones=st.just(UTC))


@given(LIVES, INSTANTS, LIVES.filter(lambda x: x is None or x > 0), INSTANTS, st.none() | st.floats(1, 1e18))
def test_whatever_is_told_ends_come_back(
    expires_in: float | None,
    expires_at: datetime | None,
    refresh_life: float | None,
    refresh_at: datetime | None,
    consent_life: float | None,
) -> None:
    told = Told(expires_at, refresh_life, refresh_at, consent_life)
    found = reckoned(TokenSet("a", "r", expires_in, ends=told), grant_id=uuid4(), before=before(refreshed_at=NOW))

    assert SECOND * 0.9 <= found.life <= 365 * DAY
    assert found.due_at > NOW
    assert found.refresh_expires_at is None or found.refresh_expires_at >= NOW


# ── a life that introspection tells ─────────────────────────────────────────────────────────────────────────────

INTROSPECTED: dict[str, Any] = {
    "life_from": "introspection",
    "introspect_url": "https://id.example/i",
    "default_life_seconds": 7200,
}


@pytest.mark.parametrize(
    ("known", "life"),
    [
        (None, 2 * HOUR),
        (15 * MINUTE, 15 * MINUTE),
        (12 * HOUR, 2 * HOUR),  # it may be another's by now
        (SECOND, MINUTE),  # what was left of a token that was given twice
    ],
)
def test_until_introspection_tells_a_life_it_is_the_one_before_where_that_was_shorter(
    known: timedelta | None, life: timedelta
) -> None:
    assert reckoned(TokenSet("a", "r"), before=before(life=known), **INTROSPECTED).life == life
    assert reckoned(TokenSet("a", "r", expires_in=60), before=before(life=known), **INTROSPECTED).life == MINUTE


def test_where_answers_tell_lives_the_default_is_the_default() -> None:
    found = reckoned(TokenSet("a", "r"), before=before(life=15 * MINUTE), default_life_seconds=7200)
    assert found.life == 2 * HOUR
