"""Clients whose grants have no user: they are added, connected, imported and handed over without one."""

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.control import SimulatorControl
from tests.integration.cli.evergrant import Evergrant
from tests.integration.cli.test_cli_connect import visit


@pytest.fixture
def app(connected: Evergrant) -> Evergrant:
    """The CLI with a second client `app`, the same at the provider, whose grants have no user."""
    shown = connected("clients", "show", "sim", "--json").json
    command = "clients add app --provider simulator --kind client_credentials --client-id simulated-client"
    options = [f"--{name}-url={shown[f'{name}_url']}" for name in ("token", "revoke", "api")]
    done = connected(*command.split(), *options, "--client-secret-file", "-", stdin="simulated-secret")
    assert done.code == 0, done.err
    return connected


def test_a_grant_is_connected_without_a_browser_and_its_token_works(app: Evergrant, provider: SimulatorControl) -> None:
    done = app("grants", "connect", "chain", "--client", "app", "--label", "org=org-1", "--json")

    assert done.json == {"ref": "chain", "client": "app", "generation": 1, "how": "connected"}
    token = app("grants", "token", "chain").out.strip()
    assert provider.judge({"app:simulated-client": token})["app:simulated-client"]["alive"]


def test_it_is_told_of_what_kind_a_client_is(app: Evergrant) -> None:
    shown = app("clients", "show", "app", "--json").json
    assert (shown["kind"], shown["rotation"]) == ("client_credentials", "none")


def test_there_is_no_user_to_send_anywhere_and_it_is_said_what_to_do(app: Evergrant) -> None:
    done = app("grants", "authorize-url", "chain", "--client", "app", "--json")

    assert (done.code, done.error) == (2, "no_user")
    assert "evergrant grants connect chain --client app" in done.err


def test_refused_credentials_are_told_in_one_sentence_and_nothing_is_stored(
    app: Evergrant, provider: SimulatorControl, sql: Any
) -> None:
    provider.create_client("simulated-client", "another")

    done = app("grants", "connect", "chain", "--client", "app", "--json")

    assert (done.code, done.error) == (1, "credentials_refused")
    assert sql("select count(*) from evergrant.grants") == [(0,)]


def test_a_provider_that_is_away_may_be_asked_again(app: Evergrant, provider: SimulatorControl, sql: Any) -> None:
    provider.add_fault("status", where="token", when="before", status=503)

    done = app("grants", "connect", "chain", "--client", "app", "--json")

    assert (done.code, done.error) == (75, "credentials_unheard")
    assert sql("select count(*) from evergrant.grants") == [(0,)]


def test_a_paused_client_is_not_asked(app: Evergrant, provider: SimulatorControl) -> None:
    app("clients", "pause", "app")

    done = app("grants", "connect", "chain", "--client", "app", "--json")

    assert (done.code, done.error) == (1, "credentials_held")
    assert provider.requests(endpoint="token") == []


def test_refs_alone_are_enough_for_an_import_and_each_is_a_grant_of_its_own(app: Evergrant, sql: Any) -> None:
    done = app("grants", "import", "-", "--client", "app", "--json", stdin='{"ref": "a"}\n{"ref": "b"}\n')

    assert done.json["imported"] == 2
    assert sql("select count(distinct refresh_fingerprint) from evergrant.grants") == [(2,)]


def test_what_is_exchanged_needs_its_access_token_alone(connected: Evergrant) -> None:
    connected("clients", "set", "sim", "--kind", "exchange")

    lines = '{"ref": "a", "access_token": "at"}\n{"ref": "b"}\n'
    done = connected("grants", "import", "-", "--client", "sim", stdin=lines)

    assert "line 2 (b): access_token is missing" in done.err
    assert "1 imported" in done.out


def test_a_handover_leaves_the_placeholder_out(app: Evergrant, tmp_path: Path) -> None:
    app("grants", "connect", "chain", "--client", "app")
    out = tmp_path / "leaving.jsonl"

    done = app("grants", "export", "--handover", "--client", "app", "--out", str(out))

    assert done.code == 0, done.err
    line = json.loads(out.read_text())
    assert "refresh_token" not in line
    assert line["access_token"]


def test_where_nothing_rotates_no_grant_is_given_up_to_find_out_how(app: Evergrant, provider: SimulatorControl) -> None:
    app("grants", "connect", "chain", "--client", "app")
    before = len(provider.requests())

    done = app("clients", "probe-rotation", "app", "--ref", "chain", "--yes", "--json")

    assert (done.code, done.error) == (2, "nothing_rotates")
    assert len(provider.requests()) == before


def test_a_probe_says_that_there_is_nothing_to_probe_with(app: Evergrant, provider: SimulatorControl) -> None:
    app("grants", "connect", "chain", "--client", "app")
    before = len(provider.requests())

    assert app("grants", "probe", "chain").code != 0
    assert len(provider.requests()) == before


def test_what_came_for_a_code_is_exchanged_at_once_for_what_lasts(
    connected: Evergrant, provider: SimulatorControl, sql: Any
) -> None:
    """Meta's first token lives for an hour or two."""
    provider.configure(habits={"exchanges_access_tokens": True})
    connected("clients", "set", "sim", "--kind", "exchange")
    callback = visit(connected("grants", "authorize-url", "a", "--client", "sim").out.strip())

    done = connected("grants", "exchange", "a", "--callback-url-file", "-", "--json", stdin=callback)

    assert done.json == {"ref": "a", "client": "sim", "generation": 1, "how": "connected"}
    assert sql("select due_at <= clock_timestamp(), due_at = refreshed_at from evergrant.grants") == [(True, True)]
