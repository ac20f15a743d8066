"""Why is a grant as it is? Every cause alone, every pair of causes, and nobody is left without an answer."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from tasks.policy.explanation.cause import Explanation
from tasks.policy.explanation.facts import (
    Act,
    Client,
    Database,
    Facts,
    Grant,
    Journal,
    Letter,
    Process,
    Revocation,
)
from tasks.policy.explanation.order import CHECKS, OBSTACLES, RESTS, explain

AT = datetime(2026, 3, 1, 14, 2, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

BEAT = Process("beat", "box", 11, alive=True, seen_at=AT, environment="production", refresh_key_ids=())
WORKER = Process(
    "worker",
    "box",
    12,
    alive=True,
    seen_at=AT,
    environment="production",
    refresh_key_ids=("r1",),
    access_key_ids=("a1",),
    consumed_at=AT - timedelta(seconds=30),
)
WELL = Facts(
    at=AT,
    grant=Grant(
        ref="customer-42",
        status="active",
        due_at=AT + HOUR,
        created_at=AT - DAY,
        refreshed_at=AT - MINUTE,
        access_expires_at=AT + 2 * HOUR,
        life=2 * HOUR,
        refresh_key_id="r1",
        access_key_id="a1",
        asked_at=AT - MINUTE,
    ),
    client=Client(name="temple", secret_key_id="r1", next_slot_at=AT - MINUTE),
    database=Database(environment="production", asked_as="production"),
    processes=(BEAT, WORKER),
)
JOURNAL = Journal(7, "box-2", AT - HOUR, alive=False)
ENDING = Revocation(3, "queued", Act(AT - MINUTE, "shop"), due_at=AT + MINUTE)
Change = Callable[[Facts], Facts]


def grant(**members: Any) -> Change:
    return lambda now: replace(now, grant=replace(now.grant, **members))


def client(**members: Any) -> Change:
    return lambda now: replace(now, client=replace(now.client, **members))


def database(**members: Any) -> Change:
    return lambda now: replace(now, database=replace(now.database, **members))


def processes(kind: str, **members: Any) -> Change:
    """Change every process of a kind."""
    return lambda now: replace(
        now, processes=tuple(replace(each, **members) if each.kind == kind else each for each in now.processes)
    )


def both(*changes: Change) -> Change:
    def changed(now: Facts) -> Facts:
        for change in changes:
            now = change(now)
        return now

    return changed


def with_(**members: Any) -> Change:
    return lambda now: replace(now, **members)


def second_worker(now: Facts) -> Facts:
    first = next(each for each in now.processes if each.kind == "worker")
    return replace(now, processes=(*now.processes, replace(first, pid=13, refresh_key_ids=("r0",))))


FAILED = {"failures": 3, "failing_since": AT - HOUR, "last_error_at": AT - MINUTE}
TIMED_OUT = {"last_error_code": "timeout", "last_error_at": AT - MINUTE}
CLAIMED = grant(claimed_at=AT - 10 * timedelta(seconds=1), due_at=AT + 20 * timedelta(seconds=1))

# Each cause, and what makes it hold where all else is well.
MADE: dict[str, Change] = {
    "grant_is_revoked": both(grant(status="revoked"), with_(revocation=replace(ENDING, status="done", done_at=AT))),
    "environment_is_another": database(asked_as="staging"),
    "database_takes_no_write": database(unwritable="the database commits nothing (no answer within 5 s)"),
    "database_is_unfit": database(state="copied"),
    "consent_is_needed": grant(status="needs_consent", reason="revoked_or_expired"),
    "grant_is_handed_over": grant(status="paused", reason="handed_over", paused=Act(AT - HOUR, "maria")),
    "grant_is_paused": grant(status="paused", paused=Act(AT - HOUR, "maria")),
    "revocation_has_failed": both(grant(status="revoking"), with_(revocation=replace(ENDING, status="dead"))),
    "client_is_paused": client(paused=Act(AT - HOUR, "maria")),
    "grant_is_being_revoked": both(grant(status="revoking"), with_(revocation=ENDING)),
    "disk_is_full": with_(full_disk="the disk is full: 0 MiB are left (for /home, on the file system of /)"),
    "no_beat_is_alive": processes("beat", alive=False, seen_at=AT - HOUR),
    "no_worker_is_alive": processes("worker", alive=False, seen_at=AT - HOUR),
    "processes_are_foreign": processes("worker", environment="staging"),
    "processes_cannot_work": processes("beat", fault="the broker does not answer"),
    "key_is_missing": processes("worker", refresh_key_ids=("r0",)),
    "provider_file_is_unusable": client(file_fault="temple.toml: token_url is missing"),
    "refresh_token_is_missing": grant(has_refresh_token=False),
    "workers_are_deaf": CLAIMED,
    "credentials_are_refused": grant(**FAILED, last_error_code="invalid_client", last_error_http_status=401),
    "nothing_has_succeeded_yet": grant(**FAILED, last_error_code="invalid_grant_unproven", last_error_http_status=400),
    "valve_is_shut": client(shut_until=AT + MINUTE, shut_since=AT - MINUTE, shut_for="http_503"),
    "verdicts_are_held": both(
        grant(suspect_at=AT - HOUR, last_error_code="invalid_grant"), client(deaths_held_at=AT - HOUR)
    ),
    "a_journal_is_awaited": both(
        client(rotation="family"),
        grant(doubt_since=AT - HOUR, access_expires_at=AT - MINUTE),
        with_(journals=(JOURNAL,)),
    ),
    "answer_was_lost": grant(doubt_since=AT - MINUTE, **TIMED_OUT),
    "grant_is_suspect": grant(suspect_at=AT - MINUTE, last_error_code="invalid_grant"),
    "guard_holds_it": both(client(rotation="family"), grant(doubt_since=AT - HOUR, **TIMED_OUT)),
    "grant_is_refused_alone": grant(**FAILED, failed_alone=True, last_error_code="temple_says_no"),
    "grant_is_failing": grant(**FAILED, last_error_code="http_404", last_error_http_status=404),
    "grant_is_throttled": grant(attempts=1, last_error_code="http_429", last_error_at=AT - MINUTE),
    "grant_was_renewed_too_lately": both(
        client(grant_interval=5 * MINUTE), grant(access_expires_at=AT + timedelta(seconds=1))
    ),
    "open_transaction_holds_it": both(
        grant(due_at=AT - MINUTE), database(holder="process 7, psql of maria, …", holder_remedy="it must commit")
    ),
    "rate_is_used_up": both(
        grant(due_at=AT - MINUTE),
        client(rate_per_minute=60.0, interval=timedelta(seconds=1), next_slot_at=AT + MINUTE, ahead=9),
    ),
    "some_workers_lack_a_key": second_worker,
    "secret_was_refused": client(secret_refused_at=AT - HOUR, secret_refused_code="invalid_client"),
    "client_is_slowed": client(slowed_to=30.0, slowed_code="slow_down"),
    "confirmations_fail": both(
        client(unconfirmed_since=AT - HOUR, unconfirmed_code="connect_refused"), grant(formers=3)
    ),
    "revocation_is_held": with_(held=Act(AT - HOUR, "shop")),
    "grant_ends_soon": grant(ends_soon_at=AT + DAY, consent_expires_at=AT + DAY),
}
RESTING: dict[str, Change] = {
    "request_is_under_way": grant(started_at=AT - timedelta(seconds=1), due_at=AT + MINUTE),
    "grant_is_handed_out": grant(claimed_at=AT - timedelta(seconds=1), due_at=AT + MINUTE),
    "grant_is_due": grant(due_at=AT - timedelta(seconds=1)),
    "grant_sleeps": grant(on_demand=True, access_expires_at=AT - DAY),
    "grant_is_well": lambda now: now,
}
ORDER = [check.__name__ for check in OBSTACLES]
BY_NAME = {check.__name__: check for check in CHECKS}

# What cannot hold at the same time, since one thing is said of it: where a grant stands, its last error, its lease …
ENDS = {"grant_is_revoked", "consent_is_needed", "grant_is_handed_over", "grant_is_paused", "revocation_has_failed"}
ENDS |= {"grant_is_being_revoked"}
OF_ACTIVE = {
    *("verdicts_are_held", "grant_is_suspect", "guard_holds_it", "grant_is_refused_alone", "grant_is_failing"),
    *("answer_was_lost", "grant_is_throttled", "grant_was_renewed_too_lately", "rate_is_used_up"),
    "open_transaction_holds_it",
    *("refresh_token_is_missing", "a_journal_is_awaited", "credentials_are_refused"),
    *("nothing_has_succeeded_yet", "confirmations_fail"),
}
LAST_ERROR = OF_ACTIVE - {
    "rate_is_used_up",
    "open_transaction_holds_it",
    "grant_was_renewed_too_lately",
    "refresh_token_is_missing",
    "confirmations_fail",
}
OF_WORKERS = {"no_worker_is_alive", "processes_are_foreign", "key_is_missing", "workers_are_deaf"}
OF_WORKERS |= {"some_workers_lack_a_key"}
EXCLUSIVE = [
    ENDS,
    LAST_ERROR,
    OF_WORKERS,
    {"no_beat_is_alive", "processes_cannot_work"},
    {"grant_was_renewed_too_lately", "guard_holds_it", "a_journal_is_awaited"},
    {"rate_is_used_up", "valve_is_shut"},
    {"rate_is_used_up", "workers_are_deaf"},  # due, or handed out
    {"open_transaction_holds_it", "workers_are_deaf"},
]


def may_both_hold(one: str, other: str) -> bool:
    pair = {one, other}
    if any(pair <= alike for alike in EXCLUSIVE):
        return False
    if "client_is_paused" in pair and pair & {"grant_is_being_revoked", "revocation_has_failed"}:
        return False  # an operator's pause stops everything but revocations
    if "grant_is_revoked" in pair:
        return False  # nothing else matters any more
    return not (pair & ENDS and pair & OF_ACTIVE)


def words(told: Explanation) -> list[str]:
    return [told.cause, *(link.cause for link in told.chain)]


def test_every_cause_is_tried() -> None:
    assert list(MADE) == ORDER
    assert [check.__name__ for check in RESTS] == list(RESTING)


@pytest.mark.parametrize("name", MADE)
def test_each_cause_is_the_headline_where_all_else_is_well(name: str) -> None:
    told = explain(MADE[name](WELL))
    assert told.cause == name
    assert not told.well


@pytest.mark.parametrize("name", RESTING)
def test_where_nothing_is_wrong_it_is_told_what_the_grant_is_about(name: str) -> None:
    told = explain(RESTING[name](WELL))
    assert words(told) == [name]
    assert told.well
    assert told.command is None
    assert told.will_retry_at is not None


@pytest.mark.parametrize(("one", "other"), list(permutations(MADE, 2)), ids=lambda name: name)
def test_of_two_causes_the_outer_one_is_the_headline_and_the_other_one_is_in_the_chain(one: str, other: str) -> None:
    now = both(MADE[one], MADE[other])(WELL)
    told = explain(now)
    held = [name for name in ORDER if BY_NAME[name](now) is not None]
    assert held, "nobody is left without an answer"
    assert told.cause == held[0]
    assert words(told) == (held if told.cause != "grant_is_revoked" else held[:1])
    if may_both_hold(one, other):
        assert {one, other} <= {*held}, (one, other, held)


@pytest.mark.parametrize("name", [*MADE, *RESTING])
def test_what_is_told_is_whole_sentences(name: str) -> None:
    told = explain((MADE | RESTING)[name](WELL))
    for sentence in (told.headline, told.next, told.token):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "None" not in sentence
        assert ".." not in sentence.replace("...", "")


@pytest.mark.parametrize("name", MADE)
def test_what_stops_a_grant_says_what_to_do_and_promises_no_time(name: str) -> None:
    told = explain(MADE[name](WELL))
    if not told.hopeless:
        assert told.will_retry_at is not None
        return
    assert told.command or told.remedy
    if told.cause != "consent_is_needed":
        assert told.will_retry_at is None


@pytest.mark.parametrize("status", ["active", "paused", "needs_consent", "revoking", "revoked"])
def test_every_status_is_explained_whatever_is_missing(status: str) -> None:
    bare = Facts(at=AT, grant=Grant(ref="r", status=status, due_at=AT, created_at=AT), client=Client(name="c"))
    assert explain(bare).headline


# Each in its own words


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (grant(), "Its access token lives until 2026-03-01T16:02:00Z, for 2 h yet."),
        (grant(access_expires_at=AT - HOUR), "Its access token ended 60 min ago."),
        (grant(access_expires_at=None), "It holds no access token."),
        (grant(access_key_id=None), "It holds no access token."),
        (grant(status="needs_consent"), "No token of it is handed out."),
    ],
)
def test_what_there_is_to_hand_out_meanwhile_is_told_whatever_the_cause(change: Change, says: str) -> None:
    assert explain(both(MADE["no_beat_is_alive"], change)(WELL)).token == says


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("ended", "the provider's certificate has ended, by the workers' clocks: the provider must renew it; nothing"),
        ("other_name", "the provider's certificate is made for another name: check the token URL"),
        ("unknown_issuer", "who issued the provider's certificate is not trusted here: where it has a CA of its own"),
        (None, "the provider's certificate has ended, is not trusted here, or is made for another name: check"),
    ],
)
def test_a_certificate_is_told_by_why_it_was_refused(shape: str | None, says: str) -> None:
    fails = grant(failures=3, failing_since=AT - HOUR, last_error_code="tls_certificate", last_error_shape=shape)
    shut = client(shut_until=AT + MINUTE, shut_since=AT - HOUR, shut_for="tls_certificate", shut_shape=shape)
    for told in (explain(fails(WELL)), explain(shut(WELL))):
        assert (told.remedy or "").startswith(says)


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ({"consent_expires_at": AT + DAY}, "Its consent ends at 2026-03-02T14:02:00Z, in 24 h: renewing does not put"),
        (
            {"consent_expires_at": AT + DAY, "refresh_expires_at": AT + DAY},
            "Its refresh token ends at 2026-03-02T14:02:00Z, in 24 h: no renewal has put that off so far.",
        ),
        (
            {"consent_expires_at": AT + 9 * DAY, "refresh_expires_at": AT + DAY},
            "Its refresh token ends at 2026-03-02T14:02:00Z, in 24 h: a renewal would put that off, and none comes.",
        ),
    ],
)
def test_which_end_comes_near_is_told_and_what_a_renewal_does_to_it(ends: dict[str, datetime], says: str) -> None:
    assert explain(grant(ends_soon_at=AT + DAY, **ends)(WELL)).headline.startswith(says)


def test_an_end_that_has_passed_is_told_as_past_and_its_user_is_asked_now() -> None:
    passed = AT - 34 * timedelta(seconds=1)
    told = explain(grant(ends_soon_at=passed, consent_expires_at=passed)(WELL))
    assert told.headline == "Its consent ended at 2026-03-01T14:01:26Z, 34 s ago."
    assert told.remedy == "ask its user to connect again now"
    assert told.command == "evergrant grants connect customer-42 --client temple"
    assert "From" not in told.next
    told = explain(grant(ends_soon_at=passed, refresh_expires_at=passed, consent_expires_at=AT + DAY)(WELL))
    assert told.headline.startswith("Its refresh token ended at")


def test_a_wrong_secret_is_told_with_one_grant_though_nothing_trips() -> None:
    told = explain(MADE["credentials_are_refused"](WELL))
    assert told.headline == "The provider refuses the credentials of temple (invalid_client)."
    assert told.since == AT - HOUR
    assert told.command == "evergrant clients set-secret temple --client-secret-file -"


def test_one_grant_that_is_refused_where_nothing_has_succeeded_yet_tells_of_its_consent_or_of_the_secret() -> None:
    told = explain(MADE["nothing_has_succeeded_yet"](WELL))
    assert told.headline == (
        "The provider refuses this grant (invalid_grant), and nothing of temple has succeeded yet under its present id"
        " and secret, so either its consent is dead, or they are wrong."
    )
    assert "compare id and secret" in (told.remedy or "")
    assert told.command == "evergrant grants connect customer-42 --client temple"


def test_where_all_are_refused_alike_the_secret_is_looked_at_first() -> None:
    told = explain(both(MADE["nothing_has_succeeded_yet"], client(refused_alike=4))(WELL))
    assert "refuses this grant and 4 more of temple (invalid_grant)" in told.headline
    assert told.command == "evergrant clients set-secret temple --client-secret-file -"


def test_a_valve_that_such_a_refusal_shut_is_told_so_of_a_grant_that_is_well_so_far() -> None:
    shut = client(shut_until=AT + MINUTE, shut_since=AT - HOUR, shut_for="gone_unproven")(WELL)
    told = explain(shut)
    assert told.headline.startswith("The provider refuses grants of temple (gone), and nothing of temple has succeeded")
    assert (told.cause, told.since, told.will_retry_at) == ("nothing_has_succeeded_yet", AT - HOUR, AT + MINUTE)


def test_a_wrong_secret_that_shut_the_valve_is_told_of_a_grant_that_is_well_so_far() -> None:
    shut = client(shut_until=AT + MINUTE, shut_since=AT - HOUR, shut_for="invalid_client")(WELL)
    told = explain(shut)
    assert (told.cause, told.since, told.will_retry_at) == ("credentials_are_refused", AT - HOUR, AT + MINUTE)


@pytest.mark.parametrize("code", ["temporarily_unavailable", "slow_down", "http_429", "rate_limited"])
def test_a_valve_that_a_request_to_wait_shut_is_told_so(code: str) -> None:
    told = explain(client(shut_until=AT + MINUTE, shut_since=AT - MINUTE, shut_for=code)(WELL))
    assert told.headline.startswith(f"The provider asked temple to wait ({code})")


@pytest.mark.parametrize("code", ["http_403", "http_404", "secondary_limit"])
def test_a_word_that_shut_the_valve_is_a_refusal_of_everybody_only_where_many_were_refused(code: str) -> None:
    shut = client(shut_until=AT + MINUTE, shut_since=AT - MINUTE, shut_for=code)
    told = explain(shut(WELL))
    assert told.headline.startswith(f"The provider asked temple to wait, or is not well ({code})")
    assert told.remedy is None
    told = explain(both(shut, client(shut_by_refusals=True))(WELL))
    assert told.headline.startswith(f"Everybody of temple is refused ({code})")


def test_who_paused_a_client_is_told_and_since_when() -> None:
    told = explain(MADE["client_is_paused"](WELL))
    assert (told.by_whom, told.since) == ("maria", AT - HOUR)
    assert told.command == "evergrant clients resume temple"


def test_a_503_is_told_as_the_providers_word_with_the_time_of_the_next_try() -> None:
    told = explain(both(MADE["valve_is_shut"], grant(**FAILED, last_error_code="http_503"))(WELL))
    assert told.headline.startswith("The provider says that it is not available (http_503)")
    assert told.will_retry_at == AT + MINUTE
    assert [link.cause for link in told.chain] == ["grant_is_failing"]


def test_a_journal_that_is_damaged_is_told_before_one_that_is_merely_silent() -> None:
    damaged = Journal(9, "box-3", AT, alive=True, damage="segment 4 is cut")
    told = explain(both(MADE["a_journal_is_awaited"], with_(journals=(JOURNAL, damaged)))(WELL))
    assert "journal 9 of box-3, which is damaged (segment 4 is cut)" in told.headline
    assert told.command == "evergrant journals abandon 9"


def test_where_a_repeat_harms_nothing_no_journal_is_waited_for() -> None:
    told = explain(both(MADE["answer_was_lost"], with_(journals=(JOURNAL,)))(WELL))
    assert told.cause == "answer_was_lost"


def test_an_attempt_that_nobody_ended_is_a_lost_answer_once_its_lease_is_over() -> None:
    left = grant(started_at=AT - HOUR, due_at=AT - timedelta(seconds=1))(WELL)
    assert explain(left).cause == "answer_was_lost"


def test_a_worker_of_an_older_release_that_says_nothing_of_its_keys_is_not_blamed() -> None:
    told = explain(processes("worker", refresh_key_ids=None, environment=None)(WELL))
    assert told.cause == "grant_is_well"


def test_the_key_that_is_missing_is_named_with_the_workers_that_lack_it() -> None:
    told = explain(MADE["key_is_missing"](WELL))
    assert told.headline == "No worker holds the key r1, which its client's secret is sealed with, so nothing is sent."
    assert "worker 12 on box" in (told.remedy or "")
    assert "the file that EVERGRANT_REFRESH_TOKEN_KEYS_FILE names" in (told.remedy or "")


def test_a_claim_that_was_made_anew_just_now_tells_of_deaf_workers_where_no_periodic_work_is_done_either() -> None:
    anew = both(
        grant(claimed_at=AT - timedelta(seconds=1), due_at=AT + MINUTE), processes("worker", consumed_at=AT - MINUTE)
    )
    assert explain(both(anew, with_(worked_at=AT - timedelta(seconds=20)))(WELL)).cause == "grant_is_handed_out"
    told = explain(both(anew, with_(worked_at=AT - timedelta(seconds=31)))(WELL))
    assert (told.cause, told.since) == ("workers_are_deaf", AT - MINUTE)  # and not since the claim


def test_what_was_claimed_since_the_workers_last_said_that_they_live_tells_nothing_of_them() -> None:
    since = processes("worker", seen_at=AT - timedelta(seconds=8))  # and the claim is ten seconds old
    assert explain(both(CLAIMED, since)(WELL)).cause == "grant_is_handed_out"


def test_a_worker_that_says_why_it_takes_nothing_is_not_called_deaf() -> None:
    told = explain(both(CLAIMED, processes("worker", fault="the journal in /j cannot be written: full"))(WELL))
    assert "workers_are_deaf" not in words(told)


def test_a_worker_that_is_only_busy_is_not_deaf() -> None:
    busy = both(CLAIMED, processes("worker", consumed_at=AT - timedelta(seconds=1)))(WELL)
    assert explain(busy).cause == "grant_is_handed_out"


def test_the_turn_of_a_grant_that_waits_for_the_rate_is_reckoned() -> None:
    told = explain(MADE["rate_is_used_up"](WELL))
    assert told.will_retry_at == AT + MINUTE + 9 * timedelta(seconds=1)
    assert "60 requests a minute, and 9 grants of it are due for longer" in told.headline


WAITING = both(
    grant(status="revoking", formers=19),
    with_(revocation=replace(ENDING, due_at=AT - MINUTE, own_is_dead=True)),
    client(rate_per_minute=30.0, next_slot_at=AT + timedelta(seconds=2)),
)


def test_a_revocation_that_waits_for_its_turn_says_for_what_and_what_of_it_is_left() -> None:
    assert explain(WAITING(WELL)).next == (
        "It waits for its turn: temple may send 30 requests a minute, of which revocations have one in four while"
        " refreshes are due; its own is dead, 19 former token sets may live."
    )


@pytest.mark.parametrize(
    "changed",
    [
        client(rate_per_minute=None),
        client(next_slot_at=AT - MINUTE),
        client(shut_until=AT + MINUTE),
        grant(started_at=AT - MINUTE, due_at=AT + MINUTE),
        with_(revocation=ENDING),
    ],
    ids=["no rate", "a slot is left", "the valve is shut", "it is under way", "it is not due"],
)
def test_a_revocation_that_waits_for_something_else_says_nothing_of_turns(changed: Change) -> None:
    assert explain(both(WAITING, changed)(WELL)).next == "A worker ends it at the provider."


@pytest.mark.parametrize("rotation", ["grace", "immediate", "family"])
def test_of_a_suspect_the_answer_that_was_lost_before_stands_first_and_bears_no_later_code(rotation: str) -> None:
    refused = {"last_error_code": "invalid_grant", "last_error_http_status": 400, "last_error_at": AT}
    change = grant(doubt_since=AT - HOUR, doubt_repeated=True, suspect_at=AT, access_expires_at=AT - DAY, **refused)
    told = explain(both(client(rotation=rotation), change)(WELL))
    assert words(told)[:2] == ["answer_was_lost", "grant_is_suspect"]
    assert told.headline.startswith(
        "A refresh before the last one, of 2026-03-01T13:02:00Z, brought no answer of use; if"
    )
    assert "invalid_grant" not in told.headline
    assert "(invalid_grant, HTTP 400)" in told.chain[0].told


def test_where_a_refresh_token_outlives_its_use_a_refusal_comes_of_no_lost_answer() -> None:
    change = grant(doubt_since=AT - HOUR, doubt_repeated=True, suspect_at=AT, last_error_code="invalid_grant")
    assert words(explain(both(client(rotation="on_use"), change)(WELL))) == ["grant_is_suspect"]


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("reset", None, "The answer to its last refresh was lost (reset), so whether"),
        ("http_503", 503, "Its last refresh was answered without a token set (http_503, HTTP 503), so whether"),
    ],
)
def test_an_answer_that_came_is_not_told_as_lost(code: str, status: int | None, says: str) -> None:
    ended = {"last_error_code": code, "last_error_http_status": status, "last_error_at": AT}
    told = explain(grant(doubt_since=AT - MINUTE, **ended)(WELL))
    assert told.headline.startswith(says)
    told = explain(grant(doubt_since=AT, **(ended | {"last_error_at": AT - MINUTE}))(WELL))
    assert told.headline.startswith("The answer to its refresh of 2026-03-01T14:02:00Z was lost, so whether")


def test_a_suspect_without_a_witness_is_told_until_when_nobody_judges() -> None:
    alone = explain(MADE["grant_is_suspect"](WELL)).next
    assert "2026-03-01T16:02:00Z" in alone  # the end of its access token
    seen = explain(both(MADE["grant_is_suspect"], client(witness_at=AT))(WELL)).next
    assert seen.endswith("if it is refused again, its user must consent again.")


def test_a_dead_grant_that_is_looked_at_once_more_says_when() -> None:
    letter = Letter(4, "revoked_or_expired", AT - HOUR, look_at=AT + HOUR)
    told = explain(both(MADE["consent_is_needed"], with_(letter=letter))(WELL))
    assert (told.since, told.will_retry_at) == (AT - HOUR, AT + HOUR)
    assert told.command == "evergrant grants connect customer-42 --client temple"


@pytest.mark.parametrize(
    "cause", ["consent_is_needed", "grant_ends_soon", "grant_is_refused_alone", "refresh_token_is_missing"]
)
def test_where_customers_are_led_in_their_browser_the_way_back_is_a_link(cause: str) -> None:
    by_link = both(MADE[cause], database(leads_customers=True))(WELL)
    assert explain(by_link).command == "evergrant grants reconnect-link customer-42 --client temple"
    without = both(MADE[cause], database(leads_customers=True), client(has_user=False))(WELL)
    assert explain(without).command == "evergrant grants connect customer-42 --client temple"


@pytest.mark.parametrize(("state", "word"), [("standby", "replica"), ("rewound", "lack commits"), ("copied", "copy")])
def test_a_database_that_sends_nothing_says_which_it_is(state: str, word: str) -> None:
    told = explain(database(state=state, awaited=(JOURNAL,))(WELL))
    assert word in told.headline
    assert told.hopeless


def test_a_copy_names_both_databases_and_puts_no_adoption_into_the_shell() -> None:
    told = explain(database(state="copied", name="copy1", adopted_name="evergrant")(WELL))
    assert told.remedy is not None
    assert told.remedy.startswith(
        "point EVERGRANT_DATABASE_URL at the right one (adopted: evergrant, this: copy1); only"
    )
    assert told.command is None
    told = explain(database(state="copied", name="evergrant", adopted_name="evergrant")(WELL))
    assert "this: evergrant, on another server or in another folder); only if" in (told.remedy or "")


def test_a_ref_that_a_shell_would_misread_is_quoted_in_the_command() -> None:
    told = explain(both(MADE["grant_is_paused"], grant(ref="a b; rm"))(WELL))
    assert told.command == "evergrant grants resume 'a b; rm' --client temple"


@pytest.mark.parametrize("kind", ["beat", "worker"])
def test_one_that_was_heard_of_may_hang_and_it_is_said_who_names_it(kind: str) -> None:
    heard_of = explain(processes(kind, alive=False, seen_at=AT - MINUTE)(WELL)).remedy or ""
    never = explain(processes(kind, alive=False, seen_at=None)(WELL)).remedy or ""
    assert heard_of == f"{never}; `evergrant status` names one that hangs"
