"""The alerts of deploy/prometheus: each fires in a test of promtool's, asks for what we tell, and has its section."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.metrics_named import on_the_page, unknown
from tests.unit.test_docs_links import check_command_line, headings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RUNBOOK = "docs/howto/when-an-alert-fires.md"
GROUPS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
TOOL = shutil.which("promtool")
asks_promtool = pytest.mark.skipif(TOOL is None, reason="no promtool here to ask (Debian: apt install prometheus)")


@asks_promtool
@pytest.mark.parametrize("asked", [("check", "rules", "rules.yaml"), ("test", "rules", "rules_test.yaml")])
def test_promtool_takes_the_rules_and_sees_each_alert_fire_and_none_while_all_is_well(asked: tuple[str, ...]) -> None:
    said = subprocess.run([str(TOOL), *asked], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_there_is_a_case_in_which_each_alert_fires() -> None:
    cases = yaml.safe_load((FOLDER / "rules_test.yaml").read_text(encoding="utf-8"))["tests"]
    fires = [asked["alertname"] for case in cases for asked in case.get("alert_rule_test", ()) if asked["exp_alerts"]]
    assert fires == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_metrics_that_we_tell(name: str) -> None:
    assert "evergrant_" in ALERTS[name]["expr"]
    assert unknown(ALERTS[name]["expr"]) == []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_where_its_section_is(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("page", "ticket")
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert (page, anchor) == (RUNBOOK, name.lower())
    assert anchor in headings(ROOT / page)


def test_the_page_has_no_section_of_an_alert_that_is_not_there() -> None:
    sections = set(re.findall(r"^### (Evergrant\w+)$", (ROOT / RUNBOOK).read_text(encoding="utf-8"), re.MULTILINE))
    assert sections == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_the_first_thing_to_type_is_a_command_that_exists(name: str) -> None:
    told = re.sub(r"\{\{.*?\}\}", "X", ALERTS[name]["annotations"]["next"])
    for command in re.findall(r"\bevergrant [a-z][^;,]*", told):
        check_command_line(command)


def test_whatever_the_page_of_metrics_worries_about_has_an_alert() -> None:
    named = " ".join(alert["expr"] for alert in ALERTS.values())
    # Told in the place that is named, or of no use by itself.
    elsewhere = {
        "evergrant_due": "EvergrantTokensLate",
        "evergrant_under_way": "a burst that is used up makes grants late",
        "evergrant_access_tokens_ending": "EvergrantRunwaySmall",
        "evergrant_web_request_seconds": "waiting is asked for",
        "evergrant_web_connections": "EvergrantWebFull",
        "evergrant_web_waiting": "EvergrantTokensLate",
        "evergrant_life_left_at_commit_seconds": "EvergrantTokensLapsed",
        "evergrant_refresh_lateness_seconds": "EvergrantTokensLate",
        "evergrant_revocation_seconds": "EvergrantRevocationsStuck",
        "evergrant_claims_total": "EvergrantTokensLate",
        "evergrant_webhook_queued": "EvergrantWebhookBehind",
        "evergrant_webhook_deliveries_total": "EvergrantWebhookBehind",
        "evergrant_webhook_delivery_seconds": "EvergrantWebhookBehind",
        "evergrant_visits_waiting": "EvergrantCustomersWait",
        "evergrant_visit_seconds": "EvergrantCustomersWait",
    }
    assert set(elsewhere.values()) & set(ALERTS) <= set(ALERTS)
    told = {re.sub(r"_(bucket|sum|count)$", "", name) for name in on_the_page()}
    assert {name for name in told if not re.search(rf"\b{name}\b", named)} == set(elsewhere)
