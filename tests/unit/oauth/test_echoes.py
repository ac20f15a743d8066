"""What a provider repeats of a request is found, however it is written."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.oauth.echoes import PIECE, Together, repeats
from tasks.oauth.error_answers import told_sentence, told_word
from tasks.oauth.token_answer import TokenSet, told_scope

SECRET = "pw/with+odd=signs~&Zk3xF9Qm2LbT7vW1sYc8"


@given(secret=st.text(min_size=PIECE, max_size=40), before=st.text(max_size=7), after=st.text(max_size=7))
@example(secret=SECRET, before="a", after="b")
@example(secret=SECRET, before="", after="")
def test_a_secret_within_a_text_is_found_in_every_encoding(secret: str, before: str, after: str) -> None:
    text = f"{before}{secret}{after}"
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    assert repeats(text, [secret])
    assert repeats(raw.hex(), [secret])
    assert repeats(raw.hex().upper(), [secret])
    assert repeats(base64.b64encode(raw).decode(), [secret])
    assert repeats(base64.urlsafe_b64encode(raw).decode().rstrip("="), [secret])


@pytest.mark.parametrize("at", range(0, len(SECRET) - PIECE, 5))
def test_a_piece_of_eight_characters_is_enough(at: int) -> None:
    piece = SECRET[at : at + PIECE]
    for told in (piece, piece.upper(), quote(piece, safe=""), f"error: {piece}!", json.dumps(piece)[1:-1]):
        assert repeats(told, [SECRET])
    assert not repeats(piece[1:], [SECRET])


def test_escapes_hide_nothing() -> None:
    assert repeats("".join(f"\\u{ord(each):04x}" for each in SECRET), [SECRET])
    assert repeats("".join(f"%{ord(each):02X}" for each in SECRET), [SECRET])
    assert repeats("".join(f"%{ord(each):02X}" for each in "ABcdEF_-hIjK"), ["ABcdEF_-hIjK"])


def test_a_short_secret_is_found_whole_and_none_hides_nothing() -> None:
    assert repeats("the pw1 is wrong", ["pw1"])
    assert not repeats("the p", ["pw1", ""])
    assert not repeats("", [SECRET])


def test_secrets_of_several_places_are_asked_for_each_time() -> None:
    together = Together((["aaaaaaaa"], iter(()), iter([SECRET])))
    assert [repeats(SECRET, together), repeats(SECRET, together)] == [True, True]


def test_a_word_of_the_standards_keeps_its_meaning_whatever_a_secret_is() -> None:
    assert told_word("invalid_grant", ["my-invalid_grant-secret"]) == "invalid_grant"
    assert told_word("invalid_grants", ["my-invalid_grants-secret"]) == "unrecognised"


@pytest.mark.parametrize("word", ["onlyletterssecret", "b25seWxldHRlcnNzZWNyZXQ", "x_onlylett_x", "ONLYLETTERSSECRET"])
def test_no_word_repeats_a_secret_in_another_form(word: str) -> None:
    assert told_word(word, ["onlyletterssecret"]) == "unrecognised"


def test_a_sentence_that_repeats_a_secret_with_spaces_is_not_told() -> None:
    assert told_sentence("wrong: correct horse battery", ["correct horse battery"]) == "…"
    assert told_sentence("wrong: onlylett again", ["onlyletterssecret"]) == "wrong: … again"


ACCESS = "at-1-with-crm_read-in-it"


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("crm_read crm_manage", "crm_read crm_manage"),
        (f"crm_read {SECRET}", "crm_read"),
        (f"crm_read,{SECRET[3:12]},x", "crm_read x"),
        (f"{ACCESS} crm_read", "crm_read"),
        (SECRET, None),
        (None, None),
    ],
)
def test_a_scope_keeps_its_words_and_no_secret(scope: str | None, told: str | None) -> None:
    second = TokenSet("at-2", "rt-2", scope=scope)
    found = told_scope(TokenSet(ACCESS, "rt-1", scope=scope, second=second), [SECRET])
    assert found.scope == told
    assert found.second is not None
    assert SECRET[3:12] not in (found.second.scope or "")


def test_scopes_that_we_asked_for_are_looked_for_in_no_secret() -> None:
    def untouched() -> Iterator[str]:
        pytest.fail("a secret was asked for")
        yield ""

    asked_for = TokenSet(ACCESS, "rt-1", scope="crm_read,crm_manage", second=TokenSet("at-2", "rt-2", scope="crm_read"))
    assert told_scope(asked_for, untouched(), asked=("crm_read", "crm_manage")) == asked_for


def test_a_word_beside_those_that_we_asked_for_is_looked_at() -> None:
    assert told_scope(TokenSet(ACCESS, scope=f"crm_read {SECRET}"), [SECRET], asked=("crm_read",)).scope == "crm_read"
