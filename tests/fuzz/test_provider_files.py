"""Provider files: the bundled ones, spoilt."""

import json
import math
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tasks.oauth import kept
from tasks.oauth.answer import Response
from tasks.oauth.errors import ProviderFileError
from tasks.oauth.provider import BUNDLED, Provider, read
from tasks.oauth.rules import Asked
from tasks.policy.outcome import outcome
from tests.fuzz.door import Door
from tests.fuzz.spoiling import Bend, Damage, bends, bent, damaged, damages

FILES = tuple(path.read_bytes() for path in sorted(BUNDLED.glob("*.toml")))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANSWERS = (
    Response(400, body=b'{"error":"invalid_grant"}'),
    Response(200, body=b'{"access_token":"a","refresh_token":"r","team":{"id":"T1"}}'),
)


def spoilt(file: bytes, bending: list[Bend], hits: list[Damage]) -> bytes:
    """A file whose values are others, or whose bytes are."""
    return damaged(as_toml(bent(tomllib.loads(file.decode()), bending)).encode() if bending else file, hits)


def as_toml(values: Any) -> str:
    """Top-level members, each on a line of its own; what is no table becomes one member."""
    members = values if isinstance(values, dict) else {"values": values}
    return "\n".join(f"{quoted(key)} = {inline(value)}" for key, value in members.items())


def inline(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{quoted(key)} = {inline(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(inline, value)) + "]"
        case float() if not math.isfinite(value):
            return str(value)
        case None:
            return '""'
        case str():
            return quoted(value)
        case _:
            return json.dumps(value)


def quoted(text: str) -> str:
    return json.dumps(text.encode(errors="replace").decode()).replace("\x7f", "\\u007f")


def check(raw: bytes) -> None:
    """It is a provider that can be used, or every reason says which file it is about, on one line."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:  # noqa: S108
        path = Path(place) / "acme.toml"
        path.write_bytes(raw)
        try:
            found: Provider | ProviderFileError = read(path)
        except ProviderFileError as error:
            found = error
    if isinstance(found, Provider):
        use(found)
    else:
        assert found.reasons
        assert str(found).startswith(str(path))


def use(provider: Provider) -> None:
    for answer in ANSWERS:
        for asked in Asked:
            outcome(answer, provider=provider, proven=True, wall_clock=NOW, hide=("s3cret",), to=asked)
        kept.from_answer(provider, answer.body, {})
    assert provider.allowed_burst > 0
    assert isinstance(provider.grant_interval.total_seconds(), float)


DOOR = Door("provider files", st.builds(spoilt, st.sampled_from(FILES), bends(), damages()), check)


def test_whatever_a_provider_file_holds_it_can_be_used_or_says_why_not() -> None:
    DOOR.knock()
