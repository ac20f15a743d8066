"""Hints name what was started: in a checkout `./run`, an installation off the path its own place."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from worker.cli import run, started
from worker.cli.failures import Failure
from worker.cli.started import as_started

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def in_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(started.VARIABLE, "./run")


@pytest.mark.usefixtures("in_a_checkout")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("start `evergrant up` or `evergrant beat`", "start `./run up` or `./run beat`"),
        ("EVERGRANT_ENVIRONMENT=a evergrant worker", "EVERGRANT_ENVIRONMENT=a ./run worker"),
        ("ask: evergrant grants connect c-1; then wait", "ask: ./run grants connect c-1; then wait"),
        ("Usage: evergrant [OPTIONS] COMMAND", "Usage: ./run [OPTIONS] COMMAND"),
        ("see `evergrant --help`", "see `./run --help`"),
    ],
)
def test_a_command_in_a_hint_can_be_typed(text: str, told: str) -> None:
    assert as_started(text) == told


@pytest.mark.usefixtures("in_a_checkout")
@pytest.mark.parametrize(
    "text",
    [
        "the schema `evergrant`",
        "a role called evergrant",
        "/opt/evergrant up there",
        "evergrant upon",
        "evergrant: The database",
    ],
)
def test_what_is_no_command_stays(text: str) -> None:
    assert as_started(text) == text


@pytest.mark.usefixtures("in_a_checkout")
def test_a_failure_names_it_for_people_and_for_programs() -> None:
    failure = Failure(code="keys", message="No ring", next_step="run `evergrant keys list`")
    assert failure.sentence() == "evergrant: No ring; run `./run keys list`."
    assert "run `./run keys list`." in failure.as_json()


@pytest.mark.usefixtures("in_a_checkout")
def test_help_shows_examples_that_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["grants", "list", "--help"]) == 0
    told = capsys.readouterr().out
    assert "Usage: ./run grants list [OPTIONS]" in told
    assert "\n  ./run grants list --label org=8f2 --json" in told
    assert run(["grants", "lisst"]) == 2
    assert "see `./run grants --help`" in capsys.readouterr().err


def test_an_installation_is_named_by_the_path_that_finds_it_or_by_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin" / "evergrant"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.delenv(started.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "argv", [str(script), "status"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert as_started("evergrant status") == f"{script} status"
    monkeypatch.setenv("PATH", str(script.parent))
    assert as_started("evergrant status") == "evergrant status"


def test_whatever_else_started_us_is_called_evergrant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(started.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "argv", ["/somewhere/worker/cli/__main__.py"])
    assert as_started("evergrant status") == "evergrant status"


@pytest.mark.parametrize(
    ("typed", "folder", "told"),
    [(["./run"], ".", "./run"), (["sh", "run"], ".", "./run"), (["checkout/run"], "..", "checkout/run")],
)
def test_run_of_a_checkout_says_how_it_was_typed(tmp_path: Path, typed: list[str], folder: str, told: str) -> None:
    checkout = tmp_path / "checkout"
    for name, text in {
        ".ci/python.sh": f"PYTHON={sys.executable}\n",
        ".ci/environment.py": "",
        ".venv-run/bin/evergrant": f'#!/bin/sh\necho "${started.VARIABLE}"\n',
    }.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(text, encoding="utf-8")
        (checkout / name).chmod(0o755)
    shutil.copy(ROOT / "run", checkout / "run")
    environment = {name: value for name, value in os.environ.items() if name != started.VARIABLE}
    done = subprocess.run(
        [*typed, "status"], cwd=checkout / folder, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == told
