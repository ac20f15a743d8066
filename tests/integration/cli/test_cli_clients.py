"""`evergrant clients`, `providers` and `keys`."""

import re
import stat
from pathlib import Path
from typing import Any

import pytest

import settings
from models.sealing.vault import KeyRing, Vault
from tests.integration.cli.evergrant import Evergrant, use_actor


def test_a_client_is_added_with_its_secret_sealed_for_its_row(temple: Evergrant, sql: Any) -> None:
    ((client_id, sealed),) = sql("select id, sealed_client_secret from evergrant.clients")
    vault = Vault.from_settings(settings.current())
    assert vault.open(sealed, table="clients", row_id=client_id, purpose="secret") == "hush"
    shown = temple("clients", "show", "temple", "--json").json
    assert (shown["rate"], shown["rotation"], shown["state"]) == ("100/minute", "on_use", "open")
    assert shown["token_url"] == "https://api.eventtemple.com/oauth/token"
    assert "hush" not in temple("clients", "show", "temple").out


def test_the_provider_file_says_what_the_command_does_not(temple: Evergrant, sql: Any) -> None:
    done = temple("clients", "set", "temple", "--rate", "60/minute", "--rotation", "family", "--json")
    assert (done.json["rate"], done.json["rotation"]) == ("60/minute", "family")
    assert sql("select overrides from evergrant.clients")[0][0] == {"rate": "60/minute", "rotation": "family"}
    assert temple("clients", "set", "temple", "--keep", "on-demand", "--json").json["rate"] == "60/minute"
    assert temple("clients", "set", "temple", "--rate", "none", "--json").json["rate"] is None


def test_new_credentials_are_counted(temple: Evergrant, sql: Any) -> None:
    def number() -> int:
        return int(sql("select credentials_no from evergrant.clients")[0][0])

    assert number() == 1
    temple("clients", "set-secret", "temple", "--client-secret-file", "-", stdin="new")
    assert number() == 2
    temple("clients", "set", "temple", "--client-id", "id-1")
    assert number() == 2
    temple("clients", "set", "temple", "--client-id", "id-2")
    assert number() == 3


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ("clients add temple --provider event-temple --client-id x", 1, "client_exists"),
        ("clients add b --provider event-temple", 2, "usage"),
        ("clients add b --provider nonsense --client-id x", 4, "unknown_provider"),
        ("clients add b --provider generic --client-id x --token-url http://example.com/t", 2, "provider"),
        ("clients add b --provider generic --client-id x --token-url nonsense", 2, "provider"),
        ("clients add b --provider generic --client-id x --rate often", 2, "provider"),
        ("clients add b --provider generic --client-id x --rotation grace", 2, "provider"),
        ("clients add b --provider generic --client-id x --client-secret-file /none", 2, "secret_file"),
        ("clients add b! --provider generic --client-id x", 2, "client_name"),
        ("clients show nobody", 4, "unknown_client"),
        ("clients pause nobody", 4, "unknown_client"),
        ("grants list --client nobody", 4, "unknown_client"),
        ("providers show nonsense", 4, "unknown_provider"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    temple: Evergrant, sql: Any, words: str, code: int, error: str
) -> None:
    done = temple(*words.split(), "--json")
    assert (done.code, done.error) == (code, error)
    assert sql("select count(*) from evergrant.clients") == [(1,)]


def test_without_the_refresh_ring_no_client_is_added(evergrant: Evergrant) -> None:
    settings.adopt(settings.current().model_copy(update={"refresh_token_keys": None}))
    done = evergrant("clients", "add", "b", "--provider", "generic", "--client-id", "x", "--json")
    assert (done.code, done.error) == (1, "keys")


def test_an_operators_pause_is_recorded_with_who_did_it(temple: Evergrant, sql: Any) -> None:
    use_actor("ada")
    assert temple("clients", "pause", "temple", "--json").json["state"] == "paused"
    assert temple("clients", "resume", "temple", "--json").json["state"] == "open"
    events = sql("select type, actor from evergrant.events order by id desc limit 2")
    assert events == [("client.resumed", "ada"), ("client.paused", "ada")]
    assert "evergrant clients resume temple." in temple("clients", "pause", "temple").out


