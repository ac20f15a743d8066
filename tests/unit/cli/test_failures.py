"""Failures: whatever happens, one sentence, what to do next, and the right exit code."""

import json
import re
import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from pkgutil import walk_packages

import click
import psycopg
import pytest
from sqlalchemy.exc import InternalError, OperationalError, ProgrammingError

import settings
from models import database
from models.errors import Told
from worker.cli import run
from worker.cli.failures import ExitCode, Failure, misuse
from worker.cli.translations import EXIT_CODES, FOREIGN, translate
from worker.embedded.errors import HomeForeign
from worker.embedded.home import Home
from worker.embedded.lock import holder

ROOT = Path(__file__).resolve().parents[3]


OURS = ("settings", "models", "tasks", "worker.embedded")
# What never reaches a command, and who meets it.
INNER = {
    "models.application_requests.NotAsked": "the token interface",
    "models.installation.NotDurable": "the start of a worker, which logs it",
    "tasks.oauth.answer_size.TooLarge": "the transport, whose answers are values",
    "tasks.oauth.public_hosts.PrivateHost": "the transport, whose answers are values",
    "tasks.oauth.transport._Broken": "the transport, whose answers are values",
    "tasks.oauth.transport._Refused": "the transport, whose answers are values",
    "tasks.revocation_requests.NotYet": "the revocation that looks",
    "tasks.revocation_requests.NoSlot": "the revocation that looks",
    "tasks.runtime.runtime.AlreadyStarted": "whoever writes a process that begins twice",
    "tasks.runtime.runtime.NotStarted": "whoever runs a task in a process that is no worker",
    "tasks.probes.rotation.BrokenOff": "the probe, whose finding tells why",
    "tasks.probes.imported.ProbeHeld": "the sieve of an import",
}


def exceptions() -> dict[str, type[Exception]]:
    """Every class of exception that is ours, by name."""
    names = list(OURS)
    for name in OURS[1:]:
        names += [each.name for each in walk_packages(import_module(name).__path__, f"{name}.")]
    found = [each for name in names for each in vars(import_module(name)).values() if isinstance(each, type)]
    return {
        f"{each.__module__}.{each.__qualname__}": each
        for each in found
        if issubclass(each, Exception) and each.__module__ in names
    }


EXCEPTIONS = exceptions()
TOLD = {name: kind for name, kind in EXCEPTIONS.items() if name not in INNER and not kind.__subclasses__()}


def test_what_never_reaches_a_command_exists() -> None:
    assert INNER.keys() <= EXCEPTIONS.keys()


@pytest.mark.parametrize("name", TOLD)
def test_every_exception_of_ours_says_itself(name: str) -> None:
    told = TOLD[name]
    assert told.__doc__
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", getattr(told, "error", "")), "it has no code"
    # The docstring of an embedded engine's error holds both, with a semicolon between them.
    assert getattr(told, "next", "") or "; " in told.__doc__, "it does not say what to do"


def _made(kind: type[Exception]) -> Exception:
    """One of them, with facts of the kinds that it takes."""
    facts = [each for each in signature(kind).parameters.values() if each.kind is not each.VAR_KEYWORD]
    texts = {"ref": "a", "refs": ["a", "b"], "clients": ["x", "y"], "known": ["x"], "revocation_id": 7}
    keywords = {each.name: texts.get(each.name, each.name) for each in facts if each.kind is each.KEYWORD_ONLY}
    return kind(*(texts.get(each.name, each.name) for each in facts if each.name not in keywords), **keywords)


@pytest.mark.parametrize("name", [name for name, kind in TOLD.items() if issubclass(kind, Told)])
def test_what_is_told_leaves_no_fact_out(name: str) -> None:
    failure = translate(_made(TOLD[name]))
    assert failure.code == TOLD[name].error  # type: ignore[attr-defined]  # it is one of Told
    assert failure.message[:1].isupper()
    assert "{" not in failure.sentence()
    assert "None" not in failure.sentence()


