"""What an API's answer gives as labels, and what a provider file may say of the question."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth import messages
from tasks.oauth.answer import NotSent, Response, Silence
from tasks.oauth.asked_labels import MOST_TEXT, MOST_VALUES, Given, read
from tasks.oauth.errors import HostNotAllowed, ProviderFileError
from tasks.oauth.provider import Provider, load
from tasks.policy.asked_labels import WAITS, advice, heard

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
TOKEN = "at-secret"


def provider(**fields: Any) -> Provider:
    asked = {"labels_url": "https://api.example.com/orgs", "labels_at": {"org": "data.*.attributes.api_org_id"}}
    return Provider.checked("test", {"name": "test", "token_url": "https://example.com/token", **asked, **fields})


def organizations(*ids: Any) -> bytes:
    return json.dumps({"data": [{"attributes": {"api_org_id": each}} for each in ids]}).encode()


def read_at(path: str, members: Any) -> Given:
    return read(provider(labels_at={"org": path}), json.dumps(members).encode(), {}, hide=TOKEN)


@pytest.mark.parametrize(
    ("path", "members", "values"),
    [
        ("*.tenantId", [{"tenantId": "a"}, {"tenantId": "b"}], ["a", "b"]),
        (
            "accounts.*.base_uri",
            {"accounts": [{"base_uri": "https://na3"}, {"base_uri": "https://na3"}]},
            ["https://na3"],
        ),
        ("data.*.*", {"data": [["a"], ["b", "c"]]}, ["a", "b", "c"]),
        ("data.1.id", {"data": [{"id": "a"}, {"id": "b"}]}, ["b"]),
        ("id", {"id": 12345678901234567890}, ["12345678901234567890"]),
        ("data.*.id", {"data": [{"id": "a"}, {"other": 1}, 7, {"id": None}, {"id": ""}]}, ["a"]),
    ],
)
def test_a_path_gives_every_value_once_in_the_answers_order(path: str, members: Any, values: list[str]) -> None:
    assert read_at(path, members) == Given({"org": values})


@pytest.mark.parametrize("members", [[], {}, {"data": []}, {"data": {"id": "a"}}, {"data": [{}]}, "text", 7, None])
def test_where_nothing_stands_nothing_is_given(members: Any) -> None:
    assert read_at("data.*.id", members) == Given()


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([{"id": "a"}, {"id": True}], "not_text"),
        ([{"id": "a"}, {"id": ["b"]}], "not_text"),
        ([{"id": "a"}, {"id": "line\nbreak"}], "not_text"),
        ([{"id": f"it is {TOKEN}"}], "not_text"),
        ([{"id": f"org-{number}"} for number in range(MOST_VALUES + 1)], "too_many"),
        ([{"id": f"{number:0>900}"} for number in range(MOST_TEXT // 900 + 1)], "too_long"),
    ],
    ids=["a truth", "a list", "two lines", "the token itself", "too many", "too long"],
)
def test_of_a_list_that_cannot_be_a_label_whole_nothing_is_given(members: Any, code: str) -> None:
    assert read_at("*.id", members) == Given({}, {"org": code})


def test_three_hundred_organizations_are_one_label() -> None:
    ids = [f"org-{number}" for number in range(300)]
    assert read(provider(), organizations(*ids), {}, hide=TOKEN).values == {"org": ids}


def test_what_no_address_could_be_made_of_is_refused() -> None:
    fenced = provider(api_url="https://{org}.example.com/me", hosts=["example.com", "*.example.com"])
    assert read(fenced, organizations("evil.test/"), {}, hide=TOKEN).refused == {"org": "label_unfit"}
    assert read(fenced, organizations("a", "b"), {}, hide=TOKEN).refused == {"org": "label_ambiguous"}
    assert read(fenced, organizations("a"), {}, hide=TOKEN).values == {"org": ["a"]}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(body: bytes) -> None:
    read(provider(labels_at={"org": "*.id"}), body, {}, hide=TOKEN)


def test_the_question_presents_the_token_as_the_api_wants_it_to_the_files_address() -> None:
    asked = provider(api_header="Authorization: Zoho-oauthtoken {access_token}", headers={"X-Org": "{org}"})
    request = messages.ask_labels(asked, access_token=TOKEN, labels={})
    assert (request.method, request.url) == ("GET", "https://api.example.com/orgs")
    assert request.headers == {"Accept": "application/json", "Authorization": f"Zoho-oauthtoken {TOKEN}"}
    assert TOKEN not in repr(request)


def test_the_question_stays_inside_the_hosts_and_off_private_networks() -> None:
    fenced = provider(
        labels_url="https://{shop}/orgs", hosts=["*.example.com", "example.com"], labels_at={"org": "*.id"}
    )
    assert messages.ask_labels(fenced, access_token=TOKEN, labels={"shop": "a.example.com"}).public_only
    with pytest.raises(HostNotAllowed):
        messages.ask_labels(fenced, access_token=TOKEN, labels={"shop": "evil.test"})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"labels_at": {}}, "labels_url needs labels_at: write both, or neither"),
        ({"labels_url": None}, "labels_at needs labels_url: write both, or neither"),
        ({"labels_at": {"org": "data..id"}}, "labels_at.org: 'data..id' is no path"),
        ({"labels_at": {"org": ""}}, "labels_at.org: '' is no path"),
        ({"labels_at": {"org": "data.a*.id"}}, "and * for every element of a list: *.tenantId"),
        ({"labels_at": {"my org": "id"}}, "'my org' is no label"),
        ({"labels_at": {"org": "data.access_token"}}, "labels_at.org must not name a token"),
        ({"labels_url": "api.example.com"}, "labels_url: must be an absolute https:// URL"),
        ({"labels_url": "https://{shop}.example.com/x"}, "labels_url leaves a label open in its host: add hosts"),
        ({"hosts": ["example.com"]}, "labels_url leads to api.example.com, which is not among hosts: add it there"),
        ({"labels_url": "https://api.example.com/{org}"}, "labels_url needs org, which only labels_url gives"),
        ({"refresh_url": "https://example.com/{org}"}, "refresh_url needs org, which only labels_url gives"),
        ({"keep_from_answer": {"org": "org"}}, "labels_at.org is given by keep_from_answer, too: leave one out"),
    ],
)
def test_what_cannot_be_asked_is_told_with_its_field(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ProviderFileError) as refused:
        provider(**fields)
    assert told in str(refused.value)


def test_a_client_of_another_server_does_not_show_its_tokens_to_the_files_api() -> None:
    event_temple = load("event-temple", folder=Path("/nowhere"))
    assert event_temple.labels_url is not None
    elsewhere = event_temple.with_overrides(token_url="http://127.0.0.1:9455/oauth/token")
    assert (elsewhere.labels_url, elsewhere.labels_at) == (None, {})
    own = event_temple.with_overrides(rate=10)
    assert own.labels_url == event_temple.labels_url
    asked = {"labels_url": "http://127.0.0.1:9455/o", "labels_at": {"org": "*"}}
    assert event_temple.with_overrides(token_url="http://127.0.0.1:9455/t", **asked).labels_url == asked["labels_url"]


def answer_is(answer: Any, tries: int = 1) -> tuple[str, timedelta | None]:
    told = heard(answer, provider(), labels={}, access_token=TOKEN, tries=tries, wall_clock=NOON)
    return told.code, told.again_in


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Response(404, {}, b""), "http_404"),
        (Response(401, {}, b""), "http_401"),
        (Response(403, {}, b""), "http_403"),
        (Response(302, {"location": "https://evil.test"}, b""), "http_302"),
        (Response(200, {}, b"<html>"), "nothing_found"),
        (Response(204, {}, b""), "nothing_found"),
        (Response(200, {}, organizations({})), "not_text"),
        (Silence("too_large", 200), "too_large"),
        (NotSent("host_private"), "host_private"),
        (NotSent("host_not_allowed"), "host_not_allowed"),
    ],
)
def test_an_answer_ends_the_question_whatever_it_says(answer: Any, code: str) -> None:
    assert answer_is(answer) == (code, None)


@pytest.mark.parametrize(
    "answer", [Response(500), Response(503), Response(429), Silence("timeout"), NotSent("connect_refused")]
)
def test_what_may_pass_is_asked_again_three_times_at_most(answer: Any) -> None:
    assert [answer_is(answer, tries)[1] for tries in range(1, 6)] == [*WAITS, None, None]


def test_whoever_asks_to_wait_is_waited_for() -> None:
    assert answer_is(Response(429, {"retry-after": "200"}))[1] == timedelta(seconds=200)
    assert answer_is(Response(429, {"retry-after": "2"}))[1] == WAITS[0]


def test_the_advice_is_one_sentence_with_what_to_do() -> None:
    told = advice("http_404", ["org"], grant="customer-42")
    assert told == (
        "its API gave no org (http_404: there is nothing at that address): evergrant grants set customer-42 --label"
        " org=VALUE; or mend labels_url and labels_at in the provider file, then evergrant grants set customer-42"
        " --ask-labels"
    )
