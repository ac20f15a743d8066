"""`evergrant providers`: what a person sees that a program does not."""

import pytest

from worker.cli import output, run


def test_a_person_is_told_that_there_are_more_providers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)

    assert run(["providers", "list"]) == 0
    assert "more: evergrant providers list --all" in capsys.readouterr().err
    assert run(["providers", "list", "--all"]) == 0
    assert capsys.readouterr().err == ""


def test_a_program_is_told_the_list_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["providers", "list"]) == 0
    assert capsys.readouterr().err == ""


def test_a_rule_about_the_whole_answer_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["providers", "show", "pipedrive"]) == 0
    assert "(anywhere)=*Invalid grant: refresh_token is invalid*" in capsys.readouterr().out
