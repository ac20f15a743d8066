"""What a group of answers means: whose credentials are proven, what an attempt's end makes of its grant."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from models.attempt import Started
from models.client import Known
from models.ended_attempt import Ended
from models.locked_grant import LockedGrant
from models.sealing.vault import KeyRing, Vault
from models.suspects import Surroundings
from settings import Settings
from tasks.oauth.answer import Answer, HeldBack, NotSent, Response, Silence
from tasks.oauth.attempt_times import AttemptTimes
from tasks.oauth.messages import Registration
from tasks.oauth.provider import Provider
from tasks.oauth.rules import Means
from tasks.oauth.token_answer import TokenSet
from tasks.policy.outcome import GrantThrottled, NotNow, NotUnderstood, Outcome, Race, Refreshed, Refused, Unknown
from tasks.policy.valve import Sign
from tasks.runtime.attempt import Arrived, Attempt
from tasks.runtime.registration import Registered
from tasks.settling.decide import Decider, Decisions
from tasks.settling.reading import read, read_all, read_refusals, sign_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
GRANT = UUID(int=42)
INVALID_GRANT = Response(400, body=b'{"error":"invalid_grant"}')
TOKENS = Response(200, body=json.dumps({"access_token": "new at", "refresh_token": "new rt"}).encode())

SETTINGS = Settings(
    refresh_token_keys=SecretStr(KeyRing.generate_line("r1")), access_token_keys=SecretStr(KeyRing.generate_line("a1"))
)
VAULT = Vault.from_settings(SETTINGS)
SENT = VAULT.fingerprint("old rt")

KNOWN = Known(
    id=1,
    name="temple",
    provider="event-temple",
    overrides={},
    client_id="id",
    sealed_client_secret=None,
    credentials_no=3,
    redirect_uri=None,
    attempt_lease=MINUTE,
    keep="warm",
    updated_at=NOW,
    proven=True,
)
STARTED = Started(
    grant_id=GRANT,
    client_id=1,
    ref="customer-1",
    status="active",
    generation=7,
    claim_no=12,
    started_at=NOW - 2 * SECOND,
    lease_until=NOW + 58 * SECOND,
    sealed_refresh_token=b"",
    refresh_fingerprint=SENT,
    former_token_id=None,
    labels={},
    life=timedelta(hours=2),
    access_expires_at=NOW + 30 * MINUTE,
    access_rejected=False,
    doubt_since=None,
    doubt_repeated=False,
    journals_undrained=False,
    suspect_at=None,
    failing_since=None,
    client_paused=False,
    valve_shut=False,
    canary=False,
)
ROW = LockedGrant(
    grant_id=GRANT,
    client_id=1,
    ref="customer-1",
    status="active",
    generation=7,
    claim_no=12,
    refresh_fingerprint=SENT,
    former_fingerprints=[],
    scope="a b",
    life=timedelta(hours=2),
    access_expires_at=NOW + 30 * MINUTE,
    refresh_expires_at=None,
    consent_expires_at=None,
    created_at=NOW - timedelta(days=30),
    refreshed_at=NOW - 90 * MINUTE,
    keep="warm",
    rotation="on_use",
    grace=None,
    doubt_since=None,
    journals_undrained=False,
    suspect_at=None,
    failures=0,
    attempts=0,
    failing_since=None,
    failing_for=timedelta(0),
    untried_former_tokens=0,
    access_rejected=False,
    has_letter=False,
    refusals=0,
    refused_since=None,
    refused_code="unauthorized_client",
    client_refused_since=None,
    witness_at=None,
    credentials_proven=True,
    was_well=True,
    at=NOW,
)
AROUND = Surroundings(witnessed=True, suspects=1, asked=100, deaths_accepted_at=None)


def arrived(answer: Answer, *, job: Started = STARTED, known: Known = KNOWN, **habits: Any) -> Arrived:
    provider = Provider.model_validate({"name": "temple", "token_url": "https://id.example/token"} | habits)
    registered = Registered(known, Registration(provider, "id", "secret"), AttemptTimes(30 * SECOND, MINUTE))
    return Arrived(Attempt(job, registered, timedelta(0)), answer, NOW)


def decided(
    answer: Answer,
    *,
    row: LockedGrant = ROW,
    job: Started = STARTED,
    around: Surroundings | None = AROUND,
    **habits: Any,
) -> Decisions:
    one = arrived(answer, job=job, **habits)
    end = read(one, proven=True, vault=VAULT)
    refused = read_refusals([one], [end], {GRANT: row})
    decider = Decider(VAULT, SETTINGS, {GRANT: row}, {} if around is None else {GRANT: around}, refused)
    decider.decide(one, end)
    return decider.made


def ended(answer: Answer, *, row: LockedGrant = ROW, job: Started = STARTED) -> Ended:
    [end] = decided(answer, row=row, job=job).ended
    return end


SLOW = {"where": {"error": "slow"}, "means": "throttled", "scope_of_limit": "grant"}
BUSY = {"where": {"error": "busy"}, "means": "race"}


@pytest.mark.parametrize(("word", "rule"), [("slow", SLOW), ("busy", BUSY)])
@pytest.mark.parametrize(("attempts", "least", "most"), [(0, 2.5, 5), (3, 20, 40), (50, 150, 300)])
def test_a_throttled_grant_and_one_that_met_a_race_back_off_by_what_was_in_vain_and_count_no_failure(
    word: str, rule: dict[str, Any], attempts: int, least: float, most: float
) -> None:
    answer = Response(400, {}, json.dumps({"error": word}).encode())
    [end] = decided(answer, row=ROW._replace(attempts=attempts, failures=9), answers=[rule]).ended
    assert (end.failed, end.suspect, end.refused, end.unknown, end.reason) == (False, False, False, False, None)
    assert least * SECOND <= end.due_at - NOW <= most * SECOND


@pytest.mark.parametrize(("told", "least", "most"), [("0", 5, 15), ("60", 60, 60), ("3600", 300, 300)])
def test_a_throttled_grant_waits_as_the_provider_tells(told: str, least: float, most: float) -> None:
    answer = Response(200, {"retry-after": told}, b'{"error":"slow"}')
    [end] = decided(answer, answers=[SLOW]).ended
    assert least * SECOND <= end.due_at - NOW <= most * SECOND


# ── whose credentials are proven ────────────────────────────────────────────────────────────────────────────────


def another(answer: Answer, *, known: Known = KNOWN) -> Arrived:
    return arrived(answer, job=STARTED._replace(grant_id=uuid4()), known=known)


UNPROVEN = replace(KNOWN, proven=False)


def told_all(group: list[Arrived], known: dict[int, Known]) -> list[Outcome]:
    return read_all(group, lambda ids: {each: known[each] for each in ids}, VAULT)


def test_invalid_grant_blames_no_grant_while_the_credentials_are_unproven() -> None:
    assert told_all([another(INVALID_GRANT)], {1: UNPROVEN}) == [NotUnderstood("invalid_grant_unproven", 400)]
    assert told_all([another(INVALID_GRANT)], {1: KNOWN}) == [Refused()]


def test_a_success_in_the_same_group_proves_the_credentials_for_the_others() -> None:
    refused, refreshed = told_all([another(INVALID_GRANT), another(TOKENS)], {1: UNPROVEN})

    assert refused == Refused()
    assert isinstance(refreshed, Refreshed)


def test_a_success_of_another_client_proves_nothing() -> None:
    other = replace(UNPROVEN, id=2)
    success = arrived(TOKENS, job=STARTED._replace(grant_id=uuid4(), client_id=2), known=other)

    refused, _ = told_all([another(INVALID_GRANT), success], {1: UNPROVEN, 2: other})

    assert refused == NotUnderstood("invalid_grant_unproven", 400)


def test_a_success_under_other_credentials_of_the_client_proves_nothing() -> None:
    """The secret was replaced while both requests were under way."""
    refused, _ = told_all(
        [another(INVALID_GRANT, known=UNPROVEN), another(TOKENS, known=replace(UNPROVEN, credentials_no=2))],
        {1: UNPROVEN},
    )

    assert refused == NotUnderstood("invalid_grant_unproven", 400)


def test_an_answer_to_credentials_that_were_replaced_meanwhile_blames_no_grant() -> None:
    """Sent under the wrong secret no. 2; the right one, no. 3, has proved itself before the answer was settled."""
    old = another(INVALID_GRANT, known=replace(KNOWN, credentials_no=2, proven=False))

    assert told_all([old], {1: KNOWN}) == [NotUnderstood("invalid_grant_unproven", 400)]


class Broken(dict[str, str]):
    def get(self, *_: object) -> str:
        raise RuntimeError


def test_an_answer_that_breaks_the_reader_is_unknown() -> None:
    assert read(arrived(Response(429, Broken())), proven=True, vault=VAULT) == Unknown("unread_RuntimeError", None)


def test_the_providers_own_name_of_retry_after_is_honoured() -> None:
    end = read(arrived(Response(429, {"x-wait": "9"}), retry_after_header="X-Wait"), proven=True, vault=VAULT)

    assert isinstance(end, NotNow)
    assert end.retry_after == 9 * SECOND


@pytest.mark.parametrize(
    ("end", "sign"),
    [
        (Refreshed(token_set=TokenSet("at")), Sign.GOOD),
        (Refused(), Sign.NEUTRAL),
        (NotNow("http_429", 429, None, unknown=False), Sign.NOT_NOW),
        (NotNow("http_503", 503, None, unknown=True), Sign.NOT_NOW),
        (NotUnderstood("invalid_client", 401), Sign.REFUSED),
        (NotUnderstood("invalid_grant", 400, means=Means.OURS), Sign.REFUSED),
        (GrantThrottled("slow", 200), Sign.NEUTRAL),
        (Race("invalid_grant", 400), Sign.NEUTRAL),
        (Unknown("timeout", None), Sign.BAD),
        (NotSent("dns"), Sign.BAD),
        (HeldBack("valve_is_shut"), None),
    ],
)
def test_what_an_outcome_tells_the_valve(end: Outcome, sign: Sign | None) -> None:
    assert sign_of(end) is sign


# ── an attempt that brought no token set ────────────────────────────────────────────────────────────────────────

ENDS: dict[str, tuple[Answer, bool, bool, bool]] = {
    # answer, unknown, failed, suspect
    "not sent": (NotSent("dns"), False, True, False),
    "429": (Response(429), False, False, False),
    "503": (Response(503), True, True, False),
    "invalid_grant": (INVALID_GRANT, False, False, True),
    "invalid_client": (Response(401, body=b'{"error":"invalid_client"}'), False, True, False),
    "500": (Response(500), True, True, False),
    "a redirect": (Response(302), True, True, False),
    "HTML": (Response(200, body=b"<html>"), True, True, False),
    "silence": (Silence("timeout"), True, True, False),
}


@pytest.mark.parametrize(("answer", "unknown", "failed", "suspect"), ENDS.values(), ids=ENDS)
def test_only_invalid_grant_makes_a_suspect_and_only_silence_makes_doubt(
    answer: Answer, unknown: bool, failed: bool, suspect: bool
) -> None:
    end = ended(answer)

    assert (end.unknown, end.failed, end.suspect, end.reason) == (unknown, failed, suspect, None)
    assert (end.grant_id, end.claim_no, end.generation) == (GRANT, 12, 7)


@pytest.mark.parametrize("answer", [value[0] for name, value in ENDS.items() if name != "invalid_grant"])
def test_nothing_but_invalid_grant_is_a_verdict_whatever_is_known(answer: Answer) -> None:
    row = ROW._replace(suspect_at=NOW - DAY, access_expires_at=NOW - DAY, failures=99, failing_for=9 * DAY)

    assert ended(answer, row=row).reason is None


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(0, 2.5, 5), (1, 5, 10), (5, 80, 160), (6, 150, 300), (999, 150, 300)]
)
def test_a_failing_grant_waits_by_the_back_off(failures: int, least: float, most: float) -> None:
    wait = ended(Response(500), row=ROW._replace(failures=failures)).due_at - NOW

    assert least * SECOND <= wait <= most * SECOND


def test_a_grant_whose_client_must_wait_is_due_again_soon_for_the_valve_decides() -> None:
    assert 5 * SECOND <= ended(Response(429)).due_at - NOW <= 15 * SECOND


def test_a_suspect_waits_ten_minutes_or_a_quarter_of_its_life() -> None:
    assert ended(INVALID_GRANT).due_at - NOW == 10 * MINUTE
    assert ended(INVALID_GRANT, row=ROW._replace(life=20 * SECOND)).due_at - NOW == 5 * SECOND


def test_at_grace_the_first_repeat_goes_at_once_and_later_ones_back_off() -> None:
    grace = ROW._replace(rotation="grace", grace=MINUTE)

    assert ended(Silence("timeout"), row=grace).due_at == NOW
    assert ended(Silence("timeout"), row=grace._replace(doubt_since=NOW - SECOND)).due_at > NOW
    assert ended(Silence("timeout"), row=grace._replace(doubt_since=NOW - 3 * MINUTE)).due_at == NOW
    assert ended(Response(401), row=grace).due_at > NOW + 2 * SECOND


def test_a_job_that_the_guard_held_back_is_given_back_and_nothing_else() -> None:
    made = decided(HeldBack("process_is_stopping"))

    [(grant_id, claim_no, wait)] = made.released
    assert (grant_id, claim_no) == (GRANT, 12)
    assert 5 * SECOND <= wait <= 15 * SECOND
    assert made == Decisions(released=made.released)


def test_a_wait_of_the_profile_is_kept() -> None:
    assert decided(HeldBack("access_token_still_serves", wait=MINUTE)).released == [(GRANT, 12, MINUTE)]


bodies = st.binary(max_size=100) | st.sampled_from([INVALID_GRANT.body, TOKENS.body, TOKENS.body[:-9], b"[" * 9999])


@given(
    status=st.integers(0, 999) | st.just(400), body=bodies, row=st.sampled_from(["active", "needs_consent", "revoked"])
)
def test_whatever_is_answered_is_decided_and_only_a_plain_refusal_is_a_verdict(
    status: int, body: bytes, row: str
) -> None:
    made = decided(Response(status, body=body), row=ROW._replace(status=row, suspect_at=NOW - DAY))

    assert len(made.stored) + len(made.surplus) + len(made.ended) == 1
    if any(end.reason for end in made.ended):
        assert (status, body) == (400, INVALID_GRANT.body)


# ── refusals that nobody understands ────────────────────────────────────────────────────────────────────────────

WITHDRAWN = Response(403, body=b'{"error":"unauthorized_client","error_description":"refresh_token is invalid"}')
ALONE = ROW._replace(refusals=1, refused_since=NOW - 10 * MINUTE, witness_at=NOW - MINUTE)


def test_a_first_refusal_beside_a_client_that_works_waits_as_a_suspect_does_and_suspects_nobody() -> None:
    end = ended(WITHDRAWN)

    assert (end.refused, end.suspect, end.unknown, end.reason) == (True, False, False, None)
    assert end.due_at == NOW + SETTINGS.suspect_wait


def test_the_third_refusal_of_a_grant_while_others_succeed_is_the_last_within_the_hour() -> None:
    assert ended(WITHDRAWN, row=ALONE).due_at == NOW + SETTINGS.suspect_wait
    assert ended(WITHDRAWN, row=ALONE._replace(refusals=2)).due_at == NOW + timedelta(hours=1)
    assert ended(WITHDRAWN, row=ALONE._replace(refusals=9)).due_at == NOW + timedelta(hours=1)


def test_refused_in_another_word_it_begins_anew_for_that_may_have_another_cause() -> None:
    row = ALONE._replace(refusals=9, refused_since=NOW - DAY, refused_code="http_403")

    assert ended(WITHDRAWN, row=row).due_at == NOW + SETTINGS.suspect_wait
    assert decided(WITHDRAWN, row=row).letters == {}


@pytest.mark.parametrize(
    "row",
    [
        ROW._replace(client_refused_since=NOW - MINUTE),
        ROW._replace(client_refused_since=NOW - MINUTE, witness_at=NOW - MINUTE),
        ROW._replace(credentials_proven=False),
        ROW._replace(refusals=5, refused_since=NOW - MINUTE, client_refused_since=NOW - MINUTE),
    ],
)
def test_where_it_may_be_our_fault_a_refused_grant_is_asked_again_soon(row: LockedGrant) -> None:
    assert ended(WITHDRAWN, row=row).due_at <= NOW + timedelta(seconds=5)


def test_an_error_inside_a_success_is_a_refusal_and_a_doubt_for_a_machine_in_between_may_have_written_it() -> None:
    end = ended(Response(200, body=b'{"error":"bad_refresh_token"}'))

    assert (end.refused, end.unknown, end.code, end.http_status) == (True, True, "bad_refresh_token", 200)


def test_at_grace_an_error_inside_a_success_is_repeated_at_once_for_the_grace_runs() -> None:
    row, answer = ROW._replace(rotation="grace", grace=MINUTE), Response(200, body=b'{"error":"timeout"}')

    assert ended(answer, row=row).due_at == NOW
    assert ended(answer, row=row._replace(doubt_since=NOW - SECOND)).due_at > NOW
    again = row._replace(refusals=1, refused_since=NOW - DAY, refused_code="timeout", witness_at=NOW)
    assert ended(answer, row=again).due_at > NOW  # who was refused so before is told the same once more


def test_a_day_of_refusals_in_ever_other_words_while_others_succeed_is_told_as_well_and_asked_hourly() -> None:
    made = decided(WITHDRAWN, row=ALONE._replace(refused_code="http_403", failing_for=DAY, failing_since=NOW - DAY))

    assert made.letters == {GRANT: "gave_up"}
    assert made.ended[0].due_at == NOW + timedelta(hours=1)


def test_a_day_of_being_refused_alone_is_a_letter_with_the_providers_word_and_no_verdict() -> None:
    made = decided(WITHDRAWN, row=ALONE._replace(refusals=25, refused_since=NOW - DAY, failing_for=2 * DAY))

    assert made.letters == {GRANT: "refused"}
    assert (made.ended[0].reason, made.ended[0].code) == (None, "unauthorized_client")
    assert decided(WITHDRAWN, row=ALONE._replace(refused_since=NOW - DAY + MINUTE)).letters == {}


def test_a_success_beside_it_in_the_group_is_a_witness() -> None:
    row, another = ROW._replace(refusals=2, refused_since=NOW - MINUTE, client_refused_since=NOW - MINUTE), uuid4()
    group = [arrived(WITHDRAWN), arrived(TOKENS, job=STARTED._replace(grant_id=another))]
    [known] = read_refusals(group, [read(one, proven=True, vault=VAULT) for one in group], {GRANT: row}).values()

    assert (known.witnessed, known.all_refused) == (True, False)


# ── dead letters ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_grant_that_failed_for_a_day_in_which_others_succeeded_is_given_up_and_asked_hourly() -> None:
    row = ROW._replace(failing_for=DAY, failing_since=NOW - 3 * DAY)
    made = decided(Response(500), row=row)

    assert made.letters == {GRANT: "gave_up"}
    assert made.ended[0].due_at == NOW + timedelta(hours=1)


def test_silence_alone_is_never_death() -> None:
    assert decided(Response(500), row=ROW._replace(failing_since=NOW - 30 * DAY)).letters == {}


def test_after_a_day_of_our_own_wrong_configuration_a_letter_says_so_and_the_grant_stays_active() -> None:
    row = ROW._replace(
        failing_since=NOW - DAY,
        refusals=90,
        refused_since=NOW - DAY,
        refused_code="invalid_client",
        client_refused_since=NOW - DAY,
    )
    made = decided(Response(401, body=b'{"error":"invalid_client"}'), row=row)

    assert made.letters == {GRANT: "our_configuration"}
    assert made.ended[0].reason is None
    assert decided(Response(401), row=ROW._replace(failing_since=NOW - DAY + SECOND)).letters == {}


# ── verdicts ────────────────────────────────────────────────────────────────────────────────────────────────────

SUSPECT = ROW._replace(suspect_at=NOW - 10 * MINUTE)


def test_the_first_refusal_is_no_verdict_whatever_is_known() -> None:
    assert decided(INVALID_GRANT).ended[0].reason is None


def test_a_suspect_that_is_refused_again_needs_consent() -> None:
    made = decided(INVALID_GRANT, row=SUSPECT)

    assert (made.ended[0].reason, made.letters) == ("revoked_or_expired", {GRANT: "revoked_or_expired"})


def test_a_grant_that_was_in_doubt_is_told_as_a_lost_response() -> None:
    assert ended(INVALID_GRANT, row=SUSPECT._replace(doubt_since=NOW - MINUTE)).reason == "response_lost"


WAITS: dict[str, tuple[LockedGrant, Surroundings | None]] = {
    "a journal is not drained": (SUSPECT._replace(doubt_since=NOW, journals_undrained=True), AROUND),
    "former tokens are untried": (SUSPECT._replace(untried_former_tokens=1), AROUND),
    "no witness": (SUSPECT, replace(AROUND, witnessed=False)),
    "a mass": (SUSPECT, replace(AROUND, suspects=6)),
    "nothing is known": (SUSPECT, None),
}


@pytest.mark.parametrize(("row", "around"), WAITS.values(), ids=WAITS)
def test_a_verdict_waits_for_each_of_its_conditions(row: LockedGrant, around: Surroundings | None) -> None:
    made = decided(INVALID_GRANT, row=row, around=around)

    assert (made.ended[0].reason, made.letters) == (None, {})


def test_only_deaths_that_the_mass_guard_holds_are_told_as_held() -> None:
    assert decided(INVALID_GRANT, row=SUSPECT, around=replace(AROUND, suspects=6)).deaths_held == {1: NOW}
    assert decided(INVALID_GRANT, row=SUSPECT, around=replace(AROUND, suspects=6, witnessed=False)).deaths_held == {}


FORMER = STARTED._replace(former_token_id=5)
TRYING = SUSPECT._replace(untried_former_tokens=1)


def test_a_refused_former_token_is_no_verdict_on_the_grant() -> None:
    end = ended(INVALID_GRANT, row=TRYING, job=FORMER)

    assert (end.reason, end.former_token_id) == (None, 5)
    assert ended(INVALID_GRANT, row=SUSPECT, job=FORMER).reason is None


def test_the_next_former_token_is_tried_soon_and_the_present_one_after_the_suspects_wait() -> None:
    more = ended(INVALID_GRANT, row=TRYING._replace(untried_former_tokens=2), job=FORMER)
    last = ended(INVALID_GRANT, row=TRYING, job=FORMER)

    assert more.due_at - NOW <= 15 * SECOND
    assert last.due_at - NOW == 10 * MINUTE


def test_what_a_former_token_is_refused_in_counts_for_one_that_is_to_be_revoked_and_for_no_other() -> None:
    """To be revoked every pair must be dead: its refusals go on, and feed the breaker as those of its own pair do."""
    answer = ENDS["invalid_client"][0]
    assert not ended(answer, row=ROW, job=FORMER).refused
    assert ended(answer, row=ROW._replace(status="revoking"), job=FORMER).refused


@pytest.mark.parametrize("answer", [value[0] for name, value in ENDS.items() if name != "invalid_grant"])
def test_a_former_token_was_only_tried_where_the_provider_decided_about_it(answer: Answer) -> None:
    """Else a failed connection or a 504 would cost the one pair that may still live."""
    assert ended(answer, row=TRYING, job=FORMER).former_token_id is None


# ── token sets ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("generation", [3, 6, 7])
def test_a_token_set_for_the_rows_generation_or_a_later_one_is_stored(generation: int) -> None:
    made = decided(TOKENS, row=ROW._replace(generation=generation))

    assert (len(made.stored), made.surplus, made.ended) == (1, [], [])
    assert made.stored[0].generation == 7


def test_a_token_set_of_a_grant_that_needed_consent_is_its_recovery() -> None:
    made = decided(TOKENS, row=ROW._replace(status="needs_consent", claim_no=99))

    assert (len(made.stored), made.recovered) == (1, [GRANT])
    assert made.letters_to_close == []


def test_a_success_closes_a_letter_that_is_open() -> None:
    assert decided(TOKENS, row=ROW._replace(has_letter=True)).letters_to_close == [GRANT]


def test_a_set_says_whether_former_tokens_are_concerned() -> None:
    sent_former = ROW._replace(former_fingerprints=[SENT])
    crowded = ROW._replace(former_fingerprints=[bytes([number]) for number in range(20)])
    sets = [decided(TOKENS, row=row).stored[0] for row in (ROW, sent_former, crowded)]
    assert [(each.is_former, each.is_crowded) for each in sets] == [(False, False), (True, False), (False, True)]


@pytest.mark.parametrize(
    "row",
    [
        ROW._replace(generation=8, refresh_fingerprint=b"other"),
        ROW._replace(refresh_fingerprint=b"other"),
        ROW._replace(generation=8, refresh_fingerprint=b"other", former_fingerprints=[SENT]),
    ],
    ids=["an older generation", "a stranger's token at the same generation", "a former token of an older generation"],
)
def test_any_other_token_set_is_surplus_and_never_dropped(row: LockedGrant) -> None:
    made = decided(TOKENS, row=row)

    assert (made.stored, len(made.surplus)) == ([], 1)


def test_at_the_same_generation_a_former_token_may_bring_the_next_set() -> None:
    made = decided(TOKENS, row=ROW._replace(refresh_fingerprint=b"other", former_fingerprints=[SENT]))

    assert len(made.stored) == 1


def test_a_pair_that_is_held_already_is_no_surplus() -> None:
    row = ROW._replace(generation=8, refresh_fingerprint=VAULT.fingerprint("new rt"))

    assert decided(TOKENS, row=row) == Decisions()


@pytest.mark.parametrize("status", ["revoking", "revoked"])
@pytest.mark.parametrize("generation", [7, 8])
def test_a_token_set_for_a_grant_that_must_end_opens_its_revocation_again(status: str, generation: int) -> None:
    row = ROW._replace(status=status, generation=generation)

    assert decided(TOKENS, row=row).reopened == [GRANT]


@pytest.mark.parametrize(("scope", "told"), [("b a", False), ("a,b", False), ("a", True), ("a b c", True)])
def test_a_changed_scope_is_told_and_a_reordered_one_is_not(scope: str, told: bool) -> None:
    made = decided(Response(200, body=json.dumps({"access_token": "at", "scope": scope}).encode()))

    assert made.stored[0].scope == scope
    assert (GRANT in made.scope_changes) is told


def test_without_a_new_refresh_token_the_old_one_stays() -> None:
    [stored] = decided(Response(200, body=b'{"access_token":"at"}')).stored

    assert (stored.sealed_refresh_token, stored.refresh_fingerprint) == (None, None)


def test_the_life_counts_from_the_start_of_the_request() -> None:
    [stored] = decided(Response(200, body=b'{"access_token":"at","expires_in":7200}')).stored

    assert (stored.life, stored.started_at) == (timedelta(hours=2), STARTED.started_at)
    assert timedelta(minutes=67.9) < stored.due_at - STARTED.started_at < timedelta(minutes=92.1)


def test_a_grant_on_demand_rests_for_days() -> None:
    [stored] = decided(TOKENS, row=ROW._replace(keep="on-demand"), idle_refresh_days=30).stored

    assert timedelta(days=26.9) < stored.due_at - NOW < timedelta(days=33.1)


def test_what_is_decided_shows_no_token() -> None:
    made = decided(TOKENS)

    assert "new rt" not in repr(made)
    assert "new at" not in repr(made)


def test_an_answer_for_a_row_that_is_gone_changes_nothing() -> None:
    one = arrived(TOKENS)
    decider = Decider(VAULT, SETTINGS, {}, {}, {})
    decider.decide(one, read(one, proven=True, vault=VAULT))

    assert decider.made == Decisions()
