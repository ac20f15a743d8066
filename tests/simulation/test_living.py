"""Who was refused three times in two troubles, while others were refreshed between them, may wait for its hour."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from tests.simulation.living import Living
from tests.simulation.world import EPOCH

LIFE = 3600.0  # s
TROUBLES = [(900.0, 1000.0, "the secret was wrong"), (1500.0, 2300.0, "the secret was wrong")]
STALE_SINCE, NOW = 2400.0, 4500.0


def test_a_grant_refused_three_times_in_two_troubles_may_wait_for_an_hour() -> None:
    told, living = judged(first=950.0, last=2200.0)
    assert told == []
    assert living.excused == {"it was refused three times in two troubles, alone: it waits for an hour": 1}


def test_a_grant_whose_third_refusal_lay_in_no_trouble_may_not() -> None:
    told, _living = judged(first=950.0, last=2350.0)
    assert told == [
        "it lives, and has been stale for 2100 s of a life of 3600 s, 1600 s of them since " + TROUBLES[1][2]
    ]


def test_a_grant_refused_three_times_in_one_trouble_may_not() -> None:
    told, _living = judged(first=1550.0, last=2200.0)
    assert len(told) == 1


def judged(*, first: float, last: float) -> tuple[list[str], Living]:
    """Look at a living grant that was refused three times; returns what was told, and who looked."""
    told: list[str] = []
    row: dict[str, Any] = {
        "id": 1,
        "ref": "ref1",
        "client_id": 1,
        "status": "active",
        "access_expires_at": at(STALE_SINCE),
        "refreshed_at": at(STALE_SINCE - LIFE),
        "life": timedelta(seconds=LIFE),
        "doubt_since": None,
        "suspect_at": None,
        "refusals": 3,
        "refused_since": at(first),
        "last_error_at": at(last),
    }
    world, consents = SimpleNamespace(seconds=NOW), {1: SimpleNamespace(alive=lambda _at: True)}
    living = Living(world, SimpleNamespace(), consents, TROUBLES, lambda _n, what, _ref: told.append(what), word=None)  # type: ignore[arg-type]
    living.judge(row)
    return told, living


def at(seconds: float) -> Any:
    """The virtual instant."""
    return EPOCH + timedelta(seconds=seconds)
