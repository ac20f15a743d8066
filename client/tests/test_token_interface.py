"""The same `Evergrant` over HTTP: what it asks of the token interface, and what it makes of each answer."""

import pickle
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evergrant_client import (
    AmbiguousGrant,
    Evergrant,
    GrantRevoked,
    IdempotencyKeyTaken,
    LabelNotChosen,
    LinkRefused,
    NeedsConsent,
    NotAllowed,
    NotConfigured,
    NotFreshYet,
    UnknownGrant,
    Unreachable,
)
from tests.token_server import Answer, Asked, Script, serving

# The server's clock is an hour ahead of ours.
AHEAD = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC) + AHEAD


def token(generation: int = 1, *, lives: float = 7200, org: str | None = None) -> Answer:
    expires_at = (now() + timedelta(seconds=lives)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"access_token": f"secret-{generation}", "token_type": "Bearer", "expires_at": expires_at}
    headers = {} if org is None else {"X-API-ORG": org}
    return 200, {**body, "generation": generation, "ref": "c/42", "client": "temple", "headers": headers}, {}


def refusal(status: int, error: str, *, retry_after: str | None = None, **facts: Any) -> Answer:
    told = {"error": error, "message": f"It is {error}.", "next": "do something.", **facts}
    return status, told, {"Retry-After": retry_after} if retry_after else {}


@pytest.fixture
def script() -> Iterator[Script]:
    with serving(Script([token()]), now) as running:
        yield running


@pytest.fixture
def evergrant(script: Script) -> Evergrant:
    return Evergrant(token_url=f"{script.url}/", application_key="app-key")


def test_a_token_is_asked_for_and_remembered(script: Script, evergrant: Evergrant) -> None:
    script.answers = [token(3, org="8f2")]
    found = evergrant.access_token("c/42", client="temple", min_ttl=90, timeout=12)
    assert (found.value, found.generation) == ("secret-3", 3)
    assert found.request_headers() == {"Authorization": "Bearer secret-3", "X-API-ORG": "8f2"}
    assert evergrant.access_token("c/42", client="temple") is found
    (asked,) = script.asked
    wait = float(asked.query.pop("wait"))
    assert asked == Asked("GET", "/v1/grants/c%2F42/token", {"client": "temple", "min_ttl": "90"}, "app-key", {})
    assert 11 < wait <= 12
    assert "secret" not in repr(found)
    assert "app-key" not in repr(evergrant)


@pytest.mark.parametrize(
    ("told", "header"),
    [
        ("X-Shopify-Access-Token: {access_token}", {"X-Shopify-Access-Token": "secret-1"}),
        ("Authorization: Zoho-oauthtoken {access_token}", {"Authorization": "Zoho-oauthtoken secret-1"}),
    ],
)
def test_a_token_is_presented_as_the_server_says(
    script: Script, evergrant: Evergrant, told: str, header: dict[str, str]
) -> None:
    status, body, headers = token(org="8f2")
    script.answers = [(status, {**body, "api_header": told}, headers)]
    found = evergrant.access_token("c/42")
    assert found.request_headers() == header | {"X-API-ORG": "8f2"}
    assert "secret" not in repr(found)


def test_a_life_is_measured_by_the_servers_clock(script: Script, evergrant: Evergrant) -> None:
    script.answers = [token(1, lives=200), token(2)]
    assert evergrant.access_token("c/42", min_ttl=100).generation == 1
    assert evergrant.access_token("c/42", min_ttl=190).generation == 1
    assert evergrant.access_token("c/42", min_ttl=250).generation == 2


def test_a_unix_socket_does_as_well(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Script([token()]), now, path=Path(folder, "s")) as script:
        for url in (script.url, script.url.replace("unix:", "unix://"), script.url.removeprefix("unix:")):
            assert Evergrant(token_url=url, application_key="k").access_token("c/42").value == "secret-1"


