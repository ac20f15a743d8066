"""Failures: whatever happens, one sentence, what to do next, and the right exit code."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

import settings
from worker.cli import run
from worker.cli.failures import ExitCode, Failure, misuse
from worker.cli.translations import CONNECT, TRANSLATIONS, translate

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_every_exception_that_is_translated_exists(name: str) -> None:
    module, _, kind = name.rpartition(".")
    found = getattr(import_module(module), kind)
    assert issubclass(found, BaseException)
    assert f"{found.__module__}.{found.__qualname__}" == name


def test_every_error_of_a_code_flow_has_its_own_sentence() -> None:
    errors = import_module("tasks.connect_errors")
    consent = import_module("tasks.settling.consent")
    kinds = {kind.__name__ for base in (errors.ConnectError, consent.ConsentError) for kind in base.__subclasses__()}
    assert kinds == set(CONNECT)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Let `evergrant keys list` raise what the test puts in here."""
    errors: list[BaseException] = []

    def explode() -> None:
        raise errors[0]

    monkeypatch.setattr("worker.cli.keyrings.vault", explode)
    return errors


def test_a_failure_is_one_line_on_standard_error_and_its_exit_code(
    broken: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    broken.append(Failure(code="x", message="It rained.", next_step="take an umbrella.", exit_code=ExitCode.HUMAN))
    assert run(["keys", "list"]) == 3
    assert capsys.readouterr() == ("", "evergrant: It rained; take an umbrella.\n")


def test_under_json_a_failure_is_one_object(broken: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    broken.append(misuse(message="It rained", next_step="take an umbrella", code="rain"))
    assert run(["keys", "list", "--json"]) == 2
    told = json.loads(capsys.readouterr().err)
    assert told == {"error": "rain", "message": "It rained.", "next": "take an umbrella."}


def test_an_unexpected_exception_names_its_place_and_repeats_no_value(
    broken: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    broken.append(RuntimeError("rt-very-secret"))
    assert run(["keys", "list"]) == 1
    told = capsys.readouterr().err
    assert "RuntimeError" in told
    assert "rt-very-secret" not in told
    assert "Traceback" not in told


def test_ctrl_c_ends_quietly(broken: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    broken.append(KeyboardInterrupt())
    assert run(["keys", "list"]) == 130
    assert capsys.readouterr().err.startswith("evergrant: Interrupted;")


def test_a_database_that_is_away_means_try_again() -> None:
    told = translate(OperationalError("select 1", {}, Exception("connection refused\nmore")))
    assert told.exit_code == 75
    assert "connection refused" in told.message
    assert "\n" not in told.sentence()


@pytest.mark.parametrize("command", ["status", "grants list", "plan", "worker", "worker --check"])
def test_engines_that_do_not_run_are_a_database_that_is_away(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = settings.Settings(home=tmp_path / "nothing", database_url=None, broker_url=None)
    monkeypatch.setattr("settings._current", [nothing])
    assert run(command.split()) == 75
    assert "start `evergrant up`, or set EVERGRANT_DATABASE_URL" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


class _Refused(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("refused")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "code"), [("42P01", "schema_behind"), ("42501", "not_permitted"), ("22000", "internal")]
)
def test_what_the_database_refuses_is_told_by_its_sqlstate(state: str, code: str) -> None:
    assert translate(ProgrammingError("select 1", {}, _Refused(state))).code == code


def test_a_wrong_option_points_to_the_help_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["grants", "list", "--nonsense"]) == 2
    assert "see `evergrant grants list --help`" in capsys.readouterr().err


def test_an_answer_of_no_does_nothing_and_fails() -> None:
    assert translate(click.Abort()).exit_code == 1


def test_a_full_disk_is_told_in_a_sentence_and_nothing_else() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "worker.cli", "providers", "list", "--json"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={"PYTHONPATH": str(ROOT)},
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr
