"""`doctor`: a healthy fleet gives no finding; each trouble gives one line with its remedy, and exit 1."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import settings
from tests.integration.cli.evergrant import Evergrant
from worker.cli.examination import _unfit_broker
from worker.embedded.state import State


def found(evergrant: Evergrant) -> list[tuple[str, str, str]]:
    done = evergrant("doctor", "--json")
    assert done.code == (1 if done.lines else 0), done.err
    return [(each["check"], each["finding"], each["next"]) for each in done.lines]


def test_a_fleet_that_is_well_gives_no_finding_and_exit_0(at_work: Evergrant) -> None:
    assert found(at_work) == []
    assert "Nothing was found" in at_work("doctor").out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("clock_at = clock_timestamp() - interval '1 minute'", "s behind PostgreSQL's"),
        ("clock_at = clock_timestamp() + interval '1 minute'", "ahead of PostgreSQL's"),
        ("disk_free = 5000000", "has 5 MiB left for its journal"),
        ("ignored_variables = '{EVERGRANT_CONCURENCY}'", "ignores EVERGRANT_CONCURENCY, which is no setting"),
        ("refresh_key_ids = null", "is of an older release"),
        ("refresh_key_ids = '{r0}'", "lacks the key r1 of the refresh key ring"),
        ("environment = 'elsewhere'", "runs as environment elsewhere"),
        ("fault = 'no room'", "cannot work: no room"),
    ],
)
def test_what_a_process_says_of_itself_is_looked_at(at_work: Evergrant, sql: Any, change: str, says: str) -> None:
    sql(f"update evergrant.processes set {change} where kind = 'worker'")  # noqa: S608  # constants
    ((_, finding, step),) = found(at_work)
    assert says in finding
    assert step


def test_a_variable_that_is_misspelt_here_is_named_with_what_is_meant(
    at_work: Evergrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGRANT_CONCURENCY", "8")
    assert found(at_work) == [
        ("variable", "EVERGRANT_CONCURENCY is no setting and is ignored", "set EVERGRANT_CONCURRENCY instead")
    ]


def test_files_that_others_may_read_or_write_are_named(at_work: Evergrant, tmp_path: Path) -> None:
    ring, folder = tmp_path / "ring", tmp_path / "providers"
    ring.write_text("x")
    ring.chmod(0o644)
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    changed = {"ops_password_file": ring, "providers": folder}
    settings.adopt(settings.current().model_copy(update=changed))
    settings.current().home.chmod(0o755)
    told = found(at_work)
    assert [finding for check, finding, _ in told if check == "file"] == [
        f"{ring} is open to other users",
        f"{folder} is open to other users",
        f"{settings.current().home} is open to other users: journals and keys lie there",
    ]
    assert all("chmod" in step for _, _, step in told)


def test_a_broker_that_is_away_is_a_finding_and_hides_no_other(at_work: Evergrant, sql: Any) -> None:
    settings.adopt(settings.current().model_copy(update={"broker_url": SecretStr("redis://:hush@127.0.0.1:1/0")}))
    sql("update evergrant.processes set fault = 'no room' where kind = 'worker'")
    told = found(at_work)
    assert [check for check, _, _ in told] == ["fleet", "broker"]
    assert "hush" not in str(told)


def test_a_broker_that_throws_away_or_is_old_is_told() -> None:
    evicting = {"maxmemory": 10**6, "maxmemory_policy": "allkeys-lru"}
    assert [each.next for each in _unfit_broker({"redis_version": "7.2.4"}, evicting)] == [
        "set maxmemory-policy noeviction"
    ]
    assert [each.finding for each in _unfit_broker({"redis_version": "5.0.14"}, {})] == ["it is of version 5.0.14"]
    assert list(_unfit_broker({"valkey_version": "9.1.0", "redis_version": "7.2.4"}, {})) == []


def test_a_rate_that_does_not_fit_and_a_pause_that_is_over_are_told(at_work: Evergrant, sql: Any) -> None:
    sql("update evergrant.grants set life = interval '10 seconds'")
    at_work("clients", "set", "temple", "--rate", "1/minute")
    sql("update evergrant.valves set paused_until = clock_timestamp() - interval '1 hour', pause_reason = 'http_503'")
    told = {check: (finding, step) for check, finding, step in found(at_work)}
    assert told["rate"] == ("temple: 1 grants are too many for 1/minute", "evergrant plan --client temple")
    assert "was shut (http_503) until" in told["pause"][0]


LINK = """
insert into evergrant.tickets (ticket_hash, client_id, ref, labels, scopes, other_account_allowed, created_by,
    counted_as, expires_at)
select 'hash', id, 'customer', '{}', '{}', false, 'tests', 'tests', clock_timestamp() from evergrant.clients
"""


def test_a_client_whose_customers_could_be_sent_nowhere_is_told_once_a_link_of_it_was_made(
    at_work: Evergrant, sql: Any
) -> None:
    sql("update evergrant.clients set overrides = '{\"token_url\": \"https://a.example/t\"}', provider = 'generic'")
    assert found(at_work) == []
    sql(LINK)
    assert found(at_work) == [
        (
            "link",
            "customers who open a link of temple can be sent nowhere: it has no authorize_url",
            "evergrant clients set temple --authorize-url URL",
        )
    ]
    assert at_work("clients", "set", "temple", "--authorize-url", "https://a.example/authorize").code == 0
    assert found(at_work) == []
    sql("update evergrant.clients set provider = 'gone'")
    assert [finding for check, finding, _ in found(at_work) if check == "link"] != []


def test_links_that_lead_elsewhere_than_to_the_web_that_serves_them_are_told(at_work: Evergrant, sql: Any) -> None:
    sql("update evergrant.installation set public_url = 'https://a.example', public_url_seen_at = clock_timestamp()")
    settings.adopt(settings.current().model_copy(update={"public_url": "https://a.example"}))
    assert found(at_work) == []
    settings.adopt(settings.current().model_copy(update={"public_url": "https://b.example"}))
    ((check, finding, _),) = found(at_work)
    assert check == "link"
    assert "https://a.example" in finding
    assert "https://b.example" in finding


def test_a_ring_of_this_home_that_is_gone_is_told_while_those_who_run_still_hold_it(
    at_work: Evergrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = settings.current()
    assert now.database_url is not None
    running = State(
        pid=1, started_at=datetime.now(UTC), database_url=now.database_url.get_secret_value(), broker_url=""
    )
    monkeypatch.setattr("worker.embedded.state.read", lambda _: running)
    assert at_work("doctor").code == 0
    settings.adopt(now.model_copy(update={"refresh_token_keys": None}))
    done = at_work("doctor", "--json")
    assert done.code == 1
    (told,) = [each for each in done.lines if each["check"] == "ring"]
    assert "The refresh key ring is gone from" in told["finding"]
    assert told["next"].startswith("put it back there from your backup")
