"""Which rule of a provider's file speaks: the first whose `to`, `status` and `where` fit."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.errors import ProviderFileError
from tasks.oauth.provider import Provider
from tasks.oauth.rules import Asked, Rule
from tasks.oauth.words import fits, spoken

ATLASSIAN = {
    "status": [400, 403],
    "where": {"error": "unauthorized_client", "error_description": "*refresh_token is invalid*"},
    "means": "dead",
    "reason": "revoked",
}
WITHDRAWN = {"error": "unauthorized_client", "error_description": "The refresh_token is invalid."}


def rules(*values: dict[str, Any]) -> tuple[Rule, ...]:
    return tuple(Rule.model_validate(each) for each in values)


def told(body: Any, *values: dict[str, Any], status: int = 400, to: Asked = Asked.REFRESH) -> str | None:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = spoken(rules(*values), to, status=status, body=written)
    return None if found is None else found.told


def test_a_rule_is_told_by_its_place_its_meaning_and_its_reason() -> None:
    other = {"status": 401, "means": "ours"}
    assert told(WITHDRAWN, other, ATLASSIAN, status=403) == "2: dead, revoked"
    assert told(WITHDRAWN, other, ATLASSIAN, status=401) == "1: ours"


def test_the_first_that_fits_speaks() -> None:
    anything = {"where": {"error": "*"}, "means": "ours"}
    assert told(WITHDRAWN, ATLASSIAN, anything) == "1: dead, revoked"
    assert told({"error": "x"}, ATLASSIAN, anything) == "2: ours"


def test_a_rule_is_asked_of_what_it_is_for_alone() -> None:
    code = {"to": "code", "where": {"error": "*"}, "means": "dead"}
    assert told(WITHDRAWN, code) is None
    assert told(WITHDRAWN, code, to=Asked.CODE) == "1: dead"


@pytest.mark.parametrize(
    ("statuses", "status", "speaks"),
    [
        ("4xx", 400, True),
        ("4xx", 499, True),
        ("4xx", 500, False),
        (["4xx", 200], 200, True),
        ([400, 403], 401, False),
        (200, 200, True),
    ],
)
def test_a_status_is_one_or_several_or_a_class(statuses: Any, status: int, *, speaks: bool) -> None:
    rule = {"status": statuses, "where": {"error": "x"}, "means": "dead"}
    assert (told({"error": "x"}, rule, status=status) is not None) is speaks


PLACES: dict[str, tuple[Any, str, str]] = {
    "a member": ({"error": "x"}, "error", "x"),
    "a member of a member": ({"a": {"b": {"c": "x"}}}, "a.b.c", "x"),
    "a place in a list": ({"errors": [{"c": "a"}, {"c": "x"}]}, "errors.1.c", "x"),
    "a list at the top": ([{"errorCode": "x"}], "0.errorCode", "x"),
    "the whole, whatever it is": (b"x is dead", "", "x is dead"),
    "a number": ({"code": 190}, "code", "190"),
    "a number with a fraction": ({"code": 1.50}, "code", "1.5"),
    "a number that is long": ({"code": 10**30}, "code", "1" + "0" * 30),
    "true": ({"ok": True}, "ok", "true"),
    "false": ({"ok": False}, "ok", "false"),
    "null": ({"ok": None}, "ok", "null"),
    "a form": (b"error=x&error_description=It+is%20dead", "error_description", "It is dead"),
    "a form with an empty member": (b"error=&b=1", "error", ""),
    "with a BOM": (b'\xef\xbb\xbf{"error":"x"}', "error", "x"),
    "in UTF-16": ('{"error":"x"}'.encode("utf-16"), "error", "x"),
}


@pytest.mark.parametrize(("body", "path", "text"), PLACES.values(), ids=PLACES)
def test_what_stands_at_a_path_is_compared_as_text(body: Any, path: str, text: str) -> None:
    assert told(body, {"where": {path: text}, "means": "dead"}) == "1: dead"
    assert told(body, {"where": {path: text + "x"}, "means": "dead"}) is None


NOWHERE: dict[str, tuple[Any, str]] = {
    "no such member": ({"error": "x"}, "message"),
    "a member of a text": ({"error": "x"}, "error.code"),
    "beyond a list": ({"errors": []}, "errors.0"),
    "a word for a place": ({"errors": ["x"]}, "errors.first"),
    "an object": ({"error": {"code": "x"}}, "error"),
    "a list": ({"error": ["x"]}, "error"),
    "a page": (b'<html><a href="?a=1&error=x&b=2">', "error"),
    "a cut body with a link": (b'{"next":"/a?b=1&error=x&c=', "error"),
    "nothing": (b"", "error"),
    "deep nesting": (b"[" * 60_000, "error"),
    "too many members": (b"&".join(b"error=x" for _ in range(60)), "error"),
}


@pytest.mark.parametrize(("body", "path"), NOWHERE.values(), ids=NOWHERE)
def test_what_has_no_text_at_a_path_fits_no_rule_that_asks_for_it(body: Any, path: str) -> None:
    assert told(body, {"where": {path: "*"}, "means": "dead"}) is None


@pytest.mark.parametrize("body", [b"", b"<html>no", b"\xff\xfe\x00", b"[" * 60_000])
def test_a_body_that_cannot_be_read_fits_a_rule_that_does_not_look_into_it(body: bytes) -> None:
    assert told(body, {"status": 404, "means": "dead"}, status=404) == "1: dead"


PATTERNS = {
    ("*", ""): True,
    ("*", "a\nb"): True,
    ("a*c", "ac"): True,
    ("a*c", "abbc"): True,
    ("a*c", "abcd"): False,
    ("*b*", "abc"): True,
    ("*b*b*", "abc"): False,
    ("a*ba", "aba"): True,
    ("ab*ba", "aba"): False,
    ("a.c", "abc"): False,
    ("a?c", "abc"): False,
    ("[abc]", "a"): False,
    ("A", "a"): False,
    ("", ""): True,
    ("", "a"): False,
}


@pytest.mark.parametrize(("pattern", "text"), PATTERNS)
def test_only_a_star_is_special(pattern: str, text: str) -> None:
    assert fits(pattern, text) is PATTERNS[pattern, text]


def test_a_pattern_of_many_stars_is_tried_in_no_time() -> None:
    assert not fits("*a" * 100 + "*b", "a" * 60_000)


@given(parts=st.lists(st.text(max_size=5), min_size=1, max_size=5), between=st.lists(st.text(max_size=5), min_size=4))
def test_what_is_put_in_the_place_of_the_stars_fits(parts: list[str], between: list[str]) -> None:
    parts = [part.replace("*", "") for part in parts]
    text = parts[0] + "".join(gap + part for gap, part in zip(between, parts[1:], strict=False))
    assert fits("*".join(parts), text)


@given(body=st.binary(max_size=300), path=st.sampled_from(["", "error", "0", "a.b"]))
def test_any_bytes_are_read_without_an_error(body: bytes, path: str) -> None:
    told(body, {"where": {path: "*"}, "means": "dead"})


# ── what a file may not say ─────────────────────────────────────────────────────────────────────────────────────


def problem(*values: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ProviderFileError) as caught:
        Provider.checked("a file", {"name": "x", "answers": list(values), **more})
    return str(caught.value)


WIDE = {"where": {"error": "*"}, "means": "ours"}
NEVER = {
    "the same": (ATLASSIAN, ATLASSIAN),
    "any word before one": (WIDE, {"where": {"error": "x"}, "means": "dead"}),
    "one that asks for more": (WIDE, {"where": {"error": "a*b", "b": "c"}, "means": "dead"}),
    "a class before its number": ({"status": "4xx", **WIDE}, {"status": [400, 403], **WIDE}),
    "any status before one": (WIDE, {"status": 400, **WIDE}),
}


@pytest.mark.parametrize(("first", "second"), NEVER.values(), ids=NEVER)
def test_a_rule_that_an_earlier_one_never_lets_speak_is_an_error_of_the_file(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert "rule 2 fits only what rule 1 fits before it" in problem(first, second)


HEARD = {
    "to something else": (WIDE, {"to": "code", **WIDE}),
    "a wider word": ({"where": {"error": "a*"}, "means": "ours"}, WIDE),
    "another word": ({"where": {"error": "a*c"}, "means": "ours"}, {"where": {"error": "a*"}, "means": "ours"}),
    "a status more": ({"status": 400, **WIDE}, {"status": [400, 403], **WIDE}),
    "any status": ({"status": 400, **WIDE}, WIDE),
    "a member fewer": ({"where": {"error": "*", "b": "c"}, "means": "ours"}, WIDE),
}


@pytest.mark.parametrize(("first", "second"), HEARD.values(), ids=HEARD)
def test_a_rule_that_may_speak_behind_another_is_none(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert len(Provider.checked("a file", {"name": "x", "answers": [first, second]}).answers) == 2


def test_a_rule_about_a_token_set_in_a_success_is_an_error_of_the_file() -> None:
    rule = {"status": [200, "2xx"], "where": {"access_token": "*"}, "means": "dead"}
    assert "a 2xx with access_token is a token set" in problem(rule)
    empty = rule | {"where": {"access_token": ""}}
    assert len(Provider.checked("a file", {"name": "x", "answers": [empty]}).answers) == 1


@pytest.mark.parametrize("status", [200, 302, 408, 500, 502, [400, 500], "4xx", "5xx"])
@pytest.mark.parametrize("means", ["dead", "consent", "ours", "race", "scope"])
def test_a_status_that_a_machine_in_between_may_give_is_no_word_by_itself(status: Any, means: str) -> None:
    assert "write in where what the body" in problem({"status": status, "means": means})


@pytest.mark.parametrize("means", ["ill", "throttled"])
def test_but_that_the_provider_is_ill_or_busy_may_be_told_by_a_status_alone(means: str) -> None:
    rule = {"status": 500, "means": means}
    assert len(Provider.checked("a file", {"name": "x", "answers": [rule]}).answers) == 1
