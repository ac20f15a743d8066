"""What stands around a token answer, or is odd in how it is written, costs no token set; and no page makes one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.answer_text import is_page, text_of
from tasks.oauth.error_answers import ErrorAnswer
from tasks.oauth.token_answer import TokenSet, Unreadable, read_refusal, read_token_answer
from tasks.oauth.token_paths import SecondTokenSet, TokenPaths

MEMBERS = {"access_token": "a", "refresh_token": "r", "expires_in": 3600}
SET = json.dumps(MEMBERS)
READ = TokenSet("a", "r", 3600)
NESTED = TokenPaths(access_token=("data.token",), refresh_token=("data.refresh",))

AROUND = {
    "a notice of PHP before it": "<br />\n<b>Deprecated</b>:  x in <b>/a.php</b> on line <b>3</b><br />\n" + SET,
    "a notice in plain text before it": "Deprecated: x() in /a.php on line 3\n" + SET,
    "a notice behind it": SET + "\n<br />\n<b>Warning</b>:  x",
    "a comment behind it": SET + "<!-- 0.02s -->",
    "a page behind it": SET + "<!DOCTYPE html><html></html>",
    "NULs behind it": SET + "\0\0\0",
    "a semicolon": SET + ";",
    "a guard against scripts": ")]}',\n" + SET,
    "another guard": "while(1);" + SET,
    "a call": "callback(" + SET + ");",
    "the same twice": SET + "\n" + SET,
    "a line of a log before it": '{"level":"warning"}\n' + SET,
    "many of them": '{"level":"warning"}\n' * 1000 + SET,
    "spaces within": ")]}',\n" + json.dumps(MEMBERS, indent=2),
    "encoded twice": json.dumps(SET),
    "encoded twice, with a byte order mark": "\ufeff" + json.dumps("\ufeff" + SET),
    "a byte order mark before a notice": "\ufeffNotice\n" + SET,
}


@pytest.mark.parametrize("text", AROUND.values(), ids=AROUND)
def test_what_stands_around_a_token_set_costs_none(text: str) -> None:
    assert read_token_answer(text.encode()) == READ


def test_it_is_looked_for_at_the_places_of_the_file_too() -> None:
    body = ("Notice\n" + json.dumps({"data": {"token": "a", "refresh": "r"}})).encode()

    assert read_token_answer(body, paths=NESTED) == TokenSet("a", "r")
    assert read_token_answer(body) == Unreadable("not_json")
    assert read_token_answer(b"Notice\n" + SET.encode(), paths=NESTED) == READ


def test_a_second_one_comes_out_with_it() -> None:
    second = SecondTokenSet(suffix="user", within="authed_user")
    body = "Notice\n" + json.dumps(MEMBERS | {"authed_user": {"access_token": "u"}})

    answer = read_token_answer(body.encode(), second=second)

    assert isinstance(answer, TokenSet)
    assert answer.second == TokenSet("u")


FORM = "access_token=a&refresh_token=r&expires_in=3600"
FORMS = {
    "a byte order mark": b"\xef\xbb\xbf" + FORM.encode(),
    "a raw name in UTF-8": (FORM + "&user=José").encode(),
    "a raw name in Latin-1": (FORM + "&user=José").encode("latin-1"),
    "many members": (FORM + "".join(f"&k{n}=v" for n in range(200))).encode(),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_a_form_is_read_whatever_stands_beside_the_tokens(body: bytes) -> None:
    assert read_token_answer(body) == READ


NONE = {
    "one without its end": "Notice\n" + SET[:-1],
    "one within another that has no end": '{"error":"x","request":' + SET + ',"trace":"…',
    "one within what is no JSON": "{'data': " + SET + "}",
    "one in a script's object": "config = {user: " + SET + "};",
    "one in a list": "Notice\n[" + SET + "]",
    "one in a member": "Notice\n" + json.dumps({"request": MEMBERS}),
    "one in a page": "<!doctype html><p>" + SET,
    "one in a script of a page": "<script>window.session = " + SET + "</script>",
    "one in a form of a page": '<form action="/login"><input value=1>' + SET,
    "an error that shows tokens": "Notice\n" + json.dumps(MEMBERS | {"error": "invalid_grant"}),
    "one that says that it failed": "Notice\n" + json.dumps(MEMBERS | {"success": False}),
    "no access token": 'Notice\n{"refresh_token":"r"}',
    "an access token that could not be sent": 'Notice\n{"access_token":5}',
    "an XML list": "<token><access_token>a</access_token></token>",
}


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_only_what_is_surely_the_answer_is_taken_out_of_a_text(text: str) -> None:
    assert read_token_answer(text.encode()) == Unreadable("not_json")


@pytest.mark.parametrize(
    "body", [json.dumps(json.dumps({"error": "x"})), json.dumps(json.dumps(SET)), '"access_token"', '"{"']
)
def test_no_other_text_in_quotes_is_a_token_set(body: str) -> None:
    assert read_token_answer(body.encode()) == Unreadable("no_token")


def test_an_error_is_never_taken_out_of_a_text() -> None:
    body = b'<br />Warning<br />{"error":"invalid_grant"}'

    assert read_token_answer(body) == Unreadable("not_json")
    assert read_refusal(body, hide=()) is None


def test_a_page_in_another_script_with_a_link_is_no_form() -> None:
    body = '<p>Zurück</p><a href="/x?a=1&access_token=t&b=2">weiter</a> ü'.encode()

    assert read_token_answer(body) == Unreadable("not_json")


def test_what_is_whole_is_read_as_a_whole() -> None:
    assert read_token_answer(json.dumps({"error": "x", "hint": "send " + SET}).encode()) == ErrorAnswer("x")


@pytest.mark.parametrize("piece", ['{"a":', '{"a":[', "{ ", '{"a":1}', '{"'], ids=repr)
def test_the_largest_answer_is_read_whatever_it_repeats(piece: str) -> None:
    body = (piece * (128 * 1024 // len(piece))).encode()

    assert isinstance(read_token_answer(body), Unreadable)


@given(st.text(alphabet='{}[]":,ab\\ <0\n'), st.text(alphabet='{}[]":,ab\\ <0\n'))
def test_whatever_stands_around_is_read_without_an_error(before: str, behind: str) -> None:
    assert read_token_answer((before + SET + behind).encode()) in (
        READ,
        Unreadable("not_json"),
        Unreadable("no_token"),
    )


PAGES = {
    "a page": "<html><body>Welcome</body></html>",
    "a page with its type": "\r\n<!DOCTYPE html>\n<html lang=en>",
    "another case": "<!doctype HTML><HTML>",
    "a head alone": "<head><title>Log in</title></head><body>",
    "a script alone": "<script>location='/login'</script>",
    "an order to go elsewhere": '<meta http-equiv=refresh content="0;url=/login">',
    "a heading alone": "<h1>503</h1>",
    "a type that is no HTML's": '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN"><p>',
    "XHTML": '<?xml version="1.0"?>\n<!DOCTYPE html>\n<html xmlns="x">',
    "a long comment first": "<!--" + "x" * 5000 + "-->\n<!-- y -->\n<html>",
    "a comment without its end": "<!-- " + "x" * 5000,
    "a notice before it": "Warning: x\n<!doctype html><html>",
}


@pytest.mark.parametrize("text", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_page_is_known_however_it_begins_and_is_encoded(text: str, encoding: str) -> None:
    assert is_page(text_of(text.encode(encoding)))


NO_PAGES = ["", "OK", "{}", "<r><gone/></r>", '<?xml version="1.0"?><error code="1"/>', "<!-- 0.02s -->", "a < b", "<"]
NO_PAGES += [
    "<!-- 0.02s --><answer/>",
    "<p:answer/>",
    "<br />\n<b>Notice</b>: x",
    "<html5-answer/>",
    '{"message":"' + "x" * 2000 + '<html>"}',
]


@pytest.mark.parametrize("text", NO_PAGES)
def test_xml_and_plain_words_are_no_pages(text: str) -> None:
    assert not is_page(text)


@given(st.text(alphabet='<!->?xml htp/"\n '))
def test_any_text_is_looked_at_without_an_error(text: str) -> None:
    assert is_page(text) in (True, False)