def test_deaths_are_accepted_only_where_some_are_held(temple: Evergrant, sql: Any) -> None:
    assert temple("clients", "accept-deaths", "temple", "--json").error == "needs_yes"
    assert "nothing to do" in temple("clients", "accept-deaths", "temple", "--yes").out
    temple.take_in("suspect")
    sql("update evergrant.valves set deaths_held_at = clock_timestamp()")
    sql("update evergrant.grants set suspect_at = clock_timestamp()")
    assert temple("clients", "show", "temple", "--json").json["state"] == "holding"
    assert "go through" in temple("clients", "accept-deaths", "temple", "--yes").out


def test_a_slower_pace_is_told_with_its_word_and_what_to_do_and_the_state_stays_open(
    temple: Evergrant, sql: Any
) -> None:
    assert temple("clients", "show", "temple", "--json").json["pace"] is None
    sql(
        """insert into evergrant.witnesses (client_id, slowed_by, slowed_from, slowed_code)
        select id, 3, 240, 'slow_down' from evergrant.clients"""
    )
    shown = temple("clients", "show", "temple", "--json").json
    assert (shown["pace"], shown["pace_reason"], shown["state"]) == ("30/minute", "slow_down", "open")
    status = temple("status", "--json").json
    assert (status["clients"][0]["pace"], status["clients"][0]["pace_reason"]) == ("30/minute", "slow_down")
    (told,) = [each for each in status["attention"] if "slow_down" in each["what"]]
    assert (told["what"][:25], told["next"].count("--rate")) == ("temple goes at 30/minute:", 1)
    assert "30/minute" in temple("status").out


def test_providers_are_listed_and_ones_own_file_wins(evergrant: Evergrant) -> None:
    folder = settings.current().provider_folder
    folder.mkdir(parents=True)
    (folder / "generic.toml").write_text('title = "Mine"\nrate = "5/second"\n')
    listed = {each["name"]: each for each in evergrant("providers", "list", "--json").lines}
    assert set(listed) == {"doorkeeper", "event-temple", "generic", "simulator"}
    assert (listed["generic"]["title"], listed["generic"]["rate"]) == ("Mine", "300/minute")
    assert listed["generic"]["file"] == str(folder / "generic.toml")
    assert evergrant("providers", "show", "event-temple", "--json").json["scope_separator"] == ","


def test_the_whole_catalogue_is_listed_when_it_is_asked_for(evergrant: Evergrant) -> None:
    listed = [each["name"] for each in evergrant("providers", "list", "--all", "--json").lines]
    assert {"event-temple", "google", "atlassian", "keycloak"} <= set(listed)
    assert len(listed) > 46
    assert "google" not in evergrant("providers", "list").out


def test_a_provider_tells_what_nobody_knows_of_it_and_where_the_rest_is_from(evergrant: Evergrant) -> None:
    shown = evergrant("providers", "show", "event-temple", "--json").json
    assert shown["unknown"] == ["rotation", "refresh life", "dead answer"]
    assert shown["facts"]["rate"].startswith("documented 20")
    told = evergrant("providers", "show", "atlassian").out
    assert "unknown" in told
    assert re.search(r"^grace_seconds +documented +2026-\d\d-\d\d +https://", told, re.MULTILINE)
    assert re.search(r"^refresh +403 +error=unauthorized_client .*dead +revoked$", told, re.MULTILINE)


def test_of_ones_own_file_what_it_says_is_known_without_a_fact(evergrant: Evergrant) -> None:
    folder = settings.current().provider_folder
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text('token_url = "https://id.example/t"\nrotation = "none"\nrate = "5/second"\n')
    shown = evergrant("providers", "show", "mine", "--json").json
    assert shown["unknown"] == ["refresh life", "access life", "revocation", "dead answer"]


def test_a_provider_file_that_cannot_be_used_is_named(evergrant: Evergrant) -> None:
    folder = settings.current().provider_folder
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text("rotation = 'sometimes'")
    done = evergrant("providers", "show", "mine", "--json")
    assert (done.code, done.error) == (2, "provider")
    assert "mine.toml" in done.err


def test_a_key_ring_is_made_for_its_owner_alone_and_never_overwritten(evergrant: Evergrant, tmp_path: Path) -> None:
    file = tmp_path / "new.keys"
    made = evergrant("keys", "generate", "--ring", "access", "--out", str(file), "--json").json
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KeyRing.parse(file.read_text()).ids == [made["id"]]
    before = file.read_text()
    again = evergrant("keys", "generate", "--ring", "access", "--out", str(file), "--json")
    assert (again.code, again.error) == (2, "file_exists")
    assert file.read_text() == before
    missing = evergrant("keys", "generate", "--ring", "access", "--out", str(tmp_path / "no" / "x"), "--json")
    assert (missing.code, missing.error) == (1, "file")


