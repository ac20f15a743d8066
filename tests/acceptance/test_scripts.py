"""`run` and `test` on a bare machine: only a Python is there, and what is missing is said in one sentence."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "/usr/bin:/bin"
LOCKS = tuple(f"requirements{kind}.lock" for kind in ("", "-otlp", "-dev", "-bench", "-build"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a clone holds, with no environment in it."""
    folder = tmp_path_factory.mktemp("clone")
    for name in (".ci", "alembic", "models", "simulator", "tasks", "worker"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    names = ("run", "test", "pyproject.toml", "settings.py", "celeryconfig.py", "README.md", "LICENSE", *LOCKS)
    for name in names:
        shutil.copy(ROOT / name, folder / name)
    return folder


def start(checkout: Path, *command: str, path: str = SYSTEM, **env: str) -> subprocess.Popen[str]:
    """Start one of the scripts with an empty environment, from a folder that is not the checkout."""
    env = {"HOME": str(checkout.parent), "PATH": path, "UV_CACHE_DIR": uv_cache(), **env}
    return subprocess.Popen(
        [str(checkout / command[0]), *command[1:]],
        cwd=checkout.parent,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def uv_cache() -> str:
    """The user's own, so that nothing is fetched twice."""
    return os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")


def run(checkout: Path, *command: str, path: str = SYSTEM, **env: str) -> tuple[int, str, str]:
    """Run one of the scripts to its end; exit code, standard output, standard error."""
    env.setdefault("PYTHON", sys.executable)
    with start(checkout, *command, path=path, **env) as process:
        output, errors = process.communicate(timeout=280)
    return process.returncode, output, errors


def test_two_first_runs_at_once_make_one_environment_and_both_work(checkout: Path) -> None:
    python = {"PYTHON": sys.executable}
    with start(checkout, "run", "--version", **python) as one, start(checkout, "run", "--version", **python) as two:
        ends = [process.communicate(timeout=280) for process in (one, two)]
    assert [output for output, _ in ends] == ["evergrant 0.1.0\n"] * 2, ends
    assert "".join(errors for _, errors in ends).count("Making the environment") == 1


def test_the_second_run_says_nothing_of_the_environment(checkout: Path) -> None:
    run(checkout, "run", "--version")
    assert run(checkout, "run", "--version") == (0, "evergrant 0.1.0\n", "")


def test_another_path_makes_no_other_environment(checkout: Path, tmp_path: Path) -> None:
    run(checkout, "run", "--version")
    elsewhere = stand_in(tmp_path / "bin", fails="version_info")
    assert run(checkout, "run", "--version", path=elsewhere, PYTHON="") == (0, "evergrant 0.1.0\n", "")


def test_arguments_arrive_as_they_were_given(checkout: Path) -> None:
    code, _, errors = run(checkout, "run", "no such command", "*")
    assert code == 2
    assert "no such command" in errors


def test_the_environment_is_renewed_when_a_lock_changes_and_mended_when_it_was_cut_off(checkout: Path) -> None:
    run(checkout, "run", "--version")
    environment = checkout / ".venv-run"
    (environment / "ready").unlink()
    assert "Making the environment" in run(checkout, "run", "--version")[2]
    lock = checkout / "requirements.lock"
    lock.write_text(lock.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert "Making the environment" in run(checkout, "run", "--version")[2]


def test_the_test_command_passes_arguments_on_to_pytest_alone(checkout: Path) -> None:
    code, output, errors = run(checkout, "test", "--version")
    assert (code, output) == (0, f"pytest {pytest.__version__}\n"), errors


def stand_in(folder: Path, *, fails: str) -> str:
    """A PATH on which every Python answers no when its code names `fails`."""
    folder.mkdir()
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        (folder / name).write_text(f'#!/bin/sh\ncase "$2" in *{fails}*) exit 1 ;; esac\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    return f"{folder}:{SYSTEM}"


def test_where_every_python_is_too_old_one_sentence_says_so(checkout: Path, tmp_path: Path) -> None:
    code, output, errors = run(checkout, "test", path=stand_in(tmp_path / "bin", fails="version_info"), PYTHON="")
    assert (code, output) == (1, "")
    assert errors == (
        "Evergrant needs Python 3.11 or newer, and there is none here: install it, or set PYTHON to it.\n"
    )


def test_where_the_venv_module_is_missing_one_sentence_says_what_to_install(checkout: Path, tmp_path: Path) -> None:
    code, output, errors = run(checkout, "test", path=stand_in(tmp_path / "bin", fails="ensurepip"), PYTHON="")
    assert (code, output) == (1, "")
    assert errors == (
        "python3 cannot make an environment: install its venv module (Debian, Ubuntu: apt install python3-venv).\n"
    )


def test_where_no_index_is_reached_the_last_line_says_so(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv-run", ignore_errors=True)
    nowhere = "http://127.0.0.1:9/simple"
    code, _, errors = run(
        checkout, "run", "--version", PIP_INDEX_URL=nowhere, UV_DEFAULT_INDEX=nowhere, PIP_NO_CACHE_DIR="1"
    )
    assert code == 1
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].endswith("most often no package index is reached.")


def fingerprint() -> str:
    command = [sys.executable, "-I", str(ROOT / ".ci" / "dependencies.py")]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_is_stale(lock: str) -> None:
    head = (ROOT / lock).read_text(encoding="utf-8")[:300]
    made_of = re.search(r"\(dependencies (\w+)\)", head)
    assert made_of is not None
    assert made_of[1] == fingerprint(), f"{lock} is older than the dependencies in pyproject.toml: run .ci/lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_is_pinned_with_hashes_and_no_lock_names_an_index(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    packages = re.findall(r"^([a-z0-9._-]+)==\S+.*\\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(packages) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    assert "://" not in text
