"""`evergrant providers check`: what is wrong with a provider file, and how it reads answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.evergrant import Evergrant

ACME = """
token_url = "https://acme.example/token"

[[answers]]
status = [400, 403]
where = { error = "unauthorized_client", error_description = "*is invalid*" }
means = "dead"
reason = "revoked"

[[answers]]
to = "api"
status = 200
where = { ok = "false", error = "token_revoked" }
means = "dead"

[[answers]]
to = "revoke"
status = 400
where = { error = "unknown_token" }
means = "dead"
"""
WITHDRAWN = {"error": "unauthorized_client", "error_description": "It is invalid."}
SAMPLES: list[tuple[dict[str, Any], str, str]] = [
    ({"status": 403, "body": WITHDRAWN}, "dead", "rule 1"),
    ({"status": 403, "body": json.dumps(WITHDRAWN)}, "dead", "rule 1"),
    ({"status": 401, "body": WITHDRAWN}, "not_understood", "nobody"),
    ({"status": 400, "body": "error=invalid_client"}, "not_understood", "nobody"),
    ({"status": 400, "body": {"error": "invalid_grant"}}, "dead", "the table"),
    ({"status": 200, "body": {"access_token": "at", "error": "unauthorized_client"}}, "token_set", "the table"),
    ({"status": 200, "body": "<html>sign in"}, "not_understood", "nobody"),
    ({"status": 429, "headers": {"Retry-After": "7"}}, "throttled", "the table"),
    ({"status": 502}, "ill", "the table"),
    ({"to": "code", "status": 400, "body": {"error": "invalid_grant"}}, "dead", "the table"),
    ({"to": "code", "status": 403, "body": WITHDRAWN}, "not_understood", "nobody"),
    ({"to": "api", "status": 200, "body": {"ok": False, "error": "token_revoked"}}, "dead", "rule 2"),
    ({"to": "api", "status": 200, "body": {"ok": True}}, "alive", "the table"),
    ({"to": "api", "status": 401}, "dead", "the table"),
    ({"to": "revoke", "status": 200}, "accepted", "the table"),
    ({"to": "revoke", "status": 400, "body": {"error": "unknown_token"}}, "dead", "rule 3"),
    ({"to": "introspect", "status": 200, "body": {"active": True}}, "accepted", "the table"),
]


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    path = tmp_path / "acme.toml"
    path.write_text(ACME)
    return path


def written(folder: Path, *lines: str) -> str:
    path = folder / "samples.jsonl"
    path.write_text("\n".join(lines))
    return str(path)


def test_a_file_that_can_be_used_is_told_so(evergrant: Evergrant, acme: Path) -> None:
    assert evergrant("providers", "check", str(acme)).out == f"{acme} can be used; it has 3 rules for answers.\n"
    assert evergrant("providers", "check", str(acme), "--json").json == {
        "file": str(acme),
        "name": "acme",
        "answers": 3,
    }


def test_each_sample_is_read_as_the_service_would_and_whoever_says_so_is_named(
    evergrant: Evergrant, acme: Path
) -> None:
    samples = written(acme.parent, *(json.dumps(sample | {"means": means}) for sample, means, _ in SAMPLES))
    done = evergrant("providers", "check", str(acme), "--answers", samples, "--json")
    assert done.code == 0
    assert [(line["means"], line["by"]) for line in done.lines] == [(means, by) for _, means, by in SAMPLES]
    assert done.lines[0] == {
        "line": 1, "to": "refresh", "status": 403, "means": "dead", "by": "rule 1", "rule": "1: dead, revoked",
        "code": "unauthorized_client", "expected": "dead", "note": None, "problem": None,
    }  # fmt: skip
    shown = evergrant("providers", "check", str(acme), "--answers", samples)
    assert "nobody" in shown.out
    assert "rule 3" in shown.out


def test_an_expectation_that_is_not_met_ends_with_1_and_what_has_none_does_not(
    evergrant: Evergrant, acme: Path
) -> None:
    plain = json.dumps({"status": 418, "note": "seen in March"})
    samples = written(acme.parent, plain, "", json.dumps({"status": 403, "body": WITHDRAWN, "means": "race"}))
    done = evergrant("providers", "check", str(acme), "--answers", samples, "--json")
    assert done.code == 1
    assert [(line["line"], line["problem"]) for line in done.lines] == [
        (1, None),
        (3, "it is read as dead, not as race"),
    ]
    assert done.lines[0]["note"] == "seen in March"
    assert evergrant("providers", "check", str(acme), "--answers", written(acme.parent, plain)).code == 0


BAD_LINES = {
    "not json": "is no JSON: write",
    "[1]": "is no object: write",
    '{"status": 400, "bodi": ""}': "has 'bodi', which is no member: write to, status, body, headers, means, note",
    "{}": "status must be a number from 100 to 599",
    '{"status": true}': "status must be a number",
    '{"status": 4000}': "status must be a number",
    '{"status": 400, "to": "token"}': "to must be one of refresh, code, revoke, api, introspect",
    '{"status": 400, "means": "gone"}': "means must be one of dead, consent, ours, throttled, ill, race, scope, token",
    '{"status": 400, "headers": {"a": 1}}': "headers must be an object of texts",
    '{"status": 400, "headers": []}': "headers must be an object of texts",
    '{"status": 400, "note": 1}': "note must be a text",
    "[" * 9000: "is no JSON",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_line_that_is_no_sample_is_named_by_its_number_and_the_others_are_read(
    evergrant: Evergrant, acme: Path, line: str
) -> None:
    samples = written(acme.parent, '{"status": 502}', line, '{"status": 429}')
    done = evergrant("providers", "check", str(acme), "--answers", samples, "--json")
    assert done.code == 1
    assert [each["means"] for each in done.lines] == ["ill", None, "throttled"]
    assert done.lines[1]["problem"].startswith(f"{samples}, line 2: {BAD_LINES[line]}")


BAD_FILES = {
    'tokn_url = "https://x.example"': "tokn_url: there is no such field: write token_url",
    'body = "xml"': "body: Input should be 'json' or 'form'",
    "[[answers]]\nstatus = 400": "answers.1.means: is needed: write it",
    '[[answers]]\nstatus = 4000\nmeans = "dead"': "answers.1.status.1: 4000 is no status: write a number like 403",
    '[[answers]]\nstatus = 400\nmeans = "gone"': "answers.1.means: Input should be 'dead', 'consent', 'ours'",
    '[[answers]]\nstatus = 400\nmeans = "ours"\nreasn = "x"': "answers.1.reasn: there is no such field: write reason",
    '[[answers]]\nmeans = "dead"': "answers.1: it would fit every answer: add status or where",
    '[[answers]]\nstatus = 500\nmeans = "dead"': "answers.1: a machine in between may answer with such a status, too",
    '[[answers]]\nstatus = 400\nmeans = "ours"\n' * 2: "answers.2: rule 2 fits only what rule 1 fits before it",
    "not toml": "Expected '=' after a key",
}


@pytest.mark.parametrize("content", BAD_FILES)
def test_what_is_wrong_with_a_file_names_file_and_field_and_what_to_write(
    evergrant: Evergrant, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "acme.toml"
    path.write_text(content)
    done = evergrant("providers", "check", str(path), "--json")
    assert done.code == 1
    assert done.lines[0]["problem"].startswith(f"{path}: {BAD_FILES[content]}")
    assert BAD_FILES[content] in evergrant("providers", "check", str(path)).out


def test_all_that_is_wrong_is_told_at_once(evergrant: Evergrant, tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_text('body = "xml"\nauth = "none of these"\n')
    assert len(evergrant("providers", "check", str(path), "--json").lines) == 2


def test_files_that_are_not_there_or_not_named_so_are_told(evergrant: Evergrant, acme: Path) -> None:
    nowhere = evergrant("providers", "check", str(acme.parent / "no.toml"), "--json")
    assert (nowhere.code, "cannot be read: No such file" in nowhere.lines[0]["problem"]) == (1, True)
    misnamed = acme.with_name("My Acme.toml")
    misnamed.write_text(ACME)
    assert "call it like acme.toml" in evergrant("providers", "check", str(misnamed)).out
    missing = evergrant("providers", "check", str(acme), "--answers", str(acme.parent / "no.jsonl"), "--json")
    assert (missing.code, missing.error) == (2, "usage")
