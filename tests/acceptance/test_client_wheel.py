"""What other applications install is the client's own wheel: it works where nothing of the service is."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import importlib.metadata, sys
import evergrant_client
from evergrant_client.testing import FakeEvergrant

print(evergrant_client.__file__)
print(importlib.metadata.version("evergrant-client") == evergrant_client.__version__)
ours = ("worker", "tasks", "models", "simulator", "settings")
print([name for name in sys.modules if name.partition(".")[0] in ours])
print(FakeEvergrant({"customer-42": "secret"}).access_token("customer-42").request_headers())
for name in ("requests", "httpx", "httpx2"):
    print(getattr(evergrant_client, name).auth(FakeEvergrant(), "customer-42").__class__.__mro__[1].__module__)
print(evergrant_client.sender("redis://127.0.0.1:1").conf.task_default_queue)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client-dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT / "client", capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("evergrant_client-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it; dependencies are lent from our own, all but the service."""
    folder = tmp_path_factory.mktemp("application")
    make = [os.path.realpath(sys.executable), "-m", "venv", str(folder / "venv")]
    subprocess.run(make, timeout=120, check=True)
    install = [str(folder / "venv" / "bin" / "pip"), "install", "-q", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, cwd=folder, env={"PATH": "/usr/bin:/bin"}, timeout=120, check=True)
    site = sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")})
    # As a path alone: the `.pth` file there that leads to this checkout is not read.
    Path(site, "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return folder / "venv" / "bin" / "python"


def test_the_wheel_holds_the_package_its_types_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        metadata = HeaderParser().parsestr(packed.read("evergrant_client-0.1.0.dist-info/METADATA").decode())
    assert {name.split("/")[0] for name in names} == {"evergrant_client", "evergrant_client-0.1.0.dist-info"}
    sources = {f"evergrant_client/{path.name}" for path in (ROOT / "client" / "evergrant_client").glob("*.py")}
    assert sources | {"evergrant_client/py.typed", "evergrant_client-0.1.0.dist-info/licenses/LICENSE"} <= names
    needs = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert sorted(need.split(">")[0].split("<")[0] for need in needs) == ["cryptography", "psycopg"]
    assert set(metadata.get_all("Provides-Extra", [])) == {"binary", "celery", "httpx", "httpx2", "requests"}
    assert "access_token" in str(metadata.get_payload())


def test_the_installed_package_works_without_the_service(python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(python), "-c", PROGRAM], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    place, *said = done.stdout.splitlines()
    assert Path(place).is_relative_to(python.parents[1])
    assert said == [
        "True",
        "[]",
        "{'Authorization': 'Bearer secret'}",
        "requests.auth",
        "httpx",
        "httpx2",
        "upkeep",
    ]
