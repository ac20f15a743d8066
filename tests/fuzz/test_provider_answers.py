"""Bodies of a provider's answers: real ones, spoilt, under every status and each bundled file."""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from tasks.oauth import kept
from tasks.oauth.answer import Response
from tasks.oauth.error_answers import NAMES_WITHIN_ERROR
from tasks.oauth.provider import BUNDLED, Provider, load, names
from tasks.oauth.rules import Asked, Means
from tasks.oauth.token_answer import told_scope
from tasks.policy.life import Finding, Life, may_be_asked_again, presented, probed
from tasks.policy.outcome import (
    Accepted,
    NotUnderstood,
    Outcome,
    Refreshed,
    Refused,
    fit_to_keep,
    outcome,
    revocation_outcome,
)
from tests.fuzz.door import Door
from tests.fuzz.spoiling import SEEDS, STRANGE, Bend, Damage, bends, bent, damaged, damages

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "rt-Zk3xF9Qm2LbT7vW1sYc8"
WORDLIKE = "sesame_open_wide"  # a secret that looks like an error's word
SECRETS = (SECRET, WORDLIKE)
TOKENS = {"access_token": "at-Pq7RtUw5XyB4nMc0VdHs", "refresh_token": "rt-Hs8QwErTyU3iOpAs9DfG"}
TOKEN_SET = {**TOKENS, "token_type": "Bearer", "expires_in": 7200, "scope": "crm_read crm_manage"}
PAGE = "<html><body>502 Bad Gateway error=invalid_grant</body></html>"
LINK = '<html><a href="/?x=1&error=invalid_grant&y=2">again</a></html>'
FORM = "error=invalid_grant&error_description=no"
STATUSES = (
    200,
    201,
    203,
    204,
    301,
    302,
    307,
    400,
    401,
    403,
    404,
    408,
    409,
    422,
    429,
    451,
    499,
    500,
    502,
    503,
    504,
    599,
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32-le")
RETRIES = ("", "7", "-1", "9" * 40, "x", "Thu, 01 Jan 2026 00:00:07 GMT", "Thu, 99 Jan 9999 99:99:99 GMT", "٣")
PROVIDERS = {name: load(name, folder=BUNDLED) for name in names(folder=BUNDLED)}
RFC = [name for name, each in PROVIDERS.items() if each.token_set.is_plain]
# A refusal of a dead token, as RFC 6749 §5.2 has it; and one that repeats what was sent.
DEAD = {"error": "invalid_grant", "error_description": f"The token {SECRET} is revoked."}


CRAFTED: tuple[Any, ...] = (
    TOKEN_SET,
    DEAD,
    {"error": WORDLIKE},
    {"error": SECRET},
    {"errors": [{"errorType": SECRET, "message": SECRET}]},
    PAGE,
    LINK,
    FORM,
)


@cache
def real() -> tuple[str, ...]:
    """What the providers of the catalogue say."""
    told = (Path(__file__).parents[1] / "dialects" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line)["body"] for line in told if line.strip())


def spoilt(  # noqa: PLR0917  # one a part of an answer
    body: Any, bending: list[Bend], hits: list[Damage], status: int, retry: str, name: str
) -> tuple[Provider, Response]:
    """An answer, and whose it is."""
    provider = PROVIDERS[name]
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    if bending:
        raw = json.dumps(bent(_members(raw), bending)).encode()
    headers = {provider.retry_after_header.lower(): retry}
    return provider, Response(status, headers, damaged(raw, hits))


