"""What a body was compressed with: undone as far as it can be, told where it cannot, and never lost."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.oauth.answer_size import ANSWER_LIMIT, TooLarge
from tasks.oauth.codings import CODINGS_LIMIT, DEFLATING, MEMBERS_LIMIT, decoded
from tasks.oauth.whole_answer import is_whole_json

SET = b'{"access_token":"acc-1","refresh_token":"ref-1"}'
BROTLI = bytes.fromhex("1b2f00f88da96e3a2f3d6d8e") + bytes(range(128, 200))


def coded(body: bytes, coding: str) -> tuple[bytes, bool]:
    return decoded(body, {"content-encoding": coding})


@pytest.mark.parametrize("coding", ["br", "zstd", "nonsense", "gzip", "deflate", "br, gzip", "gzip, br"])
def test_what_cannot_be_undone_stays_as_it_came_and_is_told(coding: str) -> None:
    assert coded(BROTLI, coding) == (BROTLI, True)


@pytest.mark.parametrize("coding", ["br", "utf-8", "none", "gzip", "x-gzip", "deflate", "identity", "", " , "])
@pytest.mark.parametrize("body", [SET, b"<r>Jos\xc3\xa9</r>\r\n", b""])
def test_text_is_text_whatever_a_header_says_of_it(body: bytes, coding: str) -> None:
    """Somebody in between has undone it and left the header, or writes there what belongs elsewhere."""
    assert coded(body, coding) == (body, False)


def test_what_is_cut_and_no_whole_json_stays_as_it_came() -> None:
    for half in (gzip.compress(SET)[:-20], gzip.compress(b"<r>text</r>")[:-8], zlib.compress(SET[:-1])[:-4]):
        assert coded(half, "gzip") == (half, True)


def test_a_body_has_so_many_codings_and_no_more() -> None:
    most = SET
    for _ in range(CODINGS_LIMIT):
        most = gzip.compress(most)
    more = gzip.compress(most)

    assert coded(most, "gzip," * CODINGS_LIMIT) == (SET, False)
    assert coded(more, "gzip," * (CODINGS_LIMIT + 1)) == (more, True)


def test_a_body_has_so_many_members_and_no_more() -> None:
    blank = gzip.compress(b" ") * (MEMBERS_LIMIT - 1)

    plain, is_encoded = coded(blank + gzip.compress(SET), "gzip")
    assert (plain.strip(), is_encoded) == (SET, False)
    more = blank * 2 + gzip.compress(SET)
    assert coded(more, "gzip") == (more, True)


@pytest.mark.parametrize("parts", [1, 2, 40])
@pytest.mark.parametrize("coding", DEFLATING)
def test_a_bomb_is_too_large_in_one_member_or_in_many(coding: str, parts: int) -> None:
    part = b"0" * (40 * ANSWER_LIMIT // parts)
    bomb = gzip.compress(part) * parts

    tracemalloc.start()
    with pytest.raises(TooLarge):
        coded(bomb, coding)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 10 * ANSWER_LIMIT


@given(body=st.binary(max_size=300), coding=st.sampled_from(["gzip", "deflate", "br", "deflate, gzip", ""]))
def test_whatever_comes_is_a_body_as_it_came_or_undone(body: bytes, coding: str) -> None:
    plain, is_encoded = coded(body, coding)

    assert plain == body or not is_encoded


@pytest.mark.parametrize("body", [SET, b" [1]\n", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"a":"\xe9"}'])
def test_one_object_or_list_is_whole(body: bytes) -> None:
    assert is_whole_json(body)


@pytest.mark.parametrize("body", [b"", b"{", b"{}{}", b"{}x", b"1", b'"{}"', b"null", b"[" * 90_000, b"\xff"])
def test_all_else_is_not_known_to_be_whole(body: bytes) -> None:
    assert not is_whole_json(body)