def test_a_rejected_token_is_reported_and_its_successor_awaited(script: Script, evergrant: Evergrant) -> None:
    script.answers = [token(1), token(1), (202, {"generation": 2, "ref": "c/42", "client": "temple"}, {}), token(1)]
    script.answers.append(token(2))
    first = evergrant.access_token("c/42")
    assert evergrant.access_token("c/42", rejected=first).generation == 2
    assert [(asked.method, asked.path.rpartition("/")[2], asked.body) for asked in script.asked] == [
        ("GET", "token", {}),
        ("GET", "token", {}),
        ("POST", "rejected", {"generation": 1}),
        ("GET", "token", {}),
        ("GET", "token", {}),
    ]
    assert script.asked[-1].query["wait"] == "0"


def test_a_rejected_token_that_is_young_is_not_awaited(script: Script, evergrant: Evergrant) -> None:
    script.answers = [token(1), token(1), (202, {"generation": 1, "ref": "c/42", "client": "temple"}, {})]
    with pytest.raises(NotFreshYet, match="refreshed a moment ago"):
        evergrant.access_token("c/42", rejected=evergrant.access_token("c/42"))


def test_an_organization_is_asked_for_and_none_chosen_hurts_only_who_needs_it(
    script: Script, evergrant: Evergrant
) -> None:
    script.answers = [
        refusal(400, "label_not_chosen", label="org", values=["8f2", "9a1"]),
        token(org="8f2"),
    ]
    found = evergrant.access_token("c/42")
    assert found.value == "secret-1"
    with pytest.raises(LabelNotChosen, match="8f2, 9a1"):
        found.request_headers()
    script.answers = [token(org="9a1")]
    assert evergrant.access_token("c/42", org="9a1").request_headers()["X-API-ORG"] == "9a1"
    assert script.asked[-1].query["org"] == "9a1"
    script.answers = [refusal(400, "label_not_chosen", label="org", values=["8f2", "9a1"])]
    with pytest.raises(LabelNotChosen):
        evergrant.access_token("c/42", org="other")


REFUSALS: list[tuple[Answer, type[Exception], str, float | None]] = [
    (refusal(404, "unknown_ref"), UnknownGrant, "no grant 'c/42'", None),
    (refusal(400, "ambiguous_ref", clients=["a", "b"]), AmbiguousGrant, r"\(a, b\)", None),
    (refusal(409, "needs_consent", reason="response_lost"), NeedsConsent, "response_lost", None),
    (refusal(410, "revoked"), GrantRevoked, "is revoked", None),
    (refusal(401, "wrong_key"), NotAllowed, "EVERGRANT_APPLICATION_KEY", None),
    (refusal(401, "expired_key"), NotAllowed, "evergrant apps rotate", None),
    (refusal(403, "not_allowed", next="have an operator make one that may."), NotAllowed, "make one that may", None),
    (refusal(503, "paused", retry_after="60"), NotFreshYet, "paused by an operator", 60),
    (refusal(503, "keys", retry_after="60"), NotFreshYet, "It is keys: try again in 60 s", 60),
    (refusal(503, "database_away", retry_after="2"), Unreachable, "It is database_away", 2),
    (refusal(429, "too_many_requests", retry_after="1"), Unreachable, "too_many", 1),
    (refusal(502, "whatever"), Unreachable, "whatever", 5),
    (refusal(404, "unknown_path"), NotConfigured, "do something", None),
    (refusal(400, "bad_parameter"), NotConfigured, "do something", None),
    ((200, {"hello": "world"}, {}), Unreachable, "without expires_at", 5),
    ((200, None, {}), Unreachable, "answered 200 and no JSON", 5),
    ((502, None, {}), Unreachable, "answered 502 and no JSON", 5),
]


@pytest.mark.parametrize("refused", REFUSALS)
def test_a_refusal_becomes_the_error_that_sql_would_give(
    script: Script, evergrant: Evergrant, refused: tuple[Answer, type[Exception], str, float | None]
) -> None:
    answer, error, says, retry_after = refused
    script.answers = [answer]
    with pytest.raises(error, match=says) as caught:
        evergrant.access_token("c/42", timeout=0)
    assert getattr(caught.value, "retry_after", None) == retry_after


