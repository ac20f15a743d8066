"""Ask the package index which of our pinned dependencies have known weaknesses; `./test` runs it.

    python .ci/audit.py requirements.lock …

Exit 1: some have, each with its advisory and the release that mends it. Where no index answers that knows of
weaknesses (a mirror seldom does, and some machines reach none) nothing was audited: that is said, and is no failure.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PATIENCE = 180  # s, for all of them


def main(locks: list[str]) -> int:
    """Audit what is pinned in these locks; returns the exit code."""
    said = ask(locks)
    code = 0
    for lock, report in said.items():
        sentences, found = told(lock, report)
        print("\n".join(sentences))
        code = max(code, int(found))
    return code


def ask(locks: list[str]) -> dict[str, dict[str, Any] | None]:
    """What the index says of each lock; None: it could not be asked."""
    tool = Path(sys.executable).with_name("pip-audit")
    asked = [str(tool), "--disable-pip", "--require-hashes", "--timeout", "15", "--progress-spinner", "off"]
    answers: dict[str, dict[str, Any] | None] = {}
    for lock in locks:
        try:
            done = subprocess.run(
                [*asked, "-f", "json", "-r", lock], capture_output=True, text=True, timeout=PATIENCE, check=False
            )
            answers[lock] = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, ValueError):
            answers[lock] = None
    return answers


def told(lock: str, report: dict[str, Any] | None) -> tuple[list[str], bool]:
    """Lines for a person, and whether a weakness is known."""
    if report is None:
        return [f"{lock}: not audited, the package index did not answer."], False
    releases = report["dependencies"]
    weak = [each for each in releases if each.get("vulns")]
    skipped = sum("skip_reason" in each for each in releases)
    lines = [_line(each, weakness) for each in weak for weakness in each["vulns"]]
    known = len(releases) - skipped
    lines.append(
        f"{lock}: {known} releases audited, {len(weak)} with a known weakness, {skipped} that nobody knows of."
    )
    return lines, bool(weak)


def _line(release: dict[str, Any], weakness: dict[str, Any]) -> str:
    mended = ", ".join(weakness["fix_versions"]) or "no release yet"
    return f"{release['name']} {release['version']}: {weakness['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
