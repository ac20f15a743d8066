"""`evergrant explain`, and the same words wherever a grant is shown or waited for."""

import time
from typing import Any

import pytest

import settings
from tests.integration.cli.evergrant import ALIVE, Evergrant, use_actor


@pytest.fixture
def living(staffed: Evergrant) -> Evergrant:
    """`temple` with the grant `a`; a beat and a worker that live and hold its keys."""
    staffed.take_in("a")
    return staffed


def explained(evergrant: Evergrant, *words: str) -> dict[str, Any]:
    done = evergrant("explain", "a", "--json", *words)
    assert done.code == 0, done.err
    return done.json


def test_a_grant_that_is_well_says_until_when_and_what_comes_next(living: Evergrant) -> None:
    told = explained(living)
    assert (told["cause"], told["well"], told["chain"], told["command"]) == ("grant_is_well", True, [], None)
    assert (told["ref"], told["client"], told["status"]) == ("a", "temple", "active")
    shown = living("explain", "a").out
    assert "a of temple: active, generation 1" in shown
    assert "It is well: its access token lives until" in shown


def test_a_paused_client_is_told_with_who_did_it_since_when_and_the_command_that_mends_it(living: Evergrant) -> None:
    use_actor("maria")
    living("clients", "pause", "temple")
    told = explained(living)
    assert (told["cause"], told["by_whom"]) == ("client_is_paused", "maria")
    assert told["since"]
    assert told["will_retry_at"] is None
    program, *words = told["command"].split()
    assert program == "evergrant"
    assert living(*words).code == 0
    assert explained(living)["cause"] == "grant_is_well"


