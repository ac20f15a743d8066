"""The commands where a provider's API is asked for labels, against a simulated provider over HTTP."""

from pathlib import Path
from typing import Any

import pytest

import settings
from simulator.control import SimulatorControl
from tests.integration.cli.evergrant import Evergrant
from tests.integration.cli.test_cli_connect import visit

ASKED = """
authorize_url = "{base}/oauth/authorize"
token_url = "{base}/oauth/token"
body = "json"
scopes = ["crm_read"]
scope_separator = ","
{more}
"""
LABELS = """labels_url = "{base}/v2/organizations"
labels_at = {{ org = "data.*.attributes.api_org_id" }}"""


@pytest.fixture
def connect(evergrant: Evergrant, provider: SimulatorControl) -> Any:
    """Connect `a` at a provider whose file has these further lines."""

    def carry_out(more: str = LABELS) -> None:
        folder: Path = settings.current().provider_folder
        folder.mkdir(parents=True, exist_ok=True)
        lines = more.format(base=provider.url)
        (folder / "asked.toml").write_text(ASKED.format(base=provider.url, more=lines))
        provider.decide_automatically("allow", user="a")
        command = "clients add sim --provider asked --client-id simulated-client --client-secret-file -"
        assert evergrant(*command.split(), stdin="simulated-secret").code == 0
        url = evergrant("grants", "authorize-url", "a").out.strip()
        done = evergrant("grants", "exchange", "a", "--callback-url-file", "-", stdin=visit(url))
        assert done.code == 0, done.err

    return carry_out


def test_a_consent_leaves_the_question_to_workers_and_show_says_that_it_waits(
    evergrant: Evergrant, provider: SimulatorControl, connect: Any
) -> None:
    connect()
    asked = evergrant("grants", "show", "a", "--json").json["labels_asked"]
    assert (asked["at"], asked["due_at"] is not None) == (None, True)
    assert [row["endpoint"] for row in provider.requests()].count("organizations") == 0


def test_what_came_of_it_is_shown_with_what_to_do(evergrant: Evergrant, connect: Any, sql: Any) -> None:
    connect()
    told = """update evergrant.asked_labels set due_at = null, answered_at = clock_timestamp(),
        told = '{"code": "http_404", "kept": [], "next": "evergrant grants set a --label org=VALUE"}'"""
    sql(told)
    asked = evergrant("grants", "show", "a", "--json").json["labels_asked"]
    assert (asked["code"], asked["due_at"], asked["at"] is not None) == ("http_404", None, True)
    assert "evergrant grants set a --label org=VALUE" in evergrant("grants", "show", "a").out.replace("\n", " ")


def test_it_is_asked_once_more_where_an_operator_wants_it(evergrant: Evergrant, connect: Any, sql: Any) -> None:
    connect()
    sql("update evergrant.asked_labels set due_at = null, tries = 4")
    done = evergrant("grants", "set", "a", "--label", "org=", "--ask-labels")
    assert done.code == 0, done.err
    assert sql("select due_at is not null, tries from evergrant.asked_labels") == [(True, 0)]


def test_a_provider_file_without_an_address_is_named_in_one_sentence(
    evergrant: Evergrant, connect: Any, sql: Any
) -> None:
    connect("")
    done = evergrant("grants", "set", "a", "--label", "org=x", "--ask-labels")
    assert done.code == 2
    assert "The provider file asked names no address to ask for labels" in done.err
    assert "write labels_url and labels_at into it" in done.err
    assert evergrant("grants", "show", "a", "--json").json["labels"] == {}
    assert "labels_asked" not in evergrant("grants", "show", "a", "--json").json
    assert sql("select count(*) from evergrant.asked_labels") == [(0,)]
