"""`evergrant grants`: looking at grants, and asking beat for work."""

import json
from typing import Any

import pytest
from pydantic import SecretStr

import settings
from models.sealing.vault import KeyRing
from tests.integration.cli.evergrant import Evergrant, use_actor


@pytest.fixture
def fleet(temple: Evergrant, sql: Any) -> Evergrant:
    """Five grants of `temple` in every status but revoked, and `a` of another client, too."""
    temple.take_in("a", "b", "c", "d", "e")
    temple("clients", "add", "shop", "--provider", "generic", "--client-id", "x")
    temple.take_in("a", client="shop")
    sql("update evergrant.grants set status = 'needs_consent', reason = 'response_lost' where ref = 'c'")
    sql(
        "update evergrant.grants set failures = 2, last_error_code = 'http_504', last_error_http_status = 504,"
        " last_error_at = clock_timestamp() where ref = 'd'"
    )
    temple("grants", "pause", "b")
    return temple


def test_grants_are_listed_by_client_status_label_and_due_time(fleet: Evergrant, sql: Any) -> None:
    def listed(*words: str) -> list[str]:
        return [f"{each['client']}/{each['ref']}" for each in fleet("grants", "list", "--json", *words).lines]

    assert listed() == ["shop/a", "temple/a", "temple/b", "temple/c", "temple/d", "temple/e"]
    assert listed("--client", "shop") == ["shop/a"]
    assert listed("--status", "paused") == ["temple/b"]
    assert listed("--status", "needs_consent", "--client", "temple") == ["temple/c"]
    assert listed("--label", "org=d") == ["temple/d"]
    assert listed("--label", "org=d", "--label", "org=e") == []
    sql("update evergrant.grants set due_at = clock_timestamp() + interval '5 minutes' where ref = 'e'")
    assert listed("--due-within", "10m") == ["temple/d", "temple/e"]  # `d` failed, and waits for its back-off alone
    fleet("grants", "revoke", "e", "--yes")
    assert listed("--status", "revoking") == ["temple/e"]
    sql("update evergrant.grants set status = 'revoked' where ref = 'e'")
    assert listed("--client", "temple") == ["temple/a", "temple/b", "temple/c", "temple/d"]
    assert listed("--status", "revoked") == ["temple/e"]
    assert "temple/e" in listed("--status", "all")


def test_a_key_that_the_rings_here_lack_is_named_by_status_by_db_check_and_by_the_grant(
    fleet: Evergrant, sql: Any
) -> None:
    for command in (("status",), ("db", "check"), ("grants", "show", "d")):
        assert "r1" not in fleet(*command).out
    other = SecretStr(KeyRing.generate_line("r2"))
    settings.adopt(settings.current().model_copy(update={"refresh_token_keys": other}))
    remedy = "add the key r1 to EVERGRANT_REFRESH_TOKEN_KEYS"
    what = "need the key r1, which the refresh key ring here lacks"
    found = fleet("status", "--json").json
    assert found["missing_keys"] == [f"7 sealed values {what}"]  # six grants and a client secret
    assert [each["what"] for each in found["attention"] if remedy in each["next"]] == found["missing_keys"]
    checked = fleet("db", "check", "--json")
    assert (checked.code, checked.lines[0]["check"]) == (1, "keys")
    assert what in checked.lines[0]["finding"]
    shown = fleet("grants", "show", "d", "--json").json
    assert shown["missing_keys"] == ["1 sealed value needs the key r1, which the refresh key ring here lacks"]
    assert remedy in shown["next"]
    # A token that is not there hides no other one of its row; what was shredded names no key.
    sql("update evergrant.grants set sealed_access_token = null where ref = 'd'")
    sql("update evergrant.grants set sealed_refresh_token = '' where ref = 'e'")
    assert fleet("grants", "show", "d", "--json").json["missing_keys"] == shown["missing_keys"]
    assert fleet("status", "--json").json["missing_keys"] == [f"6 sealed values {what}"]


def test_a_key_that_only_former_tokens_name_is_told_by_the_check_and_not_by_status(fleet: Evergrant, sql: Any) -> None:
    sql(
        """
        insert into evergrant.former_tokens (grant_id, kind, generation, sealed_refresh_token, refresh_fingerprint)
        select id, 'predecessor', 0, '\\x01'::bytea || '\\x04'::bytea || 'gone'::bytea || sealed_refresh_token, 'f'
        from evergrant.grants where ref = 'd'
        """
    )
    what = "1 sealed value needs the key gone, which the refresh key ring here lacks"
    assert fleet("status", "--json").json["missing_keys"] == []
    assert fleet("db", "check", "--json").lines[0]["finding"] == what
    assert fleet("grants", "show", "d", "--json").json["missing_keys"] == [what]