def test_a_copy_points_at_the_right_database_wherever_people_look(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.installation set database_name = 'theirs'")
    ((here,),) = sql("select current_database()")
    says = f"point EVERGRANT_DATABASE_URL at the right one (adopted: theirs, this: {here}); only if"
    told = explained(living)
    assert (told["cause"], told["command"]) == ("database_is_unfit", None)
    assert told["remedy"].startswith(says)
    assert says in living("grants", "token", "a", "--min-ttl", "1d", "--timeout", "0.1s").err
    status = living("status", "--json").json
    assert (status["database"], status["database_name"], status["database_name_adopted"]) == ("copied", here, "theirs")
    assert [each["next"].startswith(says) for each in status["attention"]] == [True]
    assert [each["next"].startswith(says) for each in living("db", "check", "--json").lines] == [True]
    doctor = [
        each for each in living("doctor", "--json").lines if "copy" in each["finding"] or each["check"] == "adopted"
    ]
    assert [each["next"].startswith(says) for each in doctor] == [True, True]


def test_the_same_sentence_stands_in_grants_show_and_its_next_step_is_no_dash(living: Evergrant) -> None:
    living("clients", "pause", "temple")
    shown = living("grants", "show", "a", "--json").json
    assert shown["status"] == "active"
    assert shown["explanation"]["cause"] == "client_is_paused"
    assert shown["next"] == "evergrant clients resume temple"
    text = living("grants", "show", "a").out
    assert "Its client temple is paused" in text


def test_whoever_wants_a_token_of_a_paused_client_is_told_at_once_and_not_after_half_a_minute(
    living: Evergrant, sql: Any
) -> None:
    living("clients", "pause", "temple")
    sql("update evergrant.grants set access_expires_at = clock_timestamp() - interval '1 hour'")
    begun = time.monotonic()
    done = living("grants", "token", "a", "--json")
    assert time.monotonic() - begun < 20
    assert (done.code, done.error) == (75, "not_fresh_yet")
    assert "Its client temple is paused" in done.err
    assert "evergrant clients resume temple" in done.err
    refreshed = living("grants", "refresh", "a", "--wait")
    assert (refreshed.code, "evergrant clients resume temple" in refreshed.err) == (75, True)


def test_whoever_waits_is_told_for_what_before_the_time_is_over(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set access_expires_at = clock_timestamp() - interval '1 hour'")
    sql("delete from evergrant.processes where kind = 'worker'")
    done = living("grants", "token", "a", "--timeout", "1s")
    waits, failed = done.err.splitlines()
    assert waits.startswith("a waits: No worker is alive")
    assert waits.endswith("start it, or `evergrant up`, which starts all: `evergrant worker`")
    assert "No fresh token of a came within 1 s: No worker is alive" in failed
    assert done.code == 75


def test_a_program_that_waits_reads_one_object_and_no_more(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set access_expires_at = clock_timestamp() - interval '1 hour'")
    sql("delete from evergrant.processes")
    done = living("grants", "token", "a", "--timeout", "1s", "--json")
    assert len(done.err.splitlines()) == 1
    assert done.error == "not_fresh_yet"


def test_a_wrong_secret_is_told_with_one_grant_and_its_command_works(living: Evergrant, sql: Any) -> None:
    sql(
        """update evergrant.grants set failures = 1, failing_since = clock_timestamp(), refusals = 1,
        refused_since = clock_timestamp(), refused_code = 'invalid_client', last_error_code = 'invalid_client',
        last_error_http_status = 401, last_error_at = clock_timestamp(), due_at = clock_timestamp() + interval '5s'"""
    )
    sql(
        """insert into evergrant.witnesses (client_id, refused_since, refused_code, refused_grant_ids,
            witness_grant_ids)
        select client_id, clock_timestamp(), 'invalid_client', array[id], '{}' from evergrant.grants"""
    )
    told = explained(living)
    assert told["cause"] == "credentials_are_refused"
    assert "(invalid_client)" in told["headline"]
    program, *words = told["command"].split()
    assert program == "evergrant"
    assert living(*words, stdin="another\n").code == 0


def test_a_key_that_no_worker_holds_is_named(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.processes set refresh_key_ids = '{r0}' where kind = 'worker'")
    told = explained(living)
    assert told["cause"] == "key_is_missing"
    assert "No worker holds the key r1" in told["headline"]
    sql(ALIVE, kind="worker", pid=9, environment=None, keys=["r1", "a1"])
    assert explained(living)["cause"] == "some_workers_lack_a_key"
    assert living("keys", "list").code == 0


def test_a_shell_of_another_environment_is_told_so_and_how_to_be_of_the_right_one(living: Evergrant) -> None:
    here = settings.current()
    settings.adopt(here.model_copy(update={"environment": "elsewhere"}))
    told = explained(living)
    assert told["cause"] == "environment_is_another"
    assert told["command"] == f"export EVERGRANT_ENVIRONMENT={here.environment}"
    settings.adopt(here)
    assert explained(living)["cause"] == "grant_is_well"


def test_workers_of_another_environment_are_told_of(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.processes set environment = 'elsewhere' where kind = 'worker'")
    told = explained(living)
    assert told["cause"] == "processes_are_foreign"
    assert "elsewhere" in told["headline"]


def test_a_damaged_journal_that_a_grant_waits_for_is_told_by_the_grant_itself(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.clients set rotation = 'family'")
    ((journal,),) = sql(
        """insert into evergrant.journals (host, process, damaged_at, damage, seen_at)
        values ('box-2', '7', clock_timestamp(), 'segment 3 is cut', clock_timestamp() - interval '1 hour')
        returning id"""
    )
    sql(
        """update evergrant.grants set doubt_since = clock_timestamp() - interval '1 hour',
        access_expires_at = clock_timestamp(), doubt_journals = array[cast(:id as bigint)]""",
        id=journal,
    )
    told = explained(living)
    assert told["cause"] == "a_journal_is_awaited"
    assert f"journal {journal} of box-2, which is damaged (segment 3 is cut)" in told["headline"]
    assert told["command"] == f"evergrant journals abandon {journal}"


def test_every_status_is_explained(living: Evergrant, sql: Any) -> None:
    living("grants", "pause", "a")
    assert explained(living)["cause"] == "grant_is_paused"
    sql("update evergrant.grants set reason = 'handed_over'")
    assert explained(living)["cause"] == "grant_is_handed_over"
    sql("update evergrant.grants set status = 'needs_consent', reason = 'response_lost'")
    assert explained(living)["cause"] == "consent_is_needed"
    use_actor("shop")
    living("grants", "revoke", "a", "--yes")
    told = explained(living)
    assert (told["cause"], told["by_whom"]) == ("grant_is_being_revoked", "shop")
    sql("update evergrant.valves set next_slot_at = clock_timestamp() + interval '1 minute'")
    assert explained(living)["next"].startswith("It waits for its turn: temple may send 100 requests a minute")
    sql("update evergrant.revocations set status = 'dead'")
    assert explained(living)["cause"] == "revocation_has_failed"
    sql("update evergrant.grants set status = 'revoked'")
    assert explained(living)["cause"] == "grant_is_revoked"


def test_what_sleeps_on_demand_is_no_trouble(living: Evergrant, sql: Any) -> None:
    sql(
        """update evergrant.grants set keep = 'on-demand', access_expires_at = clock_timestamp() - interval '1 day',
        due_at = clock_timestamp() + interval '1 day'"""
    )
    told = explained(living)
    assert (told["cause"], told["well"]) == ("grant_sleeps", True)


def test_a_grant_that_waits_for_the_rate_is_told_when_its_turn_comes(living: Evergrant, sql: Any) -> None:
    living.take_in("b", "c")
    sql("update evergrant.grants set due_at = clock_timestamp() - interval '2 minutes' where ref <> 'a'")
    sql("update evergrant.grants set due_at = clock_timestamp() - interval '1 minute' where ref = 'a'")
    told = explained(living)
    assert told["cause"] == "rate_is_used_up"
    assert "100 requests a minute, and 2 grants of it are due for longer" in told["headline"]


def test_a_provider_file_that_is_gone_is_told(living: Evergrant, sql: Any) -> None:
    sql("update evergrant.clients set provider = 'gone'")
    assert explained(living)["cause"] == "provider_file_is_unusable"


def test_a_ref_that_nobody_knows_is_not_found(living: Evergrant) -> None:
    done = living("explain", "nobody", "--json")
    assert (done.code, done.error) == (4, "unknown_ref")
