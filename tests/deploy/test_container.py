"""The image and its compose file: least rights, pinned by hashes, and in step with commands, settings and files."""

import json
import re
import shlex
from importlib.resources import files
from typing import Any

import click
import jsonschema
import pytest

from settings import Settings
from tasks.runtime.runtime import WHOLE_DEADLINE
from tests.deploy.manifests import DEPLOY, documents
from worker.cli import cli

ROOT = DEPLOY.parent
FOLDER = DEPLOY / "container"
DOCKERFILE = re.sub(r"\\\n\s*", " ", (FOLDER / "Dockerfile").read_text(encoding="utf-8"))
STAGES = DOCKERFILE.split("\nFROM ")[1:]
(COMPOSE,) = documents(FOLDER / "compose.yaml")
OURS = ("migrate", "worker", "beat", "web", "admin")
SETTINGS = {f"EVERGRANT_{name.upper()}" for name in Settings.model_fields}


def seconds(length: str) -> int:
    return int(length.removesuffix("s"))


def check_command(words: list[str]) -> None:
    command: click.Command = cli
    for word in words:
        if word.startswith("-"):
            assert any(word in option.opts for option in command.params), word
        else:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), word)
            assert found is not None, words
            command = found


def test_everything_that_is_copied_exists_and_is_let_into_the_build() -> None:
    lines = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--)(.+)$", STAGES[0], re.MULTILINE) for name in line.split()[:-1]}
    assert copied == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_wheel_is_built_of_what_is_copied() -> None:
    read = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wheel = read.partition("[tool.hatch.build.targets.wheel]")[2].partition("[tool.alembic]")[0]
    needed = {name.strip("/") for name in re.findall(r'"(/[\w.]+)"', wheel)} | {"alembic"}
    assert needed <= set(re.findall(r"[\w.]+", STAGES[0]))


def test_nothing_is_installed_but_by_its_hash() -> None:
    for line in re.findall(r"pip install [^&]*", STAGES[0]):
        assert "--require-hashes" in line or "--no-deps /dist/" in line, line
    assert "pip install" not in STAGES[1]


def test_it_runs_as_nobody_in_particular_and_is_looked_at() -> None:
    assert re.search(r"^USER 10001:10001$", STAGES[1], re.MULTILINE)
    assert STAGES[1].index("\nUSER ") > STAGES[1].rindex("\nRUN ")
    entry = json.loads(re.search(r"^ENTRYPOINT (.+)$", STAGES[1], re.MULTILINE)[1])  # type: ignore[index]
    check = json.loads(re.search(r"^HEALTHCHECK .*?CMD (.+)$", STAGES[1], re.MULTILINE)[1])  # type: ignore[index]
    assert entry == ["evergrant"]
    check_command(check[1:])


def test_compose_is_what_its_specification_says() -> None:
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(vendored.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_may_little(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    check_command(service["command"])
    assert set(service["environment"]) <= SETTINGS
    told = {value for value in service["environment"].values() if str(value).startswith("/run/secrets/")}
    handed = {f"/run/secrets/{secret}" for secret in service["secrets"]}
    assert told <= handed
    assert handed - told <= {"/run/secrets/pgpass"}  # within the URL


def test_each_ring_goes_where_it_is_opened_and_nowhere_else() -> None:
    held = {name: {each for each in COMPOSE["services"][name]["secrets"] if each.endswith("_keys")} for name in OURS}
    both = {"refresh_keys", "access_keys"}
    assert held == {"migrate": set(), "beat": set(), "web": {"access_keys"}, "worker": both, "admin": both}


def test_what_runs_waits_for_the_migrations_and_they_for_the_database() -> None:
    services = COMPOSE["services"]
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("worker", "beat", "web"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_each_process_is_asked_how_it_is_and_has_time_to_end() -> None:
    for name in ("worker", "beat", "web"):
        test: list[Any] = COMPOSE["services"][name]["healthcheck"]["test"]
        assert test[2:] == [name, "--check"]
    assert seconds(COMPOSE["services"]["worker"]["stop_grace_period"]) > WHOLE_DEADLINE.total_seconds()


def test_only_this_host_reaches_a_port() -> None:
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    reached = {name for name, each in COMPOSE["services"].items() if "outside" in each["networks"]}
    assert reached == {"worker", "web", "admin"}


def test_every_secret_is_made_by_the_script_and_stays_out_of_the_history() -> None:
    script = (FOLDER / "secrets").read_text(encoding="utf-8")
    for secret in COMPOSE["secrets"].values():
        name = secret["file"].removeprefix("secrets.d/")
        assert re.search(rf"\b{name}\b", script) or (name.endswith("_keys") and "refresh access" in script)
    assert "secrets.d/" in (ROOT / ".gitignore").read_text(encoding="utf-8")
    for line in re.findall(r"keys generate [^\n]*", script):
        words = shlex.split(line.replace('"$1"', "refresh"))
        assert words[:3] == ["keys", "generate", "--ring"]