def _members(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return {"body": raw.decode()}


def check(given: tuple[Provider, Response]) -> None:
    """A value comes back; none is a verdict but by an `invalid_grant` in a 400, or by a rule; none repeats a secret."""
    provider, answer = given
    for asked in (Asked.REFRESH, Asked.CODE):
        for proven in (True, False):
            told = {"proven": proven, "wall_clock": NOW, "hide": SECRETS, "to": asked}
            end = fit_to_keep(outcome(answer, provider=provider, **told), SECRETS)  # type: ignore[arg-type]
            check_verdict(answer, end, proven=proven)
            check_silence(end)
    end = outcome(answer, provider=provider, proven=True, wall_clock=NOW, hide=SECRETS)
    finding = probed(answer, end)
    assert finding is not Finding.DEAD or by_rule_or_word(answer, end)
    ended = revocation_outcome(answer, provider=provider, wall_clock=NOW, hide=SECRETS)
    assert not isinstance(ended, Accepted) or ended.rule or 200 <= answer.status < 300
    check_silence(ended)
    if presented(answer, provider) is Life.DEAD:
        assert answer.status == 401 or provider.answers
    may_be_asked_again(answer, provider)
    found = kept.from_answer(provider, answer.body, {}).without(SECRETS)
    assert not any(secret in value for secret in SECRETS for value in found.values.values())


def check_verdict(answer: Response, end: Outcome, *, proven: bool) -> None:
    blames = isinstance(end, Refused) or (isinstance(end, NotUnderstood) and end.means in (Means.DEAD, Means.CONSENT))
    if blames:
        assert by_rule_or_word(answer, end)
    if isinstance(end, Refused):
        assert proven


def by_rule_or_word(answer: Response, end: Outcome) -> bool:
    return end.rule is not None or (answer.status == 400 and says_dead(answer.body))


def says_dead(body: bytes) -> bool:
    """Whether a body is a JSON object whose `error` is `invalid_grant`, or an object that is named so."""
    text = body.decode(json.detect_encoding(body), errors="replace").removeprefix("\ufeff")
    found = json.loads(text, strict=False, parse_int=float)
    error = found.get("error") if isinstance(found, dict) else None
    return "invalid_grant" in ([error.get(name) for name in NAMES_WITHIN_ERROR] if isinstance(error, dict) else [error])


def check_silence(end: Outcome | Accepted) -> None:
    for secret in SECRETS:
        assert secret not in end.code
        assert isinstance(end, Refreshed) or secret not in repr(end)
        if isinstance(end, Refreshed):
            assert secret not in (told_scope(end.token_set, SECRETS).scope or "")


DOOR = Door(
    "provider answers",
    st.builds(
        spoilt,
        st.one_of(st.sampled_from(CRAFTED), st.deferred(lambda: st.sampled_from(real()))),
        bends(),
        damages(),
        st.one_of(st.just(400), st.sampled_from(STATUSES)),
        st.sampled_from(RETRIES),
        st.sampled_from(sorted(PROVIDERS)),
    ),
    check,
    examples=900,
)


def test_no_answer_ends_a_process_gives_a_verdict_of_its_own_or_repeats_a_secret() -> None:
    DOOR.knock()


def among(  # noqa: PLR0917  # one a part of an answer
    members: dict[str, Any], front: bool, encoding: str, space: str, status: int, name: str
) -> tuple[Provider, Response]:
    """A whole token set in a 2xx, with whatever else around it."""
    others = {each: value for each, value in members.items() if each not in TOKENS}
    text = json.dumps({**others, **TOKENS} if front else {**TOKENS, **others})
    return PROVIDERS[name], Response(status, {}, (space + text + space).encode(encoding))


def check_found(given: tuple[Provider, Response]) -> None:
    """Both tokens are found as they came."""
    provider, answer = given
    end = outcome(answer, provider=provider, proven=True, wall_clock=NOW, hide=SECRETS)
    assert isinstance(end, Refreshed)
    assert (end.token_set.access_token, end.token_set.refresh_token) == tuple(TOKENS.values())


def around(seed: int) -> dict[str, Any]:
    """Members that may stand beside a token set."""
    chance = Random(seed)
    values = [*STRANGE, *TOKENS.values()]
    return {chance.choice(MEMBER_NAMES): chance.choice(values) for _ in range(chance.randrange(6))}


MEMBER_NAMES = (
    *("error", "error_description", "errors", "status", "ok", "expires_in", "expires_at", "scope", "token_type", ""),
    *("refresh_token_expires_in", "x_refresh_token_hard_expires_in", "refresh_expires_at", "authed_user", "data", "0"),
)
TOKEN_SET_DOOR = Door(
    "token sets",
    st.builds(
        among,
        SEEDS.map(around),
        st.booleans(),
        st.sampled_from(ENCODINGS),
        st.sampled_from(["", " ", "\r\n\t "]),
        st.sampled_from([200, 201, 203, 299]),
        st.sampled_from(RFC),
    ),
    check_found,
)


def test_a_whole_token_set_is_found_whatever_stands_around_it() -> None:
    TOKEN_SET_DOOR.knock()
