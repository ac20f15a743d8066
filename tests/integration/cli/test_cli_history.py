"""`grants history` and `revocations show`: what happened, in order, and how an end is known."""

from typing import Any

from tests.integration.cli.evergrant import Evergrant, use_actor


def what(evergrant: Evergrant, ref: str = "a") -> list[str]:
    done = evergrant("grants", "history", ref, "--json")
    assert done.code == 0, done.err
    return [line["what"] for line in done.lines]


def test_what_happened_to_a_grant_is_told_in_order_with_who_did_it(temple: Evergrant, sql: Any) -> None:
    temple.take_in("a")
    use_actor("anna")
    temple("grants", "pause", "a")
    temple("grants", "resume", "a")
    temple("grants", "refresh", "a")
    temple("grants", "revoke", "a", "--reason", "left us", "--yes")
    assert what(temple) == [
        "grant.created",
        "grant.imported",
        "grant.paused",
        "grant.resumed",
        "refresh.requested",
        "revocation.requested",
    ]
    last = temple("grants", "history", "a", "--json").lines[-1]
    assert (last["reason"], last["actor"], last["ref"], last["client"]) == ("left us", "anna", "a", "temple")
    assert last["at"].endswith("Z")
    assert "left us" in temple("grants", "history", "a").out


def test_history_knows_doubts_refusals_letters_and_former_pairs(temple: Evergrant, sql: Any) -> None:
    temple.take_in("a")
    sql(
        """update evergrant.grants set refreshed_at = now() + interval '1 s', doubt_since = now() + interval '2 s',
            last_error_at = now() + interval '3 s', last_error_code = 'timeout',
            suspect_at = now() + interval '4 s'"""
    )
    sql(
        """insert into evergrant.former_tokens (grant_id, kind, generation, sealed_refresh_token, refresh_fingerprint,
            stored_at, tried_at, known_dead_at)
        select id, 'surplus', 1, 'x', 'x', now() + interval '5 s', now() + interval '6 s', now() + interval '6 s'
        from evergrant.grants"""
    )
    sql(
        """insert into evergrant.dead_letters (kind, client_id, grant_id, ref, generation, cause, attempts,
            first_failed_at, dead_at, resolved_at, resolution, resolved_by)
        select 'refresh', client_id, id, ref, 1, 'response_lost', 2, now(), now() + interval '7 s',
            now() + interval '8 s', 'recovered', 'evergrant' from evergrant.grants"""
    )
    assert what(temple)[2:] == [
        "token_set.stored",
        "grant.in_doubt",
        "refresh.failed",
        "grant.suspect",
        "token_set.surplus",
        "token_set.dead",
        "token_set.tried",
        "dead_letter.written",
        "dead_letter.closed",
    ]


def test_the_history_of_a_ref_begins_with_its_first_grant(temple: Evergrant, sql: Any) -> None:
    temple.take_in("a")
    sql("update evergrant.grants set status = 'revoked'")
    temple.take_in("a")
    assert what(temple).count("grant.created") == 2
    assert temple("grants", "history", "nobody").code == 4


def test_a_revocation_shows_how_it_is_known_to_have_worked(temple: Evergrant, sql: Any) -> None:
    temple.take_in("a")
    temple("grants", "revoke", "a", "--yes")
    sql(
        """update evergrant.revocations set attempts = 2, last_error_at = clock_timestamp(),
            last_error_code = 'http_503', last_error_http_status = 503"""
    )
    shown = temple("revocations", "show", "1", "--json").json
    assert (shown["evidence"], shown["because"], shown["pairs"]) == (None, [], {"known": 1, "dead": 0})
    assert [each["what"] for each in shown["history"]] == ["revocation.requested", "revocation.failed"]
    assert shown["history"][1]["data"] == {"id": 1, "attempts": 2, "http_status": 503}
    sql("update evergrant.grants set status = 'revoked'")
    sql("update evergrant.revocations set status = 'done', evidence = 'accepted'")
    sql(
        """insert into evergrant.events (type, grant_id, data)
        select 'grant.revoked', id, '{"evidence": "accepted", "because": ["ever_in_doubt"],
            "access_tokens_end_by": "2026-11-24T10:00:00+00:00"}' from evergrant.grants"""
    )
    shown = temple("revocations", "show", "1", "--json").json
    assert (shown["evidence"], shown["because"], shown["pairs"]) == (
        "accepted",
        ["ever_in_doubt"],
        {"known": 1, "dead": 1},
    )
    assert shown["access_tokens_end_by"] == "2026-11-24T10:00:00Z"
    told = temple("revocations", "show", "1").out
    assert "ever_in_doubt" in told
    assert "revocation.requested" in told
    assert temple("revocations", "show", "2", "--json").error == "unknown_revocation"
