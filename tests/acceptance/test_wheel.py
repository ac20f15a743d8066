"""What is released is the wheel: it must hold everything and work where no checkout is."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("evergrant-*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment outside the checkout with the wheel in it; dependencies are lent from our own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    # The real interpreter: one that is itself of an environment may take another for its own (3.11 on Debian).
    make = [os.path.realpath(sys.executable), "-m", "venv", str(folder / "venv")]
    subprocess.run(make, timeout=120, check=True)
    install = [str(folder / "venv" / "bin" / "pip"), "install", "-q", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, cwd=folder, env={"PATH": "/usr/bin:/bin"}, timeout=120, check=True)
    site = sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")})
    Path(site, "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return folder


def evergrant(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "venv" / "bin" / "evergrant"), *arguments]
    env = {"HOME": str(folder), "PATH": "/usr/bin:/bin", **env}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_wheel_holds_the_data_files_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {
        "worker",
        "models",
        "tasks",
        "simulator",
        "settings.py",
        "celeryconfig.py",
    }
    for pattern in (
        "tasks/oauth/providers/*.toml",
        "simulator/http/templates/*.html",
        "alembic/env.py",
        "alembic/versions/*",
    ):
        for file in ROOT.glob(pattern):
            if file.is_file():
                inside = str(file.relative_to(ROOT)).replace("alembic/", "models/_migrations/")
                assert inside in names


def test_the_installed_command_runs_the_installed_code(elsewhere: Path) -> None:
    said = evergrant(elsewhere, "--version")
    assert (said.returncode, said.stdout) == (0, "evergrant 0.1.0\n"), said.stderr
    where = [str(elsewhere / "venv" / "bin" / "python"), "-c", "import worker.cli; print(worker.cli.__file__)"]
    place = subprocess.run(where, cwd=elsewhere, env={}, capture_output=True, text=True, timeout=60, check=True)
    assert place.stdout.startswith(str(elsewhere))


def test_the_installed_command_makes_the_tables(elsewhere: Path, empty_postgres_url: str) -> None:
    said = evergrant(
        elsewhere, "db", "upgrade", EVERGRANT_DATABASE_URL=empty_postgres_url, EVERGRANT_ENVIRONMENT="test"
    )
    assert said.returncode == 0, said.stderr
    with psycopg.connect(empty_postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM evergrant.grants").fetchone() == (0,)


def test_without_any_database_the_installed_command_says_what_to_do(elsewhere: Path) -> None:
    said = evergrant(elsewhere, "grants", "list", EVERGRANT_HOME=str(elsewhere / "nothing"))
    assert said.returncode == 75
    # It is on no path, so that is what can be typed.
    assert f"start `{elsewhere}/venv/bin/evergrant up`, or set EVERGRANT_DATABASE_URL" in said.stderr
    assert not (elsewhere / "nothing").exists()
