"""The page about the audit says what the code does."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from models.sealing.vault import KeyRing, Vault
from worker.audit import collector
from worker.audit.trail import LONGEST_LINE, MEMBERS, hashed
from worker.cli.audited import TOLD
from worker.web.audited import NOT_NOTED
from worker.web.token_interface import TokenInterface
from worker.web.traffic import Traffic

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "audit.md").read_text(encoding="utf-8")


def test_the_page_has_every_member_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted(MEMBERS)


def test_what_commands_tell_are_members() -> None:
    assert set(TOLD) <= set(MEMBERS)


def test_the_script_finds_the_hash_of_a_token(tmp_path: Path) -> None:
    script = re.search(r"```python\n(.+?)```", PAGE, re.DOTALL)
    assert script is not None
    ring = f"# a remark\n{KeyRing.generate_line('a2')}\n{KeyRing.generate_line('a1')}\n"
    (tmp_path / "ring").write_text(ring, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", script[1], str(tmp_path / "ring")],
        input="the-token\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    first, second = done.stdout.splitlines()
    vault = Vault(refresh=None, access=KeyRing.parse(ring))
    assert first == hashed(vault, "the-token", purpose="access")
    assert second.startswith("a1:")


def test_every_route_that_needs_a_key_is_noted_but_those_that_hurry_a_refresh() -> None:
    nothing: Any = None
    app = TokenInterface(nothing, nothing, nothing, nothing, tickets=nothing).application(Traffic(CollectorRegistry()))
    routes = {route.resource.canonical for route in app.router.routes() if route.resource is not None}
    without_key = {"/v1/notices/{client}", "/openapi.json"}
    assert routes >= NOT_NOTED
    assert routes - NOT_NOTED - without_key == {
        *("/v1/grants/{ref}/token", "/v1/grants/{ref}/revocation", "/v1/grants/{ref}/connect")
    }, "a new route is noted by itself; see that docs/reference/audit.md names what it hands out or changes"


def test_numbers_are_told_as_they_are() -> None:
    assert f"less than {LONGEST_LINE} bytes" in PAGE
    assert collector.PATIENCE_SECONDS == 0.25
    assert "a quarter of a second" in PAGE
