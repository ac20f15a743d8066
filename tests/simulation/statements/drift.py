"""The twin of models/drift.py."""

import json
from datetime import timedelta

from models import drift
from tests.simulation.statements.registry import Parameters, at_of, carries_out
from tests.simulation.tables import Row, Tables

NAMES = ("id", "name", "provider", "overrides", "rotation", "drift", "drift_watch")


@carries_out(drift.LOCK)
def lock(tables: Tables, p: Parameters) -> list[Row]:
    client = tables.clients.get(p["id"])
    return [] if client is None else [{**{name: client[name] for name in NAMES}, "at": at_of(tables, p)}]


@carries_out(drift.WATCH)
def watch(tables: Tables, p: Parameters) -> None:
    tables.change(tables.clients[p["id"]], drift_watch=_read(p["watch"]))


@carries_out(drift.NOTE)
def note(tables: Tables, p: Parameters) -> None:
    client = tables.clients[p["id"]]
    changed: Row = {}
    if p["rotation"] is not None:
        changed = {name: p[name] for name in ("rotation", "burst", "attempt_lease")} | {
            "grace": None,
            "after_grace": None,
        }
    tables.change(
        client,
        drift={**(client["drift"] or {}), **json.loads(p["drift"])},
        drift_watch=_read(p["watch"]),
        overrides={**client["overrides"], **json.loads(p["overrides"])},
        updated_at=at_of(tables, p),
        **changed,
    )


@carries_out(drift.OTHERS)
def others(tables: Tables, p: Parameters) -> list[Row]:
    since, but = at_of(tables, p) - timedelta(days=1), set(p["but"])
    rows = [row for row in tables.of_client("grants", p["id"]) if row["id"] not in but]
    died = sum(row["status"] == "active" and row["suspect_at"] is not None for row in rows)
    died += sum(
        (row["client_id"], row["kind"]) == (p["id"], "refresh")
        and row["dead_at"] > since
        and row["grant_id"] not in but
        for row in tables.letters.values()
    )
    refreshed = sum(row["refreshed_at"] is not None and row["refreshed_at"] > since for row in rows)
    return [{"died": died, "refreshed": min(refreshed, 100 * died + p["least"])}]


def _read(value: str | None) -> Row | None:
    return None if value is None else json.loads(value)