def test_a_token_that_is_not_fresh_yet_is_asked_for_until_the_time_is_over(
    script: Script, evergrant: Evergrant
) -> None:
    script.answers = [refusal(503, "not_fresh_yet", retry_after="2"), refusal(503, "not_fresh_yet"), token(2)]
    assert evergrant.access_token("c/42", timeout=20).generation == 2
    script.answers = [refusal(503, "not_fresh_yet")]
    with pytest.raises(NotFreshYet, match="No fresh token of 'other'"):
        evergrant.access_token("other", timeout=0)


def test_requests_are_queued(script: Script, evergrant: Evergrant) -> None:
    script.answers = [
        (202, {"generation": 2, "ref": "c/42", "client": "temple"}, {}),
        (202, {"id": 7, "ref": "c/42"}, {}),
    ]
    assert evergrant.request_refresh("c/42", client="temple") == 2
    assert evergrant.request_revocation("c/42", reason="left", idempotency_key="k", missing_ok=True) == 7
    first, second = script.asked
    assert (first.method, first.path, first.query) == ("POST", "/v1/grants/c%2F42/refresh", {"client": "temple"})
    assert first.body == {}
    assert second.body == {"reason": "left", "idempotency_key": "k", "missing_ok": True, "erase": False}
    script.answers = [refusal(409, "idempotency_key")]
    with pytest.raises(IdempotencyKeyTaken, match="'k'"):
        evergrant.request_revocation("c/42", idempotency_key="k")


def test_a_server_that_is_not_there_is_unreachable() -> None:
    for url in ("http://127.0.0.1:1", "unix:/nowhere/socket"):
        with pytest.raises(Unreachable, match="does not answer"):
            Evergrant(token_url=url, application_key="k").access_token("c/42")


WHY = {"cause": "valve_is_shut", "headline": "The provider says that it is not available (http_503)."}


def test_what_the_server_explains_stands_in_the_error(script: Script, evergrant: Evergrant) -> None:
    script.answers = [refusal(503, "not_fresh_yet", explanation=WHY)]
    with pytest.raises(
        NotFreshYet, match=r"came \(The provider says that it is not available \(http_503\)\): try"
    ) as late:
        evergrant.access_token("c/42", timeout=0)
    assert late.value.explanation == WHY["headline"]
    script.answers = [refusal(409, "needs_consent", reason="revoked", explanation=WHY)]
    with pytest.raises(NeedsConsent) as dead:
        evergrant.access_token("c/42", timeout=0)
    assert dead.value.explanation == WHY["headline"]
    assert pickle.loads(pickle.dumps(dead.value)).explanation == WHY["headline"]  # noqa: S301  # our own
    assert pickle.loads(pickle.dumps(late.value)).explanation == WHY["headline"]  # noqa: S301


@pytest.mark.parametrize("told", [None, "a sentence", {"headline": 7}, {}])
def test_an_older_server_or_an_odd_one_explains_nothing(script: Script, evergrant: Evergrant, told: object) -> None:
    script.answers = [refusal(503, "not_fresh_yet", explanation=told)]
    with pytest.raises(NotFreshYet) as late:
        evergrant.access_token("c/42", timeout=0)
    assert late.value.explanation is None


def test_while_its_client_is_paused_nobody_waits_in_vain(script: Script, evergrant: Evergrant) -> None:
    paused = {"cause": "client_is_paused", "headline": "Its client temple is paused."}
    script.answers = [refusal(503, "not_fresh_yet", retry_after="60", explanation=paused)]
    with pytest.raises(NotFreshYet, match="its client is paused by an operator") as late:
        evergrant.access_token("c/42", timeout=30)
    assert late.value.retry_after == 60
    assert len(script.asked) == 1


