"""Kept values: what a provider gives by itself becomes a label, if it can be one."""

import json
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth import kept
from tasks.oauth.addresses import address_of
from tasks.oauth.fields import is_within
from tasks.oauth.kept import Kept
from tasks.oauth.provider import Provider

BODY = (
    b'{"access_token": "a", "instance_url": "https://eu.acme.example", "team": {"id": 12345678901234567890}, "n": [7]}'
)


def provider(**fields: object) -> Provider:
    return Provider.model_validate(
        {
            "name": "example",
            "hosts": ["*.acme.example"],
            "refresh_url": "{instance_url}/token",
            "keep_from_answer": {"instance_url": "instance_url", "team": "team.id", "first": "n.0"},
        }
        | fields
    )


def test_an_answer_gives_labels_by_their_paths_with_every_digit() -> None:
    found = kept.from_answer(provider(), BODY, {})

    assert found == Kept({"instance_url": "https://eu.acme.example", "team": "12345678901234567890", "first": "7"})


def test_only_what_has_changed_is_kept_and_what_several_values_had_becomes_one() -> None:
    labels = {"instance_url": ["https://eu.acme.example"], "team": ["12345678901234567890", "1"], "first": ["7"]}

    found = kept.from_answer(provider(), BODY, labels)

    assert found.values == {"team": "12345678901234567890"}
    assert found.over(labels) == {**labels, "team": ["12345678901234567890"]}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"instance_url": null}', b'{"instance_url": ""}', b"\xff"]
)
def test_what_an_answer_does_not_give_leaves_the_labels_as_they_are(body: bytes) -> None:
    assert kept.from_answer(provider(), body, {"instance_url": ["x"]}) == Kept()


SENT = ("shpss_Zk3xF9Qm2LbT7vW1sYc8", "acme.4711.0815")
ACCESS = "00D5g000004cFkL!AQ8AQHx"


@pytest.mark.parametrize("value", [SENT[0], "x-" + SENT[0][3:12], SENT[1].upper(), f"https://x/{ACCESS}"])
def test_a_value_that_repeats_a_secret_becomes_no_label(value: str) -> None:
    found = Kept({"team": value, "first": "7"}).without(SENT, tokens=(ACCESS, None))

    assert found == Kept({"first": "7"}, {"team": "repeats_secret"})


@pytest.mark.parametrize("value", ["00D5g000004cFkL", "https://eu.acme.example", "4711"])
def test_the_number_of_a_tenant_that_tokens_begin_with_is_a_label_all_the_same(value: str) -> None:
    assert Kept({"team": value}).without(SENT, tokens=(ACCESS,)) == Kept({"team": value})


def test_a_form_gives_labels_as_json_does() -> None:
    assert kept.from_answer(provider(), b"access_token=a&instance_url=https%3A%2F%2Fb.acme.example", {}).values == {
        "instance_url": "https://b.acme.example"
    }


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("https://evil.example", "host_not_allowed"),
        ("https://eu.acme.example.evil.example", "host_not_allowed"),
        ("http://eu.acme.example", "label_unfit"),
        ("https://eu.acme.example/..", "label_unfit"),
        ("eu.acme.example\n", "not_text"),
        ("x" * 1001, "not_text"),
        (True, "not_text"),
        (["https://eu.acme.example"], "not_text"),
        ({}, "not_text"),
    ],
)
def test_what_no_address_could_be_made_of_is_refused_and_what_else_came_is_kept(value: object, code: str) -> None:
    body = json.dumps({"instance_url": value, "team": {"id": "t"}}).encode()

    assert kept.from_answer(provider(), body, {}) == Kept({"team": "t"}, {"instance_url": code})


def test_a_value_beside_one_that_its_address_still_awaits_is_kept() -> None:
    ours = provider(refresh_url="https://{shard}.{domain}.acme.example/t", keep_from_answer={"shard": "shard"})

    assert kept.from_answer(ours, b'{"shard": "s1"}', {}).values == {"shard": "s1"}
    assert kept.from_answer(ours, b'{"shard": "s1/"}', {}) == Kept({}, {"shard": "label_unfit"})


def test_a_redirect_gives_labels_by_the_names_of_its_query() -> None:
    ours = provider(keep_from_redirect={"realm_id": "realmId"})

    assert kept.from_redirect(ours, {"realmId": "9341", "code": "c"}, {}).values == {"realm_id": "9341"}
    assert kept.from_redirect(ours, {"code": "c"}, {}) == Kept()


VALUES = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5)


@given(st.binary(max_size=200) | st.dictionaries(st.just("instance_url"), VALUES).map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_read_without_an_error(body: bytes) -> None:
    found = kept.from_answer(provider(), body, {})

    assert all(value.isprintable() for value in found.values.values())


@given(st.text(max_size=30), st.sampled_from(["", "https://", "https://eu.acme.example", "https://eu.acme.example@"]))
def test_whatever_is_kept_leads_nowhere_else(value: str, before: str) -> None:
    ours = provider(refresh_url="{instance_url}/token", api_url="https://{instance_url}.acme.example/me")
    for one in (provider(), ours):
        found = kept.from_answer(one, json.dumps({"instance_url": before + value}).encode(), {})
        for field in one.addresses if found.values else ():
            assert is_within(urlsplit(address_of(one, field, found.values)).hostname or "", one.hosts)
