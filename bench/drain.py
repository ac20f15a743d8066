"""One drain: every grant of a contestant is due at once, and a round ends when every row is stored.

The provider's ledger counts, and afterwards every row must hold the token that the ledger says.
"""

import time
from collections.abc import Sequence
from typing import Any

from bench import machine, meter, report
from bench.contestants.contestant import Contestant
from bench.provider import refresh_token
from bench.stage import NotDone, Provider, Stage, wait

ROUND_SECONDS = 120.0
STALLED_SECONDS = 5.0


def once(here: Stage, contestant: Contestant, provider: Provider) -> dict[str, Any]:
    """Drain all grants once; figures of this round."""
    contestant.make_due()
    here.sql("checkpoint")
    provider.order("_mark")
    parts = {**contestant.parts(), **here.engine_pids, "provider": here.pids("provider-A")}
    before = meter.sample(parts)
    contestant.begin()
    _wait_for_all(contestant, provider)
    after = meter.sample(parts)
    seen = provider.ask("_report")
    _check_rows(contestant, provider)
    cpu = {name: (after[name] - before[name]) / seen["refreshed"] * 1000 for name in parts}
    return {
        "per_second": seen["refreshed"] / (seen["last_at"] - seen["first_at"]),
        "cpu_ms": cpu,
        "memory_mb": {name: meter.memory_mb(pids) for name, pids in parts.items()},
        "most_in_flight": seen["most_in_flight"],
        "refused": seen["refused"],
    }


def _wait_for_all(contestant: Contestant, provider: Provider) -> None:
    """Wait for the ledger first, which costs nobody much, then for the rows.

    Raises:
        NotDone: it was not done in time; says how far it came.

    """

    moved = [0, time.monotonic()]

    def all_counted() -> bool:
        contestant.stage.check_alive()
        refreshed = provider.ask("_report")["refreshed"]
        if refreshed > moved[0]:
            moved[:] = [refreshed, time.monotonic()]
        elif time.monotonic() - moved[1] > STALLED_SECONDS:
            moved[1] = time.monotonic()
            contestant.again()
        return bool(refreshed >= contestant.count)

    try:
        wait(
            all_counted,
            "the ledger does not count every grant",
            seconds=ROUND_SECONDS,
        )
        wait(lambda: contestant.stored() >= contestant.count, "not every row is stored", seconds=60)
    except NotDone as error:
        seen = provider.ask("_report")
        raise NotDone(f"{contestant.name}: {error}: {seen}, {contestant.stored()} stored") from error


def _check_rows(contestant: Contestant, provider: Provider) -> None:
    """Every row holds what the ledger says.

    Raises:
        NotDone: some do not.

    """
    numbers, held = provider.ask("_numbers"), contestant.tokens()
    wrong = [index for index, number in enumerate(numbers) if held.get(index) != refresh_token(index, number)]
    if wrong:
        raise NotDone(f"{contestant.name}: {len(wrong)} rows do not hold what the provider gave, as {wrong[:3]}")


def summed(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What rounds have in common: medians with their spread, or the most of them."""
    parts = rounds[0]["cpu_ms"]
    return {
        "per_second": report.spread(each["per_second"] for each in rounds),
        "cpu_ms": {name: report.spread(each["cpu_ms"][name] for each in rounds) for name in parts},
        "memory_mb": {name: max(each["memory_mb"][name] for each in rounds) for name in parts},
        "most_in_flight": max(each["most_in_flight"] for each in rounds),
        "refused": sum(each["refused"] for each in rounds),
        "load": machine.load(),
    }