def test_a_machine_without_a_ring_is_not_expected_to_open_anything(fleet: Evergrant) -> None:
    settings.adopt(settings.current().model_copy(update={"refresh_token_keys": None}))
    assert fleet("status", "--json").json["missing_keys"] == []
    assert "missing_keys" not in fleet("grants", "show", "d", "--json").json


def test_a_grant_is_shown_as_the_interface_promises(fleet: Evergrant) -> None:
    promised = (
        "ref client status reason next generation scope labels access_expires_at due_at failures last_error"
        " created_at refreshed_at"
    )
    found = fleet("grants", "show", "d", "--json").json
    assert list(found)[:14] == promised.split()
    assert (found["status"], found["failures"], found["labels"]) == ("active", 2, {"org": ["d"]})
    assert found["last_error"].keys() == {"code", "http_status", "at", "rule", "shape"}
    lost = fleet("grants", "show", "c", "--json").json
    assert (lost["reason"], lost["due_at"]) == ("response_lost", None)
    assert lost["next"].endswith("evergrant grants connect c --client temple")


def test_an_error_that_time_does_not_mend_says_what_to_do(fleet: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set last_error_code = 'http_301' where ref = 'd'")
    sql(
        "update evergrant.valves set paused_until = clock_timestamp() + interval '5 minutes',"
        " pause_reason = 'tls_certificate' where client_id = (select id from evergrant.clients where name = 'shop')"
    )

    assert "evergrant clients set temple --token-url URL" in fleet("grants", "show", "d", "--json").json["next"]
    shut = [each for each in fleet("status", "--json").json["attention"] if each["what"].startswith("shop is shut")]
    assert "SSL_CERT_FILE" in shut[0]["next"]


def test_a_grant_that_is_refused_alone_is_its_users_matter_and_not_the_registrations(
    fleet: Evergrant, sql: Any
) -> None:
    sql(
        "update evergrant.grants set refusals = 3, refused_code = 'unauthorized_client', refused_since = now(),"
        " refreshed_at = now() - interval '1 h', last_error_code = 'unauthorized_client' where ref = 'd'"
    )

    def advice() -> str:
        return str(fleet("grants", "show", "d", "--json").json["next"])

    assert advice().endswith("if its user withdrew: evergrant grants connect d --client temple")
    ours = "insert into evergrant.witnesses (client_id, refused_since) select client_id, {} from evergrant.grants"
    sql(ours.format("now()") + " where ref = 'd'")
    assert "look at its registration" in advice()
    sql("update evergrant.witnesses set refused_since = null")
    assert "grants connect d" in advice()
    sql("update evergrant.grants set last_error_code = 'dns' where ref = 'd'")
    assert "--token-url" in advice()
    sql("update evergrant.grants set last_error_code = refused_code, refreshed_at = now() where ref = 'd'")
    assert "grants connect" not in advice()


def test_an_error_that_time_may_mend_asks_nothing_of_anybody(fleet: Evergrant, sql: Any) -> None:
    for kind in ("beat", "worker"):
        sql(
            "insert into evergrant.processes (id, kind, host, pid) values (gen_random_uuid(), :kind, 'b', 1)", kind=kind
        )
    assert fleet("grants", "show", "d", "--json").json["next"] is None  # http_504
    assert fleet("grants", "show", "a", "--client", "temple", "--json").json["next"] is None


def test_no_output_but_that_of_token_holds_a_token(fleet: Evergrant) -> None:
    for command in ("grants list", "grants list --json", "grants show d", "status --json", "clients list --json"):
        told = fleet(*command.split())
        assert "rt-temple" not in told.out + told.err
        assert "at-temple" not in told.out + told.err


@pytest.mark.parametrize("command", ["show", "token", "pause", "refresh", "set --keep warm", "revoke --yes", "resume"])
def test_an_unknown_and_an_ambiguous_ref_are_told(fleet: Evergrant, command: str) -> None:
    verb, *options = command.split()
    unknown = fleet("grants", verb, "nobody", *options, "--json")
    assert (unknown.code, unknown.error) == (4, "unknown_ref")
    ambiguous = fleet("grants", verb, "a", *options, "--json")
    assert (ambiguous.code, ambiguous.error) == (2, "ambiguous_ref")
    assert "temple" in ambiguous.err


def test_where_one_ref_is_unknown_nothing_is_done_for_the_others(fleet: Evergrant, sql: Any) -> None:
    assert fleet("grants", "pause", "d", "nobody", "e").code == 4
    assert fleet("grants", "revoke", "d", "nobody", "--yes").code == 4
    assert sql("select count(*) from evergrant.grants where status = 'paused'") == [(1,)]
    assert sql("select count(*) from evergrant.revocations") == [(0,)]


def test_refs_come_from_standard_input(fleet: Evergrant) -> None:
    done = fleet("grants", "pause", "-", "--json", stdin="d\n\ne\n")
    assert [(each["ref"], each["status"]) for each in done.lines] == [("d", "paused"), ("e", "paused")]


def test_only_what_is_active_can_be_paused_and_only_what_is_paused_resumed(fleet: Evergrant) -> None:
    assert fleet("grants", "pause", "b").code == 0
    paused = fleet("grants", "pause", "c", "d", "--json")
    assert (paused.code, paused.error) == (1, "not_changed")
    assert [each["status"] for each in paused.lines] == ["needs_consent", "paused"]
    assert fleet("grants", "resume", "c").code == 1
    resumed = fleet("grants", "resume", "--client", "temple", "--json")
    assert (resumed.code, [each["ref"] for each in resumed.lines]) == (0, ["b", "d"])
    assert fleet("grants", "resume", "--json").error == "usage"


def test_neither_pausing_nor_resuming_moves_the_due_time(fleet: Evergrant, sql: Any) -> None:
    before = sql("select due_at from evergrant.grants where ref = 'd'")
    fleet("grants", "pause", "d")
    fleet("grants", "resume", "d")
    assert sql("select due_at from evergrant.grants where ref = 'd'") == before


def test_labels_are_merged_and_an_empty_one_goes(fleet: Evergrant) -> None:
    done = fleet("grants", "set", "d", "--label", "tier=gold", "--label", "org=", "--keep", "on-demand", "--json")
    assert done.json["labels"] == {"tier": ["gold"]}
    assert fleet("grants", "show", "d", "--json").json["keep"] == "on-demand"
    assert fleet("grants", "set", "d", "--json").error == "usage"


def test_many_refresh_requests_for_a_grant_are_one_row(fleet: Evergrant, sql: Any) -> None:
    use_actor("ada")
    for _ in range(3):
        done = fleet("grants", "refresh", "e", "--json")
        assert done.json == {"ref": "e", "client": "temple", "generation": 2, "asked": True}
    assert sql("select requested_by from evergrant.refresh_requests") == [("ada",)]


def test_a_token_set_that_is_fresh_is_not_requested(fleet: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set refreshed_at = clock_timestamp() where ref = 'e'")
    assert fleet("grants", "refresh", "e", "--wait", "--json").json["asked"] is False
    assert sql("select count(*) from evergrant.refresh_requests") == [(0,)]


@pytest.mark.parametrize(("ref", "code", "error"), [("b", 1, "paused"), ("c", 3, "needs_consent")])
def test_what_is_not_active_is_not_refreshed(fleet: Evergrant, ref: str, code: int, error: str) -> None:
    done = fleet("grants", "refresh", ref, "--json")
    assert (done.code, done.error) == (code, error)


def test_waiting_ends_with_75_when_nobody_works(fleet: Evergrant) -> None:
    done = fleet("grants", "refresh", "e", "--wait", "--timeout", "0.1s", "--json")
    assert (done.code, done.error) == (75, "timeout")
    done = fleet("grants", "revoke", "e", "--wait", "--timeout", "0.1s", "--yes", "--json")
    assert (done.code, done.error) == (75, "timeout")


def test_a_revocation_is_one_row_however_often_it_is_asked_for(fleet: Evergrant, sql: Any) -> None:
    first = fleet("grants", "revoke", "e", "--reason", "account deleted", "--yes", "--json").json
    again = fleet("grants", "revoke", "e", "--yes", "--json").json
    assert first == again
    assert (first["status"], first["evidence"]) == ("queued", None)
    assert sql("select reason from evergrant.revocations") == [("account deleted",)]
    shown = fleet("revocations", "show", str(first["id"]), "--json").json
    assert (shown["ref"], shown["reason"], shown["status"]) == ("e", "account deleted", "queued")
    assert [each["id"] for each in fleet("revocations", "list", "--json").lines] == [first["id"]]
    assert fleet("revocations", "list", "--status", "done", "--json").lines == []
    assert fleet("revocations", "show", "99", "--json").error == "unknown_revocation"


def test_a_revocation_that_died_needs_a_human(fleet: Evergrant, sql: Any) -> None:
    fleet("grants", "revoke", "e", "--yes")
    sql("update evergrant.revocations set status = 'dead'")
    done = fleet("grants", "revoke", "e", "--wait", "--yes", "--json")
    assert (done.code, done.error) == (3, "dead_letter")


def test_a_fresh_token_is_printed_alone(fleet: Evergrant) -> None:
    assert fleet("grants", "token", "e").out == "at-temple-e\n"
    found = fleet("grants", "token", "e", "--json").json
    assert list(found) == ["access_token", "token_type", "expires_at", "generation", "ref", "client"]
    assert fleet("grants", "token", "d").out == "at-temple-d\n"


def test_a_token_that_was_just_renewed_satisfies_any_refresh_request(fleet: Evergrant) -> None:
    done = fleet("grants", "token", "e", "--min-ttl", "7d")
    assert (done.code, done.out) == (0, "at-temple-e\n")
    assert done.err.startswith("evergrant: e's access token lives ")
    assert "not the 7d 0h of --min-ttl" in done.err
    asked = fleet("grants", "token", "e", "--min-ttl", "7d", "--json")
    assert list(asked.json) == ["access_token", "token_type", "expires_at", "generation", "ref", "client"]
    assert json.loads(asked.err)["note"] == "lives_shorter"
    assert fleet("grants", "token", "e", "--min-ttl", "5s").err == ""


def test_a_token_that_is_too_old_is_requested_and_waited_for(fleet: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set access_expires_at = clock_timestamp() + interval '10 s' where ref = 'e'")
    done = fleet("grants", "token", "e", "--timeout", "0.1s", "--json")
    assert (done.code, done.error) == (75, "not_fresh_yet")
    assert sql("select generation from evergrant.refresh_requests") == [(1,)]
    assert fleet("grants", "token", "e", "--min-ttl", "5s").out == "at-temple-e\n"


def test_a_token_that_will_not_come_is_not_waited_for(fleet: Evergrant, sql: Any) -> None:
    assert fleet("grants", "token", "c", "--json").error == "needs_consent"
    assert fleet("grants", "token", "c").code == 3
    fleet("grants", "revoke", "e", "--yes")
    assert fleet("grants", "token", "e", "--json").error == "revoked"
    assert fleet("grants", "token", "b").out == "at-temple-b\n"
    sql("update evergrant.grants set access_expires_at = clock_timestamp() where ref = 'b'")
    assert fleet("grants", "token", "b", "--json").error == "paused"


def test_a_row_whose_key_is_not_here_is_told(fleet: Evergrant) -> None:
    other = SecretStr(KeyRing.generate_line("a2"))
    settings.adopt(settings.current().model_copy(update={"access_token_keys": other}))
    done = fleet("grants", "token", "e", "--json")
    assert (done.code, done.error) == (1, "keys")
    assert "a1" in done.err
    settings.adopt(settings.current().model_copy(update={"access_token_keys": None}))
    assert fleet("grants", "token", "e", "--json").error == "keys"
    settings.adopt(settings.current().model_copy(update={"access_token_keys": SecretStr("nonsense")}))
    assert fleet("grants", "token", "e", "--json").error == "keys"


def test_what_a_rule_of_the_providers_file_said_is_shown_and_decides_what_to_do(fleet: Evergrant, sql: Any) -> None:
    refused = (
        "update evergrant.grants set refusals = 3, refused_code = 'oops', refused_since = now(), last_error_at = now(),"
        " refreshed_at = now() - interval '1 h', last_error_code = 'oops', last_error_rule = '{}' where ref = 'd'"
    )
    for rule, told in {
        "4: ours": "the fault is ours",
        "2: scope": "refuses its scope",
        "": "refuses this grant",
    }.items():
        sql(refused.format(rule))
        found = fleet("grants", "show", "d", "--json").json
        assert found["last_error"]["rule"] == rule
        assert told in found["next"]
    sql(refused.format("2: scope"))
    assert "rule=2: scope" in fleet("grants", "show", "d").out


@pytest.mark.parametrize(
    ("reason", "first"),
    [("revoked", "ask the user"), ("admin_policy", "an administrator"), ("scope_changed", "see that the client asks")],
)
def test_a_verdicts_reason_says_who_must_do_what_first(fleet: Evergrant, sql: Any, reason: str, first: str) -> None:
    sql("update evergrant.grants set reason = :reason where ref = 'c'", reason=reason)
    found = fleet("grants", "show", "c", "--json").json
    assert found["reason"] == reason
    assert found["next"].startswith(first)
    assert found["next"].endswith("evergrant grants connect c --client temple")
