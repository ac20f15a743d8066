"""`evergrant providers`: what a person sees that a program does not."""

import json
from pathlib import Path

import pytest

import settings
from tasks.oauth.provider import BUNDLED as FILES
from worker.cli import output, run


def test_a_person_is_told_that_there_are_more_providers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)

    assert run(["providers", "list"]) == 0
    assert "more: evergrant providers list --all" in capsys.readouterr().err
    assert run(["providers", "list", "--all"]) == 0
    assert "more:" not in capsys.readouterr().err


def test_one_bad_file_is_named_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text("token_url = 7")
    (tmp_path / "good.toml").write_text((FILES / "generic.toml").read_text(encoding="utf-8"))
    monkeypatch.setattr(settings, "_current", [settings.Settings(providers=tmp_path)])
    assert run(["providers", "list", "--json"]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["name"] for each in told} >= {"good", "generic", "bad"}
    (bad,) = [each for each in told if each["fault"]]
    assert bad["name"] == "bad"
    assert "token_url" in bad["fault"]
    assert run(["providers", "list"]) == 1
    shown = capsys.readouterr()
    assert "good" in shown.out
    assert "bad cannot be used: " in shown.err


def test_a_program_is_told_the_list_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["providers", "list"]) == 0
    assert capsys.readouterr().err == ""


def test_a_rule_about_the_whole_answer_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["providers", "show", "pipedrive"]) == 0
    assert "(anywhere)=*Invalid grant: refresh_token is invalid*" in capsys.readouterr().out
