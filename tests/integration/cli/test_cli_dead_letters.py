"""`evergrant dead-letters`, `journals` and `status`."""

from typing import Any

import pytest

from tests.integration.cli.evergrant import Evergrant

LETTER = """
    insert into evergrant.dead_letters (kind, client_id, grant_id, ref, generation, cause, detail, attempts,
        first_failed_at, dead_at)
    select 'refresh', client_id, id, ref, generation, :cause, 'http_504', 7, clock_timestamp(), clock_timestamp()
    from evergrant.grants where ref = :ref returning id"""


@pytest.fixture
def letters(temple: Evergrant, sql: Any) -> Evergrant:
    """Letters 1 (`lost` needs consent) and 2 (`slow` gave up, and is active)."""
    temple.take_in("lost", "slow", "well")
    sql("update evergrant.grants set status = 'needs_consent', reason = 'response_lost' where ref = 'lost'")
    sql(LETTER, ref="lost", cause="response_lost")
    sql(LETTER, ref="slow", cause="gave_up")
    sql("update evergrant.grants set due_at = clock_timestamp() + interval '1 hour'")
    return temple


def test_letters_are_listed_and_shown_with_what_to_do(letters: Evergrant) -> None:
    listed = letters("dead-letters", "list", "--json").lines
    promised = "id kind ref client cause detail attempts first_failed_at dead_at resolved_at resolution rule"
    promised += " looks look_at"
    assert list(listed[0]) == promised.split()
    assert [each["ref"] for each in listed] == ["lost", "slow"]
    assert [each["ref"] for each in letters("dead-letters", "list", "--cause", "gave_up", "--json").lines] == ["slow"]
    assert (
        letters("dead-letters", "show", "1", "--json").json["next"] == "evergrant grants connect lost --client temple"
    )
    assert letters("dead-letters", "show", "2", "--json").json["next"] == "evergrant dead-letters redrive 2"
    missing = letters("dead-letters", "show", "9", "--json")
    assert (missing.code, missing.error) == (4, "unknown_dead_letter")


def test_a_redriven_grant_is_active_and_asked_now_under_a_new_claim_number(letters: Evergrant, sql: Any) -> None:
    before = dict(sql("select ref, claim_no from evergrant.grants"))
    assert letters("dead-letters", "redrive", "1", "2").code == 0
    rows = sql("select ref, status, reason, claim_no, due_at <= clock_timestamp() from evergrant.grants order by ref")
    assert rows == [
        ("lost", "active", None, before["lost"] + 1, True),
        ("slow", "active", None, before["slow"] + 1, True),
        ("well", "active", None, before["well"], False),
    ]
    assert letters("dead-letters", "list").err == "No dead letter is open.\n"
    closed = letters("dead-letters", "list", "--all", "--json").lines
    assert {each["resolution"] for each in closed} == {"redriven"}


