"""The units of deploy/systemd: options that exist, hardened, and in step with what our processes do."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from settings import Settings
from tasks.runtime.runtime import WHOLE_DEADLINE
from worker.cli import cli
from worker.embedded import supervisor

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
PROGRAM = "/opt/evergrant/bin/evergrant"
MOST_EXPOSURE = 2.0
NEEDED = 254  # RestartSteps=
TOOL = shutil.which("systemd-analyze")

# What systemd 254 and later know, of what we use: the check where there is no systemd to ask.
OPTIONS = {
    "Unit": "Description After Before Wants PartOf StartLimitIntervalSec",
    "Install": "WantedBy DefaultInstance",
    "Service": """
        Type NotifyAccess User Group EnvironmentFile Environment LoadCredential StateDirectory StateDirectoryMode
        RuntimeDirectory RuntimeDirectoryMode ExecStart TimeoutStartSec TimeoutStopSec WatchdogSec
        Restart RestartSec RestartSteps RestartMaxDelaySec RestartPreventExitStatus KillMode OOMPolicy
        LimitNOFILE MemoryHigh MemoryMax TasksMax UMask
        NoNewPrivileges CapabilityBoundingSet AmbientCapabilities ProtectSystem ProtectHome PrivateTmp PrivateDevices
        PrivateUsers PrivateIPC PrivateMounts ProtectHostname ProtectClock ProtectKernelTunables ProtectKernelModules
        ProtectKernelLogs ProtectControlGroups ProtectProc RestrictAddressFamilies RestrictNamespaces RestrictRealtime
        RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute RemoveIPC KeyringMode DevicePolicy
        SystemCallArchitectures SystemCallFilter SystemCallErrorNumber
    """,
}


def _version() -> int:
    """Of the systemd that is here; 0: there is none."""
    if TOOL is None:
        return 0
    said = subprocess.run([TOOL, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else 0


asks_systemd = pytest.mark.skipif(
    _version() < NEEDED, reason=f"no systemd-analyze {NEEDED} or newer here to ask (Debian 13, Ubuntu 24.04 have it)"
)


def _name(path: Path) -> str:
    return path.name


def options(unit: Path) -> Iterator[tuple[str, str, str]]:
    """Section, name and value of each option of a unit."""
    section = ""
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield section, name, value


def value(unit: Path, name: str) -> str:
    """What a unit's option says, the last time that it is named."""
    return [found for _, option, found in options(unit) if option == name][-1]


def test_there_is_a_unit_for_each_process_and_for_the_migrations() -> None:
    assert [path.name for path in SERVICES] == [
        "evergrant-beat.service",
        "evergrant-migrate.service",
        "evergrant-web.service",
        "evergrant-worker@.service",
    ]


@pytest.mark.parametrize("unit", [*SERVICES, UNITS / "evergrant.target"], ids=_name)
def test_every_option_exists_and_stands_in_its_section(unit: Path) -> None:
    for section, name, _ in options(unit):
        assert name in OPTIONS[section].split(), f"[{section}] {name}"


@asks_systemd
def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    # Whether the program lies where the units say is not asked here.
    for unit in [*SERVICES, UNITS / "evergrant.target"]:
        text = unit.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true")
        (tmp_path / unit.name.replace("@", "@1")).write_text(text, encoding="utf-8")
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    assert TOOL is not None
    asked = [TOOL, "verify", "--man=no", "--recursive-errors=no", *units]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, [line for line in said.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


@asks_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=_name)
def test_a_unit_is_hardened(unit: Path) -> None:
    assert TOOL is not None
    asked = [TOOL, "security", "--offline=true", "--no-pager", str(unit)]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout
    exposure = re.search(r"exposure level for .*: ([\d.]+)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= MOST_EXPOSURE, said


@pytest.mark.parametrize("unit", SERVICES, ids=_name)
def test_a_unit_starts_a_command_that_exists(unit: Path) -> None:
    program, *words = value(unit, "ExecStart").split()
    assert program == PROGRAM
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, word
        command = found


@pytest.mark.parametrize("kind", ["worker@", "web"])
def test_whoever_opens_tokens_is_handed_its_rings(kind: str) -> None:
    unit = UNITS / f"evergrant-{kind}.service"
    handed = {found.partition(":")[0] for _, name, found in options(unit) if name == "LoadCredential"}
    told = {found.partition("=%d/")[2] for _, name, found in options(unit) if "TOKEN_KEYS_FILE" in found}
    assert handed == told == ({"refresh-keys", "access-keys"} if kind == "worker@" else {"access-keys"})


@pytest.mark.parametrize("kind", ["beat", "migrate"])
def test_whoever_opens_none_is_handed_no_ring(kind: str) -> None:
    assert "KEYS" not in (UNITS / f"evergrant-{kind}.service").read_text(encoding="utf-8")


def test_a_stop_waits_for_the_last_answers() -> None:
    worker = int(value(UNITS / "evergrant-worker@.service", "TimeoutStopSec"))
    assert worker > WHOLE_DEADLINE.total_seconds()
    assert worker > Settings().http_deadline_seconds + supervisor._SETTLE_SECONDS
    web = int(value(UNITS / "evergrant-web.service", "TimeoutStopSec"))
    assert web > supervisor._WEB_GRACE_SECONDS


def test_a_worker_may_open_a_socket_for_each_request_under_way() -> None:
    assert int(value(UNITS / "evergrant-worker@.service", "LimitNOFILE")) > 4 * Settings().in_flight


def test_the_example_of_the_environment_holds_settings_that_exist() -> None:
    text = (UNITS / "evergrant.env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#?(EVERGRANT_\w+)=", text, re.MULTILINE))
    assert named <= {f"EVERGRANT_{name.upper()}" for name in Settings.model_fields}
    assert {"EVERGRANT_DATABASE_URL", "EVERGRANT_BROKER_URL", "EVERGRANT_ENVIRONMENT"} <= named
