"""The twin of models/journal.py and models/views/overdue.py."""

from datetime import UTC, datetime, timedelta
from typing import Any

from models import journal
from models.views import overdue
from tests.simulation.statements.letters import add_event
from tests.simulation.statements.registry import Parameters, at_of, carries_out
from tests.simulation.tables import Row, Tables

PATIENCE = timedelta(minutes=10)
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def _new(tables: Tables, number: int, p: Parameters, **values: Any) -> None:
    nothing = dict.fromkeys(("drained_at", "abandoned_at", "abandoned_by", "replayed_incident", "damaged_at", "damage"))
    names = {"id": number, "host": p["host"], "process": p["process"]}
    tables.put(tables.journals, number, {**names, "opened_at": tables.now, "seen_at": tables.now, **nothing, **values})


@carries_out(journal.SKIP)
def skip(tables: Tables, p: Parameters) -> None:
    seconds = round((at_of(tables, p) - BEGINNING).total_seconds())
    above = max(p["above"], max(tables.journals, default=0), seconds)
    tables.sequences["journals"] = max(above, tables.sequences.get("journals", 0))


@carries_out(journal.PATIENT)
def patient(_tables: Tables, _p: Parameters) -> None:
    """Nobody waits for a lock here."""


@carries_out(journal.ALONE)
def alone(_: Tables, __: Parameters) -> None:
    """Transactions are carried out one after the other anyhow."""


@carries_out(journal.REGISTER)
def register(tables: Tables, p: Parameters) -> list[Row]:
    number = tables.next_id("journals")
    assert number not in tables.journals, "a journal's number was given twice"
    _new(tables, number, p)
    return [{"id": number}]


@carries_out(journal.SEE)
def see(tables: Tables, p: Parameters) -> None:
    if p["id"] in tables.journals:
        tables.change(tables.journals[p["id"]], seen_at=at_of(tables, p), abandoned_at=None, abandoned_by=None)


def _leave_doubts(tables: Tables, number: int) -> None:
    for grant in tables.grants.values():
        if grant["doubt_since"] is not None and number in grant["doubt_journals"]:
            tables.change(grant, doubt_journals=[each for each in grant["doubt_journals"] if each != number])


@carries_out(journal.DRAINED)
def drained(tables: Tables, p: Parameters) -> None:
    row = tables.journals.get(p["id"])
    if row is not None and all(each["incident_at"] is None for each in tables.installation.values()):
        tables.change(row, drained_at=row["drained_at"] or at_of(tables, p), damaged_at=None, damage=None)
        _leave_doubts(tables, p["id"])


@carries_out(journal.DAMAGED)
def damaged(tables: Tables, p: Parameters) -> list[Row]:
    row, damage = tables.journals.get(p["id"]), p["damage"]
    if row is None or row["damage"] == damage or row["drained_at"] is not None or row["abandoned_at"] is not None:
        return []
    since = (row["damaged_at"] or at_of(tables, p)) if damage is not None else None
    tables.change(row, damage=damage, damaged_at=since)
    return [{"id": row["id"]}]


@carries_out(journal.ABANDONED)
def abandoned(tables: Tables, p: Parameters) -> None:
    row = tables.journals.get(p["id"])
    if row is not None and row["drained_at"] is None:
        tables.change(row, abandoned_at=row["abandoned_at"] or at_of(tables, p), abandoned_by=p["by"])
        tables.change(row, replayed_incident=tables.installation[1]["incident_no"])
        _leave_doubts(tables, p["id"])


@carries_out(journal.REPLAYED)
def replayed(tables: Tables, p: Parameters) -> None:
    row, drained_at = tables.journals.get(p["id"]), tables.now if p["drained"] else None
    if row is None:
        _new(tables, p["id"], p, replayed_incident=p["incident_no"], drained_at=drained_at)
        return
    before = row["drained_at"] if p["drained"] else None
    tables.change(row, replayed_incident=p["incident_no"], drained_at=before or drained_at)
    tables.change(row, damaged_at=None, damage=None)


@carries_out(journal.REPLAYED_ALREADY)
def replayed_already(tables: Tables, p: Parameters) -> list[Row]:
    found = (tables.journals.get(each) for each in p["ids"])
    return [
        {"id": row["id"]}
        for row in found
        if row and row["replayed_incident"] == p["incident_no"] and row["drained_at"] is not None
    ]


@carries_out(journal.AWAITED)
def awaited(tables: Tables, p: Parameters) -> None:
    for each in p["ids"]:
        if each not in tables.journals:
            _new(tables, each, p)


def _told(tables: Tables, grant: Row, type_: str, **same: Any) -> bool:
    return any(
        event["type"] == type_ and all(event[name] == value for name, value in same.items())
        for event in tables.of_grant("events", grant["id"])
    )


@carries_out(overdue.LATE)
def tell_late(tables: Tables, _: Parameters) -> None:
    for grant in tables.grants.values():
        if grant["status"] != "active" or grant["generation"] == 0 or not _expired(grant, tables.now):
            continue
        behind = grant["due_at"] < tables.now or grant["failures"] > 0 or grant["suspect_at"] is not None
        warm = (grant["keep"] or tables.clients[grant["client_id"]]["keep"]) == "warm"
        if behind and warm and not _told(tables, grant, "grant.late", generation=grant["generation"]):
            add_event(tables, grant, "grant.late", reason=grant["last_error_code"])


def _expired(grant: Row, at: datetime) -> bool:
    return grant["access_expires_at"] is not None and grant["access_expires_at"] < at


@carries_out(overdue.WAITING)
def tell_waiting(tables: Tables, _: Parameters) -> None:
    for grant in tables.grants.values():
        since = grant["doubt_since"]
        if since is None or since >= tables.now - PATIENCE or grant["status"] not in ("active", "revoking"):
            continue
        waits_for = [tables.journals[each] for each in grant["doubt_journals"] if each in tables.journals]
        told = any(
            event["type"] == "grant.waiting" and event["occurred_at"] > since
            for event in tables.of_grant("events", grant["id"])
        )
        for row in waits_for:
            if row["drained_at"] is None and row["abandoned_at"] is None and not told:
                add_event(tables, grant, "grant.waiting", reason="journal_not_drained")


@carries_out(journal.UNDRAINED)
def undrained(tables: Tables, p: Parameters) -> list[Row]:
    found = (tables.journals.get(each) for each in p["ids"])
    return [{"id": row["id"]} for row in found if row and row["drained_at"] is None and row["abandoned_at"] is None]
