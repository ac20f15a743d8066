"""`evergrant grants import --probe` against a simulated provider: what is dead is named and left out."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

import settings
from models.sealing.vault import Vault
from simulator.control import SimulatorControl, as_json_lines
from tasks.journal import left_behind, take_over
from tests.integration.cli.evergrant import Done, Evergrant

Take = Callable[..., Done]
ANSWER = '{"access_token":"at2","refresh_token":"rt2","expires_in":600}'


@pytest.fixture
def take(connected: Evergrant, provider: SimulatorControl) -> Take:
    """Import grants of these refs, of which the users of some have withdrawn."""

    def carry_out(*refs: str, dead: tuple[str, ...] = (), options: str = "--probe") -> Done:
        rows = provider.mint("simulated-client", refs=list(refs))
        if dead:
            provider.revoke_as_user(*dead)
        command = f"grants import - --client sim --json {options}".split()
        return connected(*command, stdin=as_json_lines(rows))

    return carry_out


def _named(done: Done) -> dict[str, str]:
    told = [json.loads(line) for line in done.err.splitlines() if line.startswith('{"line"')]
    return {line["ref"]: line["reason"] for line in told}


def _refs(sql: Any) -> list[str]:
    return [ref for (ref,) in sql("select ref from evergrant.grants order by ref")]


def test_a_dead_pair_is_named_and_left_out_and_nothing_is_consumed(
    take: Take, provider: SimulatorControl, sql: Any
) -> None:
    done = take("a", "b", "c", dead=("b",))
    assert (done.code, done.error) == (1, "bad_lines")
    assert done.json == {"imported": 2, "replaced": 0, "skipped": 0, "bad": 1}
    assert _named(done) == {"b": "its refresh token is dead, or another client's"}
    assert _refs(sql) == ["a", "c"]
    assert provider.summary()["refreshes"] == 0
    assert sql("select count(*) from evergrant.journals where drained_at is null") == [(0,)]


def test_only_what_would_be_stored_is_asked_about(take: Take, provider: SimulatorControl) -> None:
    take("a", options="")
    assert take("a", "b").json == {"imported": 1, "replaced": 0, "skipped": 1, "bad": 0}
    assert len(provider.requests(endpoint="token")) == 1
    take("a", "b", options="--probe --replace")
    assert len(provider.requests(endpoint="token")) == 3


def test_a_dry_run_asks_and_stores_nothing(take: Take, provider: SimulatorControl, sql: Any) -> None:
    done = take("a", "b", dead=("b",), options="--probe --dry-run")
    assert (done.code, done.json["imported"], done.json["bad"]) == (1, 1, 1)
    assert _refs(sql) == []
    assert len(provider.requests(endpoint="token")) == 2


def test_every_question_takes_a_slot_and_waits_for_it(take: Take, connected: Evergrant, sql: Any) -> None:
    connected("clients", "set", "sim", "--rate", "120/minute")
    begun = time.monotonic()
    assert take(*(f"g{n}" for n in range(6))).code == 0
    # Two at once by the tolerance of a second, then one in 60 / (120 · 0.95) s.
    assert time.monotonic() - begun > 3 * 60 / 114
    assert sql("select slot_no from evergrant.valves") == [(6,)]


def test_where_all_are_dead_the_client_is_doubted(take: Take) -> None:
    refs = ("a", "b", "c")
    assert "this client's" in take(*refs, dead=refs).err.splitlines()[-1]


@pytest.mark.parametrize("options", ["--probe", "--probe --dry-run"])
def test_a_pair_that_the_provider_gives_unasked_is_stored_and_no_other_is_risked(
    take: Take, connected: Evergrant, provider: SimulatorControl, sql: Any, options: str
) -> None:
    provider.add_fault("status", where="token", when="before", status=200, body=ANSWER, ref="b")
    done = take("a", "b", "c", options=options)
    assert (done.code, done.error) == (1, "probe_refreshed")
    assert connected("grants", "token", "b").out == "at2\n"
    assert _refs(sql) == (["b"] if "--dry-run" in options else ["a", "b"])
    assert provider.requests(ref="c") == []
    folder = settings.current().home / "journals"
    (found,) = left_behind(folder)
    journal = take_over(folder, found.journal_id, vault=Vault.from_settings(settings.current()))
    assert [(kept.entry.ref, kept.settled) for kept in journal.entries()] == [("b", True)]
    journal.close()


def test_wrong_credentials_blame_no_line(take: Take, connected: Evergrant, sql: Any) -> None:
    connected("clients", "set-secret", "sim", "--client-secret-file", "-", stdin="wrong")
    done = take("a", "b")
    assert (done.code, done.error) == (1, "probe_misconfigured")
    assert _named(done) == {}
    assert _refs(sql) == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, '{"error":"invalid_grant"}'),
        (400, "error=invalid_grant&error_description=expired"),
        (400, '<a href="?a=1&error=invalid_grant&b=2">'),
    ],
)
def test_a_living_token_is_not_called_dead_by_what_is_not_the_token_endpoints_word(
    take: Take, provider: SimulatorControl, sql: Any, status: int, body: str
) -> None:
    provider.add_fault("status", where="token", status=status, body=body, ref="b", count=1)
    done = take("a", "b", "c")
    assert (done.code, done.error) == (1, "bad_lines")
    assert _named(done) == {"b": "the provider did not say whether its refresh token lives (invalid_grant)"}
    assert _refs(sql) == ["a", "c"]


@pytest.mark.parametrize(("status", "body"), [(401, '{"error":"invalid_grant"}'), (400, "error=invalid_grant")])
def test_dead_tokens_of_which_a_provider_says_so_in_its_own_way_stop_no_import(
    take: Take, provider: SimulatorControl, sql: Any, status: int, body: str
) -> None:
    dead = ("b", "c", "d", "e")
    for ref in dead:
        provider.add_fault("status", where="token", status=status, body=body, ref=ref)
    done = take("a", *dead, "f")
    assert (done.code, done.error) == (1, "bad_lines")
    assert tuple(_named(done)) == dead
    assert _refs(sql) == ["a", "f"]
    assert sql("select paused_until from evergrant.valves") == [(None,)]


@pytest.mark.parametrize("body", ["<html>Back soon</html>", '{"error":"invalid_grant"}'])
def test_a_2xx_without_a_token_set_tells_nothing_and_leaves_a_journal_that_is_settled(
    take: Take, provider: SimulatorControl, sql: Any, body: str
) -> None:
    provider.add_fault("status", where="token", status=200, body=body, ref="b", count=1)
    done = take("a", "b", "c")
    assert list(_named(done)) == ["b"]
    assert _refs(sql) == ["a", "c"]
    assert sql("select count(*) from evergrant.journals where drained_at is null") == [(0,)]


def test_a_line_that_was_not_answered_is_left_out(take: Take, provider: SimulatorControl, sql: Any) -> None:
    provider.add_fault("status", where="token", status=502, ref="b", count=1)
    done = take("a", "b", "c")
    assert (done.code, done.json["imported"]) == (1, 2)
    assert _named(done) == {"b": "the provider did not say whether its refresh token lives (http_502)"}
    assert _refs(sql) == ["a", "c"]


def test_a_provider_that_does_not_answer_ends_the_import_after_three_lines(
    take: Take, provider: SimulatorControl, sql: Any
) -> None:
    provider.add_fault("status", where="token", status=502)
    done = take("a", "b", "c", "d")
    assert (done.code, done.error) == (75, "probe_unclear")
    assert list(_named(done)) == ["a", "b", "c"]
    assert sql("select paused_until is not null from evergrant.valves") == [(True,)]
    assert _refs(sql) == []


def test_a_provider_that_asks_to_wait_is_not_asked_on(take: Take, provider: SimulatorControl, sql: Any) -> None:
    provider.add_fault("status", where="token", status=429, headers={"Retry-After": "60"})
    done = take("a", "b")
    assert (done.code, done.error) == (75, "probe_busy")
    assert len(provider.requests(endpoint="token")) == 1
    assert sql("select paused_until > clock_timestamp() + interval '50 s' from evergrant.valves") == [(True,)]


def test_nothing_is_asked_of_a_paused_client_nor_from_a_copied_database(
    take: Take, connected: Evergrant, provider: SimulatorControl, sql: Any
) -> None:
    connected("clients", "pause", "sim")
    assert take("a").error == "probe_busy"
    connected("clients", "resume", "sim")
    sql("update evergrant.installation set system_identifier = '1'")
    assert "database_unfit" in take("a").err
    assert provider.requests(endpoint="token") == []


def test_nothing_is_asked_where_the_provider_file_forbids_it_or_a_secret_is_missing(
    temple: Evergrant, connected: Evergrant, sql: Any
) -> None:
    line = '{"ref":"a","refresh_token":"rt"}\n'
    done = temple("grants", "import", "-", "--client", "temple", "--probe", "--json", stdin=line)
    assert (done.code, done.error) == (2, "provider")
    temple("clients", "add", "bare", "--provider", "simulator", "--client-id", "x")
    done = temple("grants", "import", "-", "--client", "bare", "--probe", "--json", stdin=line)
    assert (done.code, done.error) == (1, "no_secret")
    assert _refs(sql) == []
