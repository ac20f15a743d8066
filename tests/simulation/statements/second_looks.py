"""The twin of models/second_look.py, and the slots that it takes."""

from collections import Counter
from datetime import datetime, timedelta

from models import client, second_look
from tests.simulation.statements.claims import is_claimed
from tests.simulation.statements.installation import state
from tests.simulation.statements.registry import Parameters, at_of, carries_out
from tests.simulation.tables import Row, Tables


def _may_be_asked(tables: Tables, letter: Row, at: datetime) -> bool:
    grant = tables.grants[letter["grant_id"]]
    meant = letter["kind"] == "refresh" and letter["resolved_at"] is None and letter["look_at"] is not None
    dead = grant["status"] == "needs_consent" and grant["generation"] == letter["generation"]
    idle = grant["due_at"] <= at or not is_claimed(grant)
    kept = grant["sealed_refresh_token"] is not None and grant["id"] not in tables.revocations
    return bool(meant and letter["look_at"] <= at and dead and idle and kept)


@carries_out(second_look.WAITING)
def waiting(tables: Tables, p: Parameters) -> list[Row]:
    if state(tables, p["environment"]) != "fit":
        return []
    at = at_of(tables, p)
    count = Counter(row["client_id"] for row in tables.letters.values() if _may_be_asked(tables, row, at))
    shut = {key for key, row in tables.valves.items() if row["paused_by_operator"] or row["paused_until"] is not None}
    return [{"client_id": each, "grants": count[each]} for each in sorted(count) if each not in shut]


@carries_out(second_look.CLAIM)
def claim(tables: Tables, p: Parameters) -> list[Row]:
    at, waits = at_of(tables, p), p["waits"]
    due = [
        row for row in tables.letters.values() if row["client_id"] == p["client_id"] and _may_be_asked(tables, row, at)
    ]
    taken = []
    for letter in sorted(due, key=lambda row: (row["look_at"], row["id"]))[: p["most"]]:
        looks = letter["looks"] + 1
        wait = waits[looks] if looks < len(waits) else None
        next_at = None if wait is None else max(letter["dead_at"] + wait, at + wait - waits[looks - 1])
        tables.change(letter, looks=looks, look_at=next_at)
        grant = tables.grants[letter["grant_id"]]
        lease = min(p["lease"], tables.clients[grant["client_id"]]["attempt_lease"])
        tables.change(grant, claim_no=grant["claim_no"] + 1, claimed_at=at, due_at=at + lease)
        taken.append({"id": grant["id"], "claim_no": grant["claim_no"]})
    return taken


@carries_out(client.TAKE_SLOT)
def take_slot(tables: Tables, p: Parameters) -> list[Row]:
    valve, rate = tables.valves[p["client_id"]], tables.clients[p["client_id"]]["rate_per_minute"]
    at = at_of(tables, p)
    wait = max(valve["next_slot_at"] - at, timedelta(0))
    if wait <= p["tolerance"]:
        step = timedelta(0) if rate is None else timedelta(minutes=1) / (rate * p["usable_share"])
        tables.change(valve, next_slot_at=max(valve["next_slot_at"], at) + step, slot_no=valve["slot_no"] + 1)
    return [{"wait": wait}]
