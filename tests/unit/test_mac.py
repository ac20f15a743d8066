"""Our HMAC is the one of the standard library."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.mac import Mac


@given(st.binary(max_size=64), st.binary(max_size=300))
def test_it_is_the_hmac_of_the_standard_library(key: bytes, message: bytes) -> None:
    mac = Mac(key)

    assert mac.digest(message) == hmac.digest(key, message, "sha256") == mac.digest(message)


def test_a_key_longer_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        Mac(bytes(65))


def test_it_does_not_show_its_key() -> None:
    key = b"0123456789abcdef" * 2

    assert "0123" not in repr(Mac(key))
