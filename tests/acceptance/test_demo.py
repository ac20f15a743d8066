"""`evergrant demo` from outside: what it tells, what it counts, and that nothing of it is left behind."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import ROOT, environment
from tests.polling import eventually


@contextmanager
def demo(folder: Path, *arguments: str, under: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """A demo that runs from another folder, with its throw-away home under `folder`."""
    (folder / "elsewhere").mkdir()
    (folder / "homes").mkdir()
    running = subprocess.Popen(
        [*under, sys.executable, "-m", "worker.cli", "demo", *arguments],
        cwd=folder / "elsewhere",
        env=environment({"TMPDIR": str(folder / "homes"), "PYTHONPATH": str(ROOT)}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes whose environment or arguments name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            facts = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder / "homes").encode() in facts and process.name != str(os.getpid()):
            found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def nothing_is_left(folder: Path) -> bool:
    eventually(lambda: processes_of(folder) == [], timeout=20)
    return list((folder / "homes").iterdir()) == []


def read_until(running: subprocess.Popen[str], sentence: str) -> None:
    assert running.stdout is not None
    read = []
    for line in running.stdout:
        read.append(line)
        if sentence in line:
            return
    pytest.fail(f"{sentence!r} was not in {''.join(read)}{running.stderr.read() if running.stderr else ''}")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A short demo in a process of its own, to its end: what it told with --json."""
    folder = tmp_path_factory.mktemp("demo")
    with demo(folder, "--json", "--seconds", "45", "--grants", "30") as running:
        output, errors = running.communicate(timeout=280)
    assert running.returncode == 0, output + errors
    assert errors == ""
    assert nothing_is_left(folder)
    return [json.loads(line) for line in output.splitlines()]


def test_evergrant_loses_no_grant_through_every_fault(told: list[dict[str, Any]]) -> None:
    ours = told[-1]["evergrant"]
    assert (ours["lost"], ours["lost_refs"], ours["used_twice"]) == (0, {}, 0)
    assert ours["refreshes"] > 30


def test_the_job_that_most_teams_write_renews_as_well_and_loses_what_the_database_forgot(
    told: list[dict[str, Any]],
) -> None:
    usual = told[-1]["usual_job"]
    assert usual["refreshes"] > 30
    assert usual["lost"] > 0
    assert set(usual["lost_refs"].values()) == {"dead at the provider"}


def test_evergrant_sees_through_a_revocation_that_did_nothing(told: list[dict[str, Any]]) -> None:
    assert told[-1]["usual_job"]["revoked_but_alive"] == 3
    assert told[-1]["evergrant"]["revoked_but_alive"] == 0


def test_whom_their_users_revoked_both_sides_give_up_and_evergrant_has_a_dead_letter_for_each(
    told: list[dict[str, Any]],
) -> None:
    assert told[-1]["usual_job"]["given_up_rightly"] == told[-1]["evergrant"]["given_up_rightly"] == 2
    assert {letter["ref"] for letter in told[-1]["dead_letters"]} == {"customer-1", "customer-2"}


def test_each_fault_is_announced_before_the_summary_and_samples_stand_between(told: list[dict[str, Any]]) -> None:
    announced = " ".join(line["text"] for line in told if line["event"] == "announce")
    places = [announced.find(word) for word in ("revoke their", "kill -9", "503", "broker", "secret", "database")]
    assert -1 not in places
    assert places == sorted(places)
    # The first sample is of both sides before anything befell them, however slow the machine is.
    first = next(number for number, line in enumerate(told) if line["event"] == "sample")
    assert told[first]["evergrant"]["active"] == told[first]["usual_job"]["active"] == 30
    assert "revoke their" not in str(told[:first])
    assert told[-1]["event"] == "summary"
    assert len(told[-1]["next"]) == 3


def test_each_fault_has_its_outcome_on_both_sides(told: list[dict[str, Any]]) -> None:
    announced = [line["text"] for line in told if line["event"] == "announce"]
    outcomes = [text for text in announced if re.search(r": usual job \d+, Evergrant \d+\.", text)]
    begun = (
        "Given up so far",
        "Both workers run",
        "The provider is well",
        "Both find",
        "The secret is right",
        "Revoked",
    )
    assert [any(text.startswith(each) for text in outcomes) for each in (*begun, "The database is back")] == [True] * 7
    assert f"usual job {told[-1]['usual_job']['lost']}, Evergrant 0." in outcomes[-1]


def test_at_its_shortest_evergrant_serves_its_applications_no_worse(told: list[dict[str, Any]]) -> None:
    """A fault that comes before the one before it is over would be told as ours, whose valve is still shut."""
    assert told[-1]["evergrant"]["api_failed"] <= told[-1]["usual_job"]["api_failed"] + 2


@pytest.mark.parametrize(
    ("sentence", "number"), [("Starting PostgreSQL", signal.SIGTERM), ("All is well", signal.SIGINT)]
)
def test_stopped_at_any_time_it_says_so_and_leaves_nothing_behind(
    tmp_path: Path, sentence: str, number: signal.Signals
) -> None:
    with demo(tmp_path, "--grants", "10") as running:
        read_until(running, sentence)
        running.send_signal(number)
        _, errors = running.communicate(timeout=120)
    assert running.returncode == 130
    assert errors == "evergrant: The demo was stopped, and nothing of it is left; run it again when you like.\n"
    assert nothing_is_left(tmp_path)


def test_it_leaves_nothing_behind_when_its_reader_goes_away(tmp_path: Path) -> None:
    with demo(tmp_path, "--grants", "10") as running:
        read_until(running, "Lives of seconds")
        assert running.stdout is not None
        running.stdout.close()
        running.wait(timeout=120)
    assert running.returncode == 141
    assert nothing_is_left(tmp_path)


def test_an_engine_that_cannot_start_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    # No file may grow beyond 4 MB: smaller than the first segment of PostgreSQL's log, so that it cannot begin.
    with demo(tmp_path, "--grants", "10", under=("prlimit", f"--fsize={4 << 20}")) as running:
        _, errors = running.communicate(timeout=120)
    assert running.returncode != 0
    assert errors.count("\n") == 1
    assert "Traceback" not in errors
    assert nothing_is_left(tmp_path)