def test_keys_are_listed_by_id_and_never_shown(evergrant: Evergrant) -> None:
    listed = evergrant("keys", "list", "--json").lines
    assert [(each["ring"], each["id"], each["active"]) for each in listed] == [
        ("refresh", "r1", True),
        ("access", "a1", True),
    ]
    ring = settings.current().refresh_token_keys
    assert ring is not None
    assert ring.get_secret_value().partition(":")[2] not in evergrant("keys", "list").out


def test_held_revocations_are_told_until_an_operator_accepts_them(temple: Evergrant, sql: Any) -> None:
    temple.take_in("a", "b", "c")
    assert temple("clients", "show", "temple", "--json").json["revocation_limit"] is None
    set_ = temple("clients", "set", "temple", "--revocation-limit", "1", "--json").json
    assert (set_["revocation_limit"], set_["revocations_held"]) == (1, 0)
    assert "accept-revocations" not in temple("status").out
    for ref in "abc":
        sql("select evergrant.request_revocation(:ref)", ref=ref)
    status = temple("status", "--json")
    assert (status.code, status.json["revocations"]) == (1, {"queued": 1, "dead": 0, "held": 2})
    (held,) = status.json["revocations_held"]
    assert (held["client"], held["count"]) == ("temple", 2)
    (told,) = [each for each in status.json["attention"] if "held" in each["what"]]
    assert told["next"].startswith("evergrant clients accept-revocations temple")
    assert "accept-revocations" in temple("status").out
    assert temple("clients", "show", "temple", "--json").json["revocations_held"] == 2
    listed = temple("revocations", "list", "--status", "held", "--json").lines
    assert [(row["ref"], row["status"], row["done_at"]) for row in listed] == [("b", "held", None), ("c", "held", None)]
    shown = temple("revocations", "show", str(listed[0]["id"]), "--json").json
    assert (shown["status"], shown["pairs"]) == ("held", {"known": 1, "dead": 0})
    grant = temple("grants", "show", "b", "--json").json
    assert (grant["status"], grant["revocation"], grant["revocation_held"]) == ("active", None, listed[0]["id"])
    assert "revocation.held" in temple("grants", "history", "b").out
    assert temple("clients", "accept-revocations", "temple", "--json").error == "needs_yes"
    accepted = temple("clients", "accept-revocations", "temple", "--yes", "--json").json
    assert (accepted["count"], accepted["revocations_held"]) == (2, 0)
    assert "accept-revocations" not in temple("status").out
    assert temple("grants", "show", "b", "--json").json["status"] == "revoking"


def test_held_revocations_are_dropped_where_an_operator_says_so(temple: Evergrant, sql: Any) -> None:
    temple.take_in("a")
    assert "nothing to do" in temple("clients", "accept-revocations", "temple").out
    temple("clients", "set", "temple", "--revocation-limit", "0")
    sql("select evergrant.request_revocation('a')")
    assert temple("clients", "accept-revocations", "temple", "--discard", "--json").error == "needs_yes"
    assert "dropped" in temple("clients", "accept-revocations", "temple", "--discard", "--yes").out
    assert temple("revocations", "list", "--json").lines == []
    assert temple("clients", "accept-revocations", "nobody", "--yes", "--json").error == "unknown_client"


def test_the_limit_of_revocations_outlives_other_changes_and_goes_back_to_the_usual_one(temple: Evergrant) -> None:
    def limit(*words: str) -> Any:
        return temple("clients", "set", "temple", *words, "--json").json["revocation_limit"]

    added = "clients add b --provider event-temple --client-id id-2 --client-secret-file - --revocation-limit 7 --json"
    assert temple(*added.split(), stdin="hush\n").json["revocation_limit"] == 7
    assert limit("--revocation-limit", "500") == 500
    assert limit("--rate", "60/minute") == 500
    assert limit("--revocation-limit", "default") is None
    for wrong in ("-1", "many", "1.5"):
        refused = temple("clients", "set", "temple", "--revocation-limit", wrong, "--json")
        assert refused.code == 2
        assert "whole number" in refused.err