def test_every_exit_code_is_of_an_error_that_exists() -> None:
    errors = {getattr(kind, "error", None) for kind in EXCEPTIONS.values()}
    assert set().union(*EXIT_CODES.values()) <= errors


@pytest.mark.parametrize("name", FOREIGN)
def test_every_exception_that_is_translated_exists(name: str) -> None:
    module, _, kind = name.rpartition(".")
    found = getattr(import_module(module), kind)
    assert issubclass(found, BaseException)
    assert f"{found.__module__}.{found.__qualname__}" == name


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
    assert (
        "start `evergrant up`, or set EVERGRANT_DATABASE_URL, or EVERGRANT_HOME to the home" in capsys.readouterr().err
    )
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


@pytest.mark.parametrize(
    ("state", "code"),
    [("25006", "database_read_only"), ("25P03", "database_away"), ("25P02", "internal")],
)
def test_a_transaction_that_may_not_write_or_was_left_open_is_told(state: str, code: str) -> None:
    told = translate(InternalError("select 1", {}, _Refused(state)))
    assert told.code == code
    assert (told.exit_code == ExitCode.TRY_AGAIN) == (code != "internal")


@pytest.mark.parametrize(
    "said",
    [
        "connection failed: FATAL:  sorry, too many clients already",
        'connection failed: FATAL:  too many connections for role "evergrant_worker"',
        "connection failed: FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
    ],
)
def test_a_database_that_lets_nobody_more_in_is_not_told_to_be_started(said: str) -> None:
    told = translate(psycopg.OperationalError(said))
    assert (told.code, told.exit_code) == ("database_away", ExitCode.TRY_AGAIN)
    assert "no connection left" in told.message
    assert "see that it runs" not in told.next_step


@pytest.mark.parametrize("tail", ["target_session_attr=read-write", "target_session_attrs=rw"])
def test_what_libpq_does_not_understand_of_a_url_is_misuse(tail: str) -> None:
    with pytest.raises((OperationalError, ProgrammingError)) as caught:
        database.connect(f"postgresql://a:hunter2@127.0.0.1:1/b?{tail}").connect()
    told = translate(caught.value)
    assert (told.code, told.exit_code) == ("settings", ExitCode.USAGE)
    assert "EVERGRANT_DATABASE_URL" in told.message
    assert "hunter2" not in told.sentence()


@pytest.mark.parametrize(("encoding", "says"), [("utf-8", "was typed"), ("latin-1", "The terminal's encoding")])
def test_what_cannot_be_written_as_text_is_told_without_a_value(encoding: str, says: str) -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        "hunter\udcff2\u2192".encode(encoding)
    told = translate(caught.value)
    assert (told.code, told.exit_code) == ("usage", ExitCode.USAGE)
    assert says in told.message
    assert "hunter" not in told.sentence()


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


@pytest.mark.parametrize(
    "said",
    [
        'connection failed: FATAL:  password authentication failed for user "evergrant"',
        'connection failed: FATAL:  role "nobody" does not exist',
        'connection failed: FATAL:  database "elsewhere" does not exist',
        "connection failed: FATAL:  no pg_hba.conf entry for host",
    ],
)
def test_a_login_that_is_refused_is_no_server_that_is_away(said: str) -> None:
    refused = translate(psycopg.OperationalError(said))
    assert (refused.code, refused.exit_code) == ("database_refused", ExitCode.USAGE)
    away = translate(psycopg.OperationalError("connection failed: Connection refused"))
    assert (away.code, away.exit_code) == ("database_away", ExitCode.TRY_AGAIN)


def test_whose_a_home_is_that_one_may_not_enter_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object, **__: object) -> int:
        raise PermissionError

    monkeypatch.setattr("worker.embedded.lock.os.open", refused)
    with pytest.raises(HomeForeign, match=f"belongs to {tmp_path.owner()} and is closed to others") as told:
        holder(Home(tmp_path))
    assert "another EVERGRANT_HOME" in translate(told.value).next_step
