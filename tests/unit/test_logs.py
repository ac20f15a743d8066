"""Logs are JSON lines on stderr, and no secret is in them, whoever slips."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker import logs
from worker.logs import SECRET_NAMES, redact, scrub

PROJECT = Path(__file__).parents[2]
SECRET = "hNsEcReT0123456789abcdefghijklmn"

PROGRAM = textwrap.dedent("""
    import logging, sys
    import structlog
    from pydantic import SecretStr
    from settings import Settings
    from tasks.oauth import messages
    from tasks.oauth.messages import Registration
    from tasks.oauth.token_answer import TokenSet
    from tasks.oauth.provider import Provider
    from tasks.oauth.answer import Response
    from worker import logs

    secret = sys.argv[1]
    logs.configure("beat", level="INFO")
    log = structlog.get_logger()
    provider = Provider.model_validate({"name": "p", "token_url": "https://id.example/token"})
    registration = Registration(provider, "id", secret)
    token_set = TokenSet(secret, secret)
    answer = Response(200, {"set-cookie": secret}, f'{{"access_token": "{secret}"}}'.encode())
    request = messages.refresh(registration, refresh_token=secret)
    settings = Settings(refresh_token_keys=SecretStr("r1:" + secret), database_url=f"postgresql://u:{secret}@h/db")

    log.info("ours", client="temple", ref="customer-1", grant_id="42", duration_ms=12)
    log.debug("unheard")
    logging.getLogger("celery.beat").info("theirs %s", "too")
    logging.getLogger("kombu.connection").info("noise")
    logging.getLogger("kombu.connection").warning("lost redis://:%s@127.0.0.1/0", secret)
    log.info("objects", token_set=token_set, answer=answer, request=request, registration=registration,
        settings=settings)
    log.info("members", access_token=secret, deep={"list": [{"Refresh_Token": secret}]})

    def send(request, token_set, plain):
        raise RuntimeError(f"cannot send {request} for {token_set}: Authorization: Bearer {plain}")

    try:
        send(request, token_set, secret)
    except RuntimeError:
        log.exception("boom")
        logging.getLogger("aiohttp.client").exception("theirs %s", token_set)
    try:
        provider.with_overrides(token_url=f"ftp://user:{secret}@id.example/")
    except Exception:
        log.exception("bad override")
    print("only logs go to stderr")
""")


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, SECRET]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=PROJECT)


@pytest.fixture(scope="module")
def lines(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stderr.splitlines()]


def test_every_line_is_one_json_object_with_time_level_event_and_process(lines: list[dict[str, Any]]) -> None:
    assert len(lines) == 8
    for line in lines:
        assert list(line)[:3] == ["at", "level", "event"]
        assert line["process"] == "beat"
        assert line["at"].endswith("Z")


def test_our_own_ids_are_members_of_the_line(lines: list[dict[str, Any]]) -> None:
    assert lines[0] | {"at": ""} == {
        "at": "",
        "level": "info",
        "event": "ours",
        "client": "temple",
        "ref": "customer-1",
        "grant_id": "42",
        "duration_ms": 12,
        "process": "beat",
    }


def test_libraries_are_heard_in_the_same_form_the_noisy_ones_only_from_warnings_on(lines: list[dict[str, Any]]) -> None:
    events = [line["event"] for line in lines]

    assert "theirs too" in events
    assert "noise" not in events
    assert "unheard" not in events
    assert "lost redis://:***@127.0.0.1/0" in events


def test_a_traceback_tells_where_and_not_with_what(lines: list[dict[str, Any]]) -> None:
    tracebacks = [line["exception"] for line in lines if line["level"] == "error"]

    assert len(tracebacks) == 3
    assert all("Traceback" in traceback for traceback in tracebacks)


def test_no_secret_is_in_the_logs_however_it_got_there(run: subprocess.CompletedProcess[str]) -> None:
    assert SECRET not in run.stderr
    assert run.stdout == "only logs go to stderr\n"


# ── one by one ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(SECRET_NAMES))
def test_a_member_that_is_named_like_a_secret_is_blanked(name: str) -> None:
    line = {"event": "x", name: SECRET, name.upper(): SECRET, "deep": {name: SECRET, "list": [(1, {name: SECRET})]}}

    assert SECRET not in repr(redact(None, "info", line))


def test_what_is_no_secret_stays() -> None:
    line = {"event": "refresh", "ref": "a", "outcome": "refreshed", "labels": {"org": ["1", "2"]}, "http_status": 200}

    assert redact(None, "info", dict(line)) == line


SLIPS = [
    'body {"access_token":"%s","x":1}',
    'escaped {\\"refresh_token\\": \\"%s\\"}',
    "{'client_secret': '%s'}",
    "grant_type=refresh_token&refresh_token=%s&client_id=x",
    "Authorization: Bearer %s",
    "authorization: basic %s==",
    "GET http://127.0.0.1:9999/callback?code=%s&state=x",
    "GET /callback?state=%s",
    "postgresql://user:%s@host:5432/db is away",
    "redis://:%s@host/0",
    "password=%s host=localhost",
]


@pytest.mark.parametrize("slip", SLIPS)
def test_a_secret_inside_of_a_sentence_is_blanked_too(slip: str) -> None:
    scrubbed = scrub(slip % SECRET)

    assert SECRET not in scrubbed
    assert "***" in scrubbed


SENTENCES = [
    "refresh_token was refused by https://api.example/oauth/token?x=1",
    "postgresql://host:5432/db is away",
    "Connected to redis://127.0.0.1:6379/0",
    "invalid_grant (HTTP 400), code 7",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_an_innocent_sentence_stays_as_it_is(sentence: str) -> None:
    assert scrub(sentence) == sentence


names = st.sampled_from(["access_token", "event", "x", "password"])
values = st.text(max_size=30) | st.sampled_from([slip % SECRET for slip in SLIPS])


@settings(deadline=None)  # a loaded machine is no error
@given(st.dictionaries(names, st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(names, inner))))
def test_a_scrubbed_line_is_still_json(line: dict[str, Any]) -> None:
    found = json.loads(scrub(json.dumps(redact(None, "info", dict(line)))))

    assert found.keys() == line.keys()
    assert SECRET not in repr(found)


@pytest.mark.parametrize("slip", logs.SLIPS, ids=lambda slip: slip.pattern[:30])
@settings(deadline=None)
@given(data=st.data())
def test_whatever_holds_a_slip_holds_one_of_the_hints_that_it_is_looked_for_by(
    slip: re.Pattern[str], data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(slip))
    assert any(hint in text.casefold() for hint in logs.HINTS)


def test_a_line_that_cannot_be_written_stops_nobody() -> None:
    """A full disk under the logs had stopped answers from being settled."""
    program = """
import logging
import structlog
from worker import logs
logs.configure("beat", level="INFO")
structlog.get_logger().info("lost")
logging.getLogger("celery").info("lost")
print("went on")
"""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE, stderr=full, text=True, check=False
        )
    assert done.stdout == "went on\n"
