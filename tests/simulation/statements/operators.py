"""The twin of models/operator_actions.py."""

from datetime import timedelta

from models import operator_actions
from tests.simulation.statements.registry import Parameters, carries_out, carries_out_words
from tests.simulation.statements.revocations import add_revocation
from tests.simulation.tables import Row, Tables

MINUTE = timedelta(seconds=60)


@carries_out_words("update evergrant.grants g set status = :after, reason = null where g.id = any(:ids)")
def set_status(tables: Tables, p: Parameters) -> list[Row]:
    done = []
    for grant_id in p["ids"]:
        grant = tables.grants.get(grant_id)
        if grant is not None and grant["status"] == p["before"] and grant_id not in tables.revocations:
            tables.change(grant, status=p["after"], reason=None)
            done.append({"id": grant_id})
    return done


@carries_out_words("update evergrant.valves set paused_by_operator = true where client_id = :id")
def pause_client(tables: Tables, p: Parameters) -> None:
    tables.change(tables.valves[p["id"]], paused_by_operator=True)


@carries_out_words("update evergrant.valves set paused_by_operator = false where client_id = :id")
def resume_client(tables: Tables, p: Parameters) -> None:
    tables.change(tables.valves[p["id"]], paused_by_operator=False)


@carries_out(operator_actions.REQUEST_REFRESH)
def request(tables: Tables, p: Parameters) -> list[Row]:
    grant = tables.grants[p["id"]]
    youngest = MINUTE if grant["life"] is None else min(MINUTE, grant["life"] / 4)
    if grant["refreshed_at"] is not None and grant["refreshed_at"] > tables.now - youngest:
        return [{"awaited": grant["generation"]}]
    of_grant = tables.of_grant("refresh_requests", grant["id"])
    if all(row["generation"] != grant["generation"] for row in of_grant):
        number = tables.next_id("refresh_requests")
        row = {
            "id": number,
            "client_id": grant["client_id"],
            "grant_id": grant["id"],
            "generation": grant["generation"],
            "rejected": False,
            "requested_at": tables.now,
        }
        tables.put(tables.refresh_requests, number, row)
    return [{"awaited": grant["generation"] + 1}]


@carries_out_words(
    "insert into evergrant.revocations (client_id, grant_id, ref, reason, requested_by) select client_id"
)
def request_revocation(tables: Tables, p: Parameters) -> None:
    if p["id"] in tables.grants:
        add_revocation(tables, tables.grants[p["id"]], reason=p["reason"])


@carries_out_words("select id, status, evidence, ref from evergrant.revocations where grant_id = :id")
def read_revocation(tables: Tables, p: Parameters) -> list[Row]:
    row = tables.revocations.get(p["id"])
    return [] if row is None else [{name: row[name] for name in ("id", "status", "evidence", "ref")}]


@carries_out_words("select id from evergrant.grants where client_id = :id and status = 'paused'")
def paused_grants(tables: Tables, p: Parameters) -> list[Row]:
    paused = [row for row in tables.grants.values() if row["client_id"] == p["id"] and row["status"] == "paused"]
    rows = [row for row in paused if row["reason"] != "handed_over"]
    return [{"id": row["id"]} for row in sorted(rows, key=lambda row: str(row["id"]))]


@carries_out_words("set deaths_accepted_at = clock_timestamp()")
def accept_deaths(tables: Tables, p: Parameters) -> list[Row]:
    valve = tables.valves[p["id"]]
    if valve["deaths_held_at"] is None:
        return []
    tables.change(valve, deaths_accepted_at=tables.now, deaths_held_at=None)
    return [{"client_id": p["id"]}]
