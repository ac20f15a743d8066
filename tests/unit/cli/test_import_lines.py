"""Import lines: each is a grant or names what is wrong with it, whatever its bytes are."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.cli.imports.lines import LONGEST_LINE, Bad, Offered, lines, read_line

# How long an example takes says nothing on a machine that others use, too.
AT_EASE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

GOOD = {"ref": "a", "refresh_token": "rt-secret"}


def read(members: dict[str, Any]) -> Offered | Bad:
    return read_line(1, json.dumps(members).encode())


def test_a_ref_and_a_refresh_token_are_enough() -> None:
    assert read(GOOD) == Offered(line=1, ref="a", refresh_token="rt-secret")


def test_a_whole_line_is_read() -> None:
    found = read(
        GOOD
        | {"access_token": "at", "scope": ["a", "b"], "expires_in": 7200, "created_at": 1_000_000_000}
        | {"labels": {"org": "x", "teams": ["y", "z"]}, "token_type": "Bearer"}
    )
    assert isinstance(found, Offered)
    assert found.expires_at == datetime(2001, 9, 9, 3, 46, 40, tzinfo=UTC)
    assert found.life == timedelta(hours=2)
    assert (found.scope, found.labels) == ("a b", {"org": ["x"], "teams": ["y", "z"]})


@pytest.mark.parametrize(
    "when", ["2026-11-24T12:00:00+02:00", "2026-11-24T10:00:00Z", "2026-11-24 10:00:00", 1_795_514_400]
)
def test_an_expiry_is_iso_8601_or_unix_seconds(when: object) -> None:
    found = read(GOOD | {"expires_at": when})
    assert isinstance(found, Offered)
    assert found.expires_at == datetime(2026, 11, 24, 10, tzinfo=UTC)


def test_the_ends_of_refresh_token_and_consent_are_read_likewise() -> None:
    found = read(GOOD | {"refresh_expires_at": "2026-11-24T10:00:00Z", "consent_expires_at": 1_795_514_400})
    assert isinstance(found, Offered)
    assert found.refresh_expires_at == found.consent_expires_at == datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ref": None}, "ref is missing"),
        ({"ref": 7}, "ref is not a text"),
        ({"ref": ""}, "ref is empty"),
        ({"ref": "a\u0000"}, "control character"),
        ({"ref": "\ud800"}, "control character"),
        ({"ref": "x" * 256}, "longer than 255"),
        ({"refresh_token": None}, "refresh_token is missing"),
        ({"refresh_token": ""}, "refresh_token is missing"),
        ({"refresh_token": "a\nb"}, "refresh_token is not a text"),
        ({"refresh_token": 5}, "refresh_token is not a text"),
        ({"access_token": "é"}, "access_token is not a text"),
        ({"scope": 5}, "scope is not a text"),
        ({"expires_in": -1, "created_at": 1}, "expires_in is negative"),
        ({"expires_in": "7200", "created_at": 1}, "expires_in is not a number"),
        ({"expires_in": True, "created_at": 1}, "expires_in is not a number"),
        ({"expires_in": 10**18, "created_at": 1}, "expires_in is more than"),
        ({"expires_in": 10**400, "created_at": 1}, "expires_in is more than"),
        ({"expires_in": 7200, "created_at": 10**400}, "created_at is neither"),
        ({"expires_at": 10**400}, "expires_at is neither"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at is neither"),
        ({"expires_in": 7200}, "expires_in is of no use without created_at"),
        ({"expires_in": 7200, "created_at": -5}, "created_at is negative"),
        ({"expires_at": -5}, "expires_at is negative"),
        ({"expires_at": "tomorrow"}, "expires_at is neither"),
        ({"refresh_expires_at": "tomorrow"}, "refresh_expires_at is neither"),
        ({"consent_expires_at": [1]}, "consent_expires_at is neither"),
        ({"expires_at": 10**15}, "expires_at is neither"),
        ({"expires_at": "9999-12-31T00:00:00Z"}, "expires_at is after"),
        ({"labels": ["x"]}, "labels is not an object"),
        ({"labels": {"a": 1}}, "labels holds something"),
        ({"labels": {"a": ["\u0000"]}}, "labels holds something"),
        ({"labels": {"a" * 256: "x"}}, "labels holds a key"),
        ({"labels": {"a": "x" * 1001}}, "labels holds something"),
        ({"labels": {str(n): "x" for n in range(101)}}, "labels is not an object"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(change: dict[str, Any], reason: str) -> None:
    found = read(GOOD | change)
    assert isinstance(found, Bad)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"ref": "a", ', "it is not JSON: Expecting property name"),
        (b"\xff\xfe\x00", "NUL"),
        (b"\xff", "it is not UTF-8 text"),
        (b"[1]", "it is not a JSON object"),
        (b"[" * 100_000, "it is not JSON that can be read"),
        (b'{"ref":"a\x00"}', "it holds a NUL byte"),
        (b'{"ref":"a","refresh_token":"b","expires_in":1e999,"created_at":0}', "expires_in is not a number"),
    ],
)
def test_what_is_no_object_is_named(raw: bytes, reason: str) -> None:
    found = read_line(1, raw)
    assert isinstance(found, Bad)
    assert reason in found.reason


def test_a_reason_never_repeats_a_token() -> None:
    for change in (
        {"refresh_token": "rt-secret\n"},
        {"access_token": "rt-secret\x7f"},
        {"labels": {"a": "rt-secret\n"}},
    ):
        found = read(GOOD | change)
        assert isinstance(found, Bad)
        assert "rt-secret" not in found.reason
    assert "rt-secret" not in repr(read(GOOD))


class _Counting(io.BytesIO):
    longest = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        piece = super().readline(size)
        self.longest = max(self.longest, len(piece))
        return piece


def test_a_huge_line_is_passed_over_without_being_held() -> None:
    huge = b'{"ref":"big","refresh_token":"' + b"x" * 10_000_000 + b'"}'
    good = json.dumps(GOOD).encode()
    source = _Counting(good + b"\n" + huge + b"\n\n" + good)
    found = list(lines(source))
    assert [(number, type(what)) for number, _, what in found] == [(1, Offered), (2, Bad), (4, Offered)]
    assert source.longest <= LONGEST_LINE + 1
    assert found[-1][1] == len(source.getvalue())


@AT_EASE
@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_a_value_comes_back(raw: bytes) -> None:
    assert isinstance(read_line(1, raw), Offered | Bad)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("ref", "refresh_token", "access_token", "scope", "expires_at", "expires_in", "created_at", "labels")


@AT_EASE
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, JSON)))
def test_whatever_the_members_are_a_value_comes_back(members: dict[str, Any]) -> None:
    assert isinstance(read(members), Offered | Bad)


@AT_EASE
@given(st.lists(st.sampled_from([b"", b"{}", b"x" * 50, json.dumps(GOOD).encode()]), max_size=10))
def test_lines_are_numbered_as_an_editor_numbers_them(written: list[bytes]) -> None:
    found = [number for number, _, _ in lines(io.BytesIO(b"\n".join(written)))]
    assert found == [at for at, line in enumerate(written, start=1) if line]