def test_a_letter_is_redriven_only_at_its_own_generation(letters: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set generation = 2 where ref = 'lost'")
    done = letters("dead-letters", "redrive", "1", "--json")
    assert (done.code, done.error) == (1, "not_redriven")
    assert "newer token set" in done.lines[0]["reason"]
    assert sql("select status from evergrant.grants where ref = 'lost'") == [("needs_consent",)]


def test_a_grant_whose_tokens_were_shredded_is_not_redriven(letters: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set sealed_refresh_token = null where ref = 'lost'")
    done = letters("dead-letters", "redrive", "1")
    assert done.code == 1
    assert "its tokens were shredded, so only its user can give them again." in done.out
    assert sql("select status from evergrant.grants where ref = 'lost'") == [("needs_consent",)]
    assert sql("select count(*) from evergrant.dead_letters where resolved_at is null") == [(2,)]


def test_a_grant_under_way_is_not_redriven(letters: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set started_at = clock_timestamp() where ref = 'slow'")
    assert "under way" in letters("dead-letters", "redrive", "2").out


def test_a_dead_revocation_is_queued_again(letters: Evergrant, sql: Any) -> None:
    letters("grants", "revoke", "well", "--yes")
    sql("update evergrant.revocations set status = 'dead'")
    sql(LETTER.replace("'refresh'", "'revoke'"), ref="well", cause="gave_up")
    sql(
        "update evergrant.dead_letters set revocation_id = (select id from evergrant.revocations) where kind = 'revoke'"
    )
    assert letters("dead-letters", "redrive", "3").code == 0
    assert sql("select status, due_at <= clock_timestamp() from evergrant.revocations") == [("queued", True)]


def test_all_that_match_are_redriven_only_when_told(letters: Evergrant, sql: Any) -> None:
    assert letters("dead-letters", "redrive", "--json").error == "usage"
    assert letters("dead-letters", "redrive", "1", "--all", "--json").error == "usage"
    dry = letters("dead-letters", "redrive", "--all", "--cause", "gave_up", "--dry-run", "--json")
    assert [each["id"] for each in dry.lines] == [2]
    assert letters("dead-letters", "redrive", "--all", "--json").error == "needs_yes"
    assert sql("select count(*) from evergrant.dead_letters where resolved_at is null") == [(2,)]
    assert letters("dead-letters", "redrive", "--all", "--cause", "gave_up", "--yes").code == 0
    assert sql("select ref from evergrant.dead_letters where resolved_at is null") == [("lost",)]


def test_where_no_letter_matches_that_is_said(temple: Evergrant) -> None:
    done = temple("dead-letters", "redrive", "--all", "--yes")
    assert (done.code, done.out, done.err.strip()) == (0, "", "No dead letter matches.")


def test_a_discarded_letter_changes_nothing_else(letters: Evergrant, sql: Any) -> None:
    before = sql("select * from evergrant.grants order by ref")
    assert letters("dead-letters", "discard", "1", "--json").error == "needs_yes"
    assert letters("dead-letters", "discard", "1", "--yes", "--json").json == {"id": 1, "discarded": True}
    assert letters("dead-letters", "discard", "1", "--yes", "--json").error == "unknown_dead_letter"
    assert sql("select * from evergrant.grants order by ref") == before


def test_journals_are_listed_with_what_waits_for_them(letters: Evergrant, sql: Any) -> None:
    assert "drained" in letters("journals", "list").err
    ((journal,),) = sql("insert into evergrant.journals (host, process) values ('box', '7') returning id")
    sql(
        "update evergrant.grants set doubt_since = clock_timestamp(), doubt_journals = array[:id] where ref = 'slow'",
        id=journal,
    )
    (listed,) = letters("journals", "list", "--json").lines
    assert (listed["host"], listed["state"], listed["grants_waiting"]) == ("box", "open", 1)
    sql("update evergrant.journals set drained_at = clock_timestamp()")
    assert letters("journals", "list", "--json").lines == []
    assert letters("journals", "list", "--all", "--json").lines[0]["state"] == "drained"


def test_status_counts_the_fleet_and_says_what_needs_a_human(letters: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set due_at = clock_timestamp() - interval '90 s', failures = 1 where ref = 'slow'")
    letters("grants", "revoke", "well", "--yes")
    letters("clients", "pause", "temple")
    found = letters("status", "--json").json
    assert found["grants"] == {"active": 1, "paused": 0, "needs_consent": 1, "revoking": 1, "revoked": 0}
    assert (found["due"], found["failing"], found["dead_letters"]) == (1, 1, {"gave_up": 1, "response_lost": 1})
    assert 90 <= found["lateness_seconds"] < 100
    assert 6900 < found["runway_seconds"] <= 7000
    told = " ".join(each["what"] for each in found["attention"])
    for part in ("no beat", "no worker", "2 dead letters", "1 grant need", "temple is paused"):
        assert part in told


def test_status_is_plain_text_in_a_pipe(letters: Evergrant) -> None:
    told = letters("status").out
    assert "\x1b" not in told
    assert "temple" in told
    assert all(line == line.rstrip() for line in told.splitlines())


def test_status_names_periodic_work_that_is_not_done_although_beat_and_worker_live(temple: Evergrant, sql: Any) -> None:
    sql("update evergrant.chores set done_at = '2026-01-02 03:04:05+00' where name = 'erase'")
    assert temple("status", "--json").json["chores_overdue"] == [{"name": "erase", "done_at": "2026-01-02T03:04:05Z"}]
    assert "erase" not in temple("status").out  # without beat and worker there is another thing to do first
    for kind in ("beat", "worker"):
        sql(
            "insert into evergrant.processes (id, kind, host, pid) values (gen_random_uuid(), :kind, 'box', 1)",
            kind=kind,
        )
    told = temple("status")
    assert told.code == 1  # it will not mend itself
    assert "periodic work is not done: erase (last 2026-01-02T03:04:05Z)  → search the workers' logs" in told.out


def test_a_fleet_that_lives_is_well(temple: Evergrant, sql: Any) -> None:
    import socket

    for kind in ("beat", "worker"):
        assert temple(kind, "--check").code == 1
        sql(
            "insert into evergrant.processes (id, kind, host, pid) values (gen_random_uuid(), :kind, :host, 1)",
            kind=kind,
            host=socket.gethostname(),
        )
        assert temple(kind, "--check", "--json").json == {"healthy": True, "pids": [1]}
    assert temple("status", "--json").json["attention"] == []
    sql("update evergrant.processes set seen_at = clock_timestamp() - interval '1 minute'")
    assert temple("worker", "--check", "--json").error == "not_healthy"


@pytest.mark.parametrize(("cause", "who"), [("revoked", "ask the user"), ("user_gone", "its user is gone")])
def test_a_letter_tells_the_rule_that_spoke_and_what_to_do_about_its_reason(
    letters: Evergrant, sql: Any, cause: str, who: str
) -> None:
    sql(
        "update evergrant.dead_letters set cause = :cause, rule = :rule where id = 1",
        cause=cause,
        rule=f"3: dead, {cause}",
    )
    assert letters("dead-letters", "list", "--json").lines[0]["rule"] == f"3: dead, {cause}"
    shown = letters("dead-letters", "show", "1", "--json").json
    assert (shown["rule"], shown["cause"]) == (f"3: dead, {cause}", cause)
    assert shown["next"].startswith(who)
    (written,) = [
        each for each in letters("grants", "history", "lost", "--json").lines if each["what"] == "dead_letter.written"
    ]
    assert written["data"]["rule"] == f"3: dead, {cause}"
