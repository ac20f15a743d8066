"""Lines of an import file: good ones, spoilt."""

import io
import json
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tasks.oauth.shapes import Kind
from tests.fuzz.door import Door
from tests.fuzz.spoiling import Bend, Damage, bends, bent, damaged, damages
from worker.cli.imports.lines import Bad, Offered, lines

TOKENS = ("rt-Zk3xF9Qm2LbT7vW1sYc8", "at-Pq7RtUw5XyB4nMc0VdHs")
SHOWN = 8  # so many characters of a token are a part of it
GOOD: tuple[dict[str, Any], ...] = (
    {"ref": "customer-1", "refresh_token": TOKENS[0]},
    {
        "ref": "customer-2",
        "refresh_token": TOKENS[0],
        "access_token": TOKENS[1],
        "expires_at": "2026-03-01T12:00:00Z",
        "scope": ["a", "b"],
        "labels": {"org": ["8f2", "901"], "team": "x"},
        "in_doubt": True,
    },
    {
        "ref": "customer-3",
        "refresh_token": TOKENS[0],
        "access_token": TOKENS[1],
        "created_at": 1700000000,
        "expires_in": 7200,
        "refresh_expires_at": 1800000000,
        "consent_expires_at": "2026-09-01",
    },
)
Line = tuple[dict[str, Any], list[Bend], list[Damage]]


def spoilt(one: Line, other: Line, kind: Kind) -> tuple[bytes, Kind]:
    """A file of such lines, for a client of that kind."""
    return b"\n".join(
        damaged(json.dumps(bent(good, bending)).encode(), hits) for good, bending, hits in (one, other)
    ), kind


def check(file: tuple[bytes, Kind]) -> None:
    """Each line gives a grant or a reason, in the order of the file; no reason holds a part of a token."""
    raw, kind = file
    found = list(lines(io.BytesIO(raw), kind))
    assert [number for number, _, _ in found] == sorted({number for number, _, _ in found})
    assert all(read <= len(raw) for _, read, _ in found)
    for number, _, line in found:
        assert line.line == number
        match line:
            case Offered():
                told = repr(replace(line, ref="", scope=None, labels={}))  # as which a line may have a token, too
                assert not any(token in told for token in TOKENS)
            case Bad(reason=reason):
                assert not any(token[at : at + SHOWN] in reason for token in TOKENS for at in range(len(token) - SHOWN))


LINE = st.tuples(st.sampled_from(GOOD), bends(), damages())
DOOR = Door(
    "import lines",
    st.builds(
        spoilt,
        LINE,
        LINE,
        st.sampled_from(list(Kind)),
    ),
    check,
)


def test_whatever_a_line_holds_it_is_a_grant_or_a_reason_without_its_token() -> None:
    DOOR.knock()
