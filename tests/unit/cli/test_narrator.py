"""What `evergrant up` tells a person of what its processes do; the log has the whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

import settings
from worker.cli.narrator import Narrator


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "up.log"
    path.touch()
    return path


def told(log: Path, capsys: pytest.CaptureFixture[str], *lines: dict[str, Any]) -> list[str]:
    narrator = Narrator(log)
    for line in lines:
        narrator.tell({"level": "info", **line})
    return capsys.readouterr().out.replace("\r", "").splitlines()


DIED = {"event": "died", "level": "error", "name": "worker-1", "exit_code": 1, "again_in_s": 2.0, "log_from": 0}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("evergrant: This command needs a ring; set it.", "This command needs a ring; set it."),
        (
            json.dumps({"event": "worker.cannot_start", "level": "error", "reason": "no room", "process": "worker"}),
            "no room",
        ),
        (json.dumps({"event": "worker.crashed", "level": "critical", "process": "worker"}), "worker.crashed"),
    ],
)
def test_who_ends_is_told_with_what_it_said_last(
    log: Path, capsys: pytest.CaptureFixture[str], said: str, why: str
) -> None:
    others = [
        json.dumps({"event": "x", "level": "error", "reason": "another's", "process": "beat"}),
        "postgres: LOG",
        "[]",
    ]
    log.write_text("\n".join(["evergrant: Long ago; wait.", said, *others, ""]), encoding="utf-8")
    assert told(log, capsys, DIED) == [f"worker-1 ended (exit code 1) and is started again in 2 s: {why}"]


@pytest.mark.parametrize(
    ("died", "how"),
    [
        ({"name": "worker-1", "exit_code": -9}, "worker-1 ended (killed by signal 9)"),
        ({"name": "postgres", "exit_code": 1}, "postgres ended (exit code 1)"),
        ({"name": "valkey", "exit_code": 1}, "valkey ended (exit code 1)"),
    ],
)
def test_who_was_killed_and_an_engine_have_said_nothing_of_why(
    log: Path, capsys: pytest.CaptureFixture[str], died: dict[str, Any], how: str
) -> None:
    log.write_text("evergrant: Another's sentence; heed it.\n", encoding="utf-8")
    assert told(log, capsys, DIED | died) == [f"{how} and is started again in 2 s: see {log}"]


def test_what_was_said_before_a_process_was_launched_is_not_its_word(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = "evergrant: What ended the start of yesterday; mend it.\n"
    log.write_text(before, encoding="utf-8")
    died = DIED | {"log_from": len(before)}
    assert told(log, capsys, died) == [f"worker-1 ended (exit code 1) and is started again in 2 s: see {log}"]
    with log.open("a", encoding="utf-8") as file:
        file.write("evergrant: What ends it today; mend that.\n")
    assert told(log, capsys, died)[0].endswith(": What ends it today; mend that.")
    log.write_text("evergrant: Said in the emptied log.\n", encoding="utf-8")
    assert told(log, capsys, died)[0].endswith(": Said in the emptied log.")


def test_each_turn_of_a_life_has_a_sentence(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(
        log,
        capsys,
        {
            "event": "settings.unknown_variable",
            "level": "warning",
            "reason": "EVERGRANT_X is no setting",
            "process": "up",
        },
        {
            "event": "database.newer",
            "level": "warning",
            "revision": "0099",
            "remedy": "install the newer release again",
        },
        {"event": "home.copied", "level": "error", "home": "/h", "next": "see `evergrant db adopt`"},
        {"event": "up", "processes": ["postgres", "valkey", "worker-1", "beat"]},
        {"event": "not_ready", "level": "warning", "waits_for": ["beat"], "seconds": 20.4},
        {"event": "not_started", "level": "error", "name": "valkey", "reason": "no room", "again_in_s": 4.0},
        {"event": "restarted", "name": "valkey", "pid": 7},
        {"event": "metrics.served", "url": "http://127.0.0.1:1"},
        {"event": "stopping", "again": "a second signal kills"},
        {"event": "killed", "level": "warning", "processes": ["worker-1"]},
        {"event": "down", "clean": False},
    )
    assert lines == [
        "EVERGRANT_X is no setting.",
        "The database is of a newer release (revision 0099); install the newer release again.",
        "Beware of /h: see `evergrant db adopt`.",
        "PostgreSQL, Valkey, worker-1 and beat are started; waiting until they are at work …",
        f"Not at work yet, after 20 s: beat. What they say: {log}",
        "valkey did not start (no room); tried again in 4 s.",
        "valkey runs again.",
        "Stopping everything, the database last. A second Ctrl-C kills.",
        "Ended by force: worker-1.",
        "Everything has ended, some of it by force.",
    ]


def test_what_ends_before_it_was_up_is_told_by_its_error_alone(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(log, capsys, {"event": "stopping"}, {"event": "down", "clean": True}) == []


def test_who_ends_is_told_also_where_the_log_was_removed(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.unlink()
    assert told(log, capsys, DIED) == [f"worker-1 ended (exit code 1) and is started again in 2 s: see {log}"]


def test_that_it_is_ready_is_told_also_where_the_database_answers_nothing(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = settings.Settings(database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"), home=log.parent)
    monkeypatch.setattr(settings, "_current", [nowhere])
    with capture_logs() as logged:
        lines = told(log, capsys, {"event": "ready", "seconds": 3.0})
    assert lines[0] == "Evergrant is ready."
    assert f"  log   {log}" in lines
    assert any(line.startswith("Next, in another terminal") for line in lines)
    assert any(line.endswith("status --watch") for line in lines)
    assert not any("kept" in line or "clients add" in line for line in lines), "nobody knows how many there are"
    assert [(each["event"], each["log_level"]) for each in logged] == [("glance.failed", "warning")]
    assert logged[0]["exc_info"]
    assert "The database did not answer" in logged[0]["reason"]