LINK: Answer = (201, {"url": "https://c.test/connect/T", "expires_at": "2026-11-24T07:33:11Z", "client": "temple"}, {})


def test_a_link_is_asked_for_with_what_was_said_and_no_more(script: Script, evergrant: Evergrant) -> None:
    script.answers = [LINK]
    said = {"return_to": "https://a.example/x", "labels": {"org": "8f2", "site": ("a", "b")}, "scopes": ("x", "y")}
    assert evergrant.connect_url("c/42", client="temple", locale="de", **said) == "https://c.test/connect/T"  # type: ignore[arg-type]
    assert evergrant.connect_url("new") == "https://c.test/connect/T"
    body = {"return_to": "https://a.example/x", "labels": {"org": ["8f2"], "site": ["a", "b"]}, "scopes": ["x", "y"]}
    assert script.asked == [
        Asked("POST", "/v1/grants/c%2F42/connect", {"client": "temple"}, "app-key", body | {"locale": "de"}),
        Asked("POST", "/v1/grants/new/connect", {}, "app-key", {}),
    ]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(400, "ticket_refused"), LinkRefused),
        (refusal(400, "bad_parameter"), LinkRefused),
        (refusal(404, "unknown_client"), LinkRefused),
        (refusal(409, "no_user"), LinkRefused),
        (refusal(400, "ambiguous_ref", clients=["a", "b"]), AmbiguousGrant),
        (refusal(403, "not_allowed", right="connect"), NotAllowed),
        (refusal(503, "no_public_listener"), NotConfigured),
        (refusal(404, "unknown_path"), NotConfigured),  # a server of 0.1
        (refusal(503, "database_away"), Unreachable),
    ],
)
def test_why_there_is_no_link_is_told(
    script: Script, evergrant: Evergrant, answer: Answer, kind: type[Exception]
) -> None:
    script.answers = [answer]
    with pytest.raises(kind) as told:
        evergrant.connect_url("c/42")
    assert type(told.value) is kind
    assert "do something" in str(told.value) or kind in (AmbiguousGrant, Unreachable)


def test_too_many_links_are_refused_for_a_while(script: Script, evergrant: Evergrant) -> None:
    script.answers = [refusal(429, "too_many_tickets", retry_after="60")]
    with pytest.raises(LinkRefused) as told:
        evergrant.connect_url("c/42")
    assert told.value.retry_after == 60


def test_a_link_is_made_when_it_is_read_and_once_and_stands_in_no_message(script: Script, evergrant: Evergrant) -> None:
    script.answers = [refusal(409, "needs_consent", reason="withdrawn"), LINK]
    with pytest.raises(NeedsConsent) as told:
        evergrant.access_token("c/42", client="temple")
    assert len(script.asked) == 1
    copied = pickle.loads(pickle.dumps(told.value))  # noqa: S301  # our own
    assert len(script.asked) == 1
    assert [told.value.connect_url for _ in range(3)] == ["https://c.test/connect/T"] * 3
    assert [(each.path, each.query.get("client")) for each in script.asked[1:]] == [
        ("/v1/grants/c%2F42/connect", "temple")
    ]
    for error in (told.value, copied, pickle.loads(pickle.dumps(told.value))):  # noqa: S301
        assert "connect/T" not in f"{error} {error!r} {error.args}"
        assert error.reason == "withdrawn"
    assert copied.connect_url is None


def test_where_no_link_can_be_made_none_is_told_and_nobody_asks_twice(script: Script, evergrant: Evergrant) -> None:
    script.answers = [refusal(409, "needs_consent"), refusal(403, "not_allowed", right="connect")]
    for call in (lambda: evergrant.request_refresh("c/42"), lambda: evergrant.access_token("c/42")):
        script.asked.clear()
        with pytest.raises(NeedsConsent) as told:
            call()
        assert [told.value.connect_url for _ in range(3)] == [None] * 3
        assert [each.path.rpartition("/")[2] for each in script.asked][1:] == ["connect"]
