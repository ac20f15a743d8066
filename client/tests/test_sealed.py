"""The opener against the published vectors, which every implementation shares."""

import json
from pathlib import Path
from typing import Any

import pytest

from evergrant_client import CannotOpen, NotConfigured
from evergrant_client.sealed import KeyRing, open_sealed

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "reference" / "sealed-vectors.json").read_text(encoding="utf-8")
)
RING = KeyRing(lambda: "\n".join(VECTORS["ring"]), name="the ring")


def why(vector: dict[str, str]) -> str:
    return vector["why"]


def opened(vector: dict[str, str]) -> str:
    place = {"table": vector["table"], "row_id": vector["row_id"], "purpose": vector["purpose"]}
    return open_sealed(RING, bytes.fromhex(vector["sealed"]), **place)


@pytest.mark.parametrize("vector", VECTORS["opens"], ids=why)
def test_a_published_vector_opens(vector: dict[str, str]) -> None:
    assert opened(vector) == vector["plaintext"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=why)
def test_what_must_not_open_does_not(vector: dict[str, str]) -> None:
    with pytest.raises(CannotOpen):
        opened(vector)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01\xff", b"\x02" + bytes(40), b"\x01\x00" + bytes(28)])
def test_garbage_does_not_open(sealed: bytes) -> None:
    with pytest.raises(CannotOpen):
        open_sealed(RING, sealed, row_id="1")


@pytest.mark.parametrize("text", ["", "# only a comment", "a", "a:", "a:AAAA", "a:not base64!", ":" + "A" * 43 + "="])
def test_a_ring_that_is_none_is_named_and_never_repeated(text: str) -> None:
    with pytest.raises(NotConfigured, match="the ring") as caught:
        KeyRing(lambda: text, name="the ring")
    assert "AAAA" not in str(caught.value)


def test_a_ring_shows_its_ids_and_no_key() -> None:
    assert repr(RING) == "KeyRing(2025-05, 2025-11)"
