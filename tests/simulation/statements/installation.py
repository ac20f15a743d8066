"""The twin of models/installation.py, tick.py, process.py and chore.py."""

from datetime import timedelta

from models import chore, installation, process, tick
from tests.simulation.statements.registry import Parameters, at_of, carries_out, carries_out_words
from tests.simulation.tables import Row, Tables


def state(tables: Tables, environment: str | None) -> str:
    """`evergrant.database_state`; the twin is never another cluster, nor a standby."""
    row = tables.installation.get(1)
    if row is None:
        return "not_adopted"
    if environment is not None and environment != row["environment"]:
        return "copied"
    if row["incident_at"] is not None or row["timeline"] != tables.timeline:
        return "rewound"
    return "fit"


@carries_out(installation.STATE)
def read_state(tables: Tables, p: Parameters) -> list[Row]:
    return [{"state": state(tables, p["environment"])}]


@carries_out(installation.RAISE)
def raise_incident(tables: Tables, p: Parameters) -> None:
    row = tables.installation[1]
    if row["incident_at"] is None:
        tables.change(row, incident_no=row["incident_no"] + 1, incident_at=tables.now, incident_reason=p["reason"])


@carries_out_words("select incident_no from evergrant.installation")
def incident_no(tables: Tables, _: Parameters) -> list[Row]:
    return [{"incident_no": tables.installation[1]["incident_no"]}]


@carries_out(installation.CLOSE)
def close_incident(tables: Tables, p: Parameters) -> list[Row]:
    row = tables.installation[1]
    outstanding = any(
        j["drained_at"] is None and j["abandoned_at"] is None and j["replayed_incident"] != row["incident_no"]
        for j in tables.journals.values()
    )
    if row["incident_at"] is None or row["incident_at"] > tables.now - p["least"] or outstanding:
        return []
    tables.change(row, incident_at=None, incident_reason=None, timeline=tables.timeline)
    return [{"incident_no": row["incident_no"]}]


@carries_out(tick.WRITE)
def write_tick(tables: Tables, p: Parameters) -> None:
    tables.put(tables.ticks, p["id"], {"id": p["id"], "at": tables.now})


@carries_out(tick.PUT_BACK)
def put_back(tables: Tables, p: Parameters) -> None:
    for each in p["ids"]:
        if each not in tables.ticks:
            tables.put(tables.ticks, each, {"id": each, "at": tables.now})


@carries_out(tick.FORGET)
def forget_ticks(tables: Tables, _: Parameters) -> None:
    horizon = tables.now - timedelta(hours=48)
    while (old := next(iter(tables.ticks.values()), None)) is not None and old["at"] < horizon:
        tables.drop(tables.ticks, old["id"])


@carries_out(tick.LATEST)
def latest_tick(tables: Tables, _: Parameters) -> list[Row]:
    newest = next(reversed(tables.ticks.values()), None)  # written in order
    return [] if newest is None else [{"id": newest["id"], "at": newest["at"]}]


@carries_out(tick.MISSING)
def missing_ticks(tables: Tables, p: Parameters) -> list[Row]:
    return [{"id": each} for each in p["ids"] if each not in tables.ticks]


@carries_out(process.SEE)
@carries_out(process.LEAVE)
def nothing(_: Tables, __: Parameters) -> None:
    """Who is alive is told to people only."""


@carries_out(chore.CLAIM)
def claim_chores(tables: Tables, p: Parameters) -> list[Row]:
    at = at_of(tables, p)
    due = [row for row in tables.chores.values() if row["due_at"] <= at]
    for row in due:
        tables.change(row, due_at=at + row["every"])
    return [{"name": row["name"]} for row in due]


@carries_out(chore.DONE)
def chore_done(tables: Tables, p: Parameters) -> None:
    tables.change(tables.chores[p["name"]], done_at=at_of(tables, p))
