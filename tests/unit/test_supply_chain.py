"""What we ship is known: audited where an index answers, listed in an SBOM, built by actions that nobody can move."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_known_weakness_is_told_with_the_release_that_mends_it() -> None:
    weakness = {"id": "PYSEC-2026-1", "fix_versions": ["2.0.1"]}
    report = {"dependencies": [{"name": "mended", "version": "2.0.0", "vulns": [weakness]}]}

    lines, found = audit().told("a.lock", report)

    assert found
    assert lines[0] == "mended 2.0.0: PYSEC-2026-1, mended in 2.0.1"


def test_where_no_index_answers_it_is_said_and_nothing_fails() -> None:
    skipped = {"dependencies": [{"name": "one", "skip_reason": "not found"}]}

    assert audit().told("a.lock", None) == (["a.lock: not audited, the package index did not answer."], False)
    assert audit().told("a.lock", skipped) == (
        ["a.lock: 0 releases audited, 0 with a known weakness, 1 that nobody knows of."],
        False,
    )


def test_the_sbom_lists_every_pinned_release_with_its_hashes(tmp_path: Path) -> None:
    made = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "requirements.lock", "-o", str(made)]
    subprocess.run([*command, "--of", "JSON"], cwd=ROOT, check=True, capture_output=True)
    listed = {each["name"]: each for each in json.loads(made.read_text())["components"]}

    pinned = re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    assert set(listed) == set(pinned)
    assert all(each["externalReferences"][0]["hashes"] for each in listed.values())


def test_no_action_of_the_forge_is_named_by_a_tag_that_can_be_moved() -> None:
    workflows = list((ROOT / ".github" / "workflows").glob("*.yml"))
    used = [line for each in workflows for line in re.findall(r"uses: (\S+)", each.read_text())]

    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in used)
