"""Of a word that may not be told the shape is: for those who write a rule for it."""

import json
from typing import Any

import pytest

from tasks.oauth.token_answer import untold_word


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"error": "Zk3xF9Qm2LbT7vW1"}, "Zk3xF9Qm2LbT7vW1"),
        ({"error": {"type": "a1b2c3d4e5f6"}}, "a1b2c3d4e5f6"),
        ({"errors": [{"code": "a1b2c3d4e5f6"}]}, "a1b2c3d4e5f6"),
        ({"status": "error", "code": "a1b2c3d4e5f6"}, "a1b2c3d4e5f6"),
        ({"error": {}}, None),
        ({"error": 7}, None),
        ({}, None),
        ([], None),
    ],
)
def test_the_word_that_was_not_told_is_found_wherever_it_stands(members: Any, word: str | None) -> None:
    assert untold_word(json.dumps(members).encode()) == word


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"null"])
def test_what_has_no_members_has_no_word(body: bytes) -> None:
    assert untold_word(body) is None
