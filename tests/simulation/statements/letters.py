"""The twin of models/dead_letter.py, event.py, redrive.py and confirmation.py."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models import confirmation, dead_letter, event, redrive
from tests.simulation.statements.claims import is_under_way
from tests.simulation.statements.registry import Parameters, at_of, carries_out, carries_out_words
from tests.simulation.tables import Row, Tables


@carries_out(dead_letter.WRITE)
def write(tables: Tables, p: Parameters) -> list[Row]:
    grant, at = tables.grants.get(p["grant_id"]), at_of(tables, p)
    if grant is None:
        return []
    number = tables.next_id("dead_letters")
    of_grant = tables.of_grant("letters", p["grant_id"])
    if any(_is_open(row, p["kind"]) and row["cause"] == p["cause"] for row in of_grant):
        return []
    row = {
        **{name: p[name] for name in ("kind", "grant_id", "revocation_id", "cause", "detail", "attempts", "rule")},
        **{name: grant[name] for name in ("client_id", "ref", "generation")},
        "id": number,
        "first_failed_at": p["first_failed_at"] or at,
        "dead_at": at,
        "resolved_at": None,
        "resolution": None,
        "resolved_by": None,
        "looks": 0,
        "look_at": None if p["look_in"] is None else at + p["look_in"],
    }
    tables.put(tables.letters, number, row)
    return [{"id": number}]


def _is_open(row: Row, kind: str) -> bool:
    return bool(row["kind"] == kind and row["resolved_at"] is None)


def has_letter(tables: Tables, grant_id: UUID, kind: str) -> bool:
    """Whether a letter of this kind of the grant is open."""
    return any(_is_open(row, kind) for row in tables.of_grant("letters", grant_id))


@carries_out(dead_letter.CLOSE)
def close(tables: Tables, p: Parameters) -> list[Row]:
    at = at_of(tables, p)
    found = [row for each in dict.fromkeys(p["grant_ids"]) for row in tables.of_grant("letters", each)]
    closed = sorted((row for row in found if _is_open(row, p["kind"])), key=lambda row: row["id"])
    for row in closed:
        tables.change(row, resolved_at=at, resolution=p["resolution"], resolved_by=p["resolved_by"])
    return [{"grant_id": row["grant_id"]} for row in closed]


def add_event(tables: Tables, grant: Row, type_: str, *, at: datetime | None = None, reason: Any = None) -> None:
    """Write an event of a grant."""
    number = tables.sequences["events"] = tables.sequences.get("events", 0) + 1
    row = {
        "id": number,
        "type": type_,
        "occurred_at": at or tables.now,
        "client_id": grant["client_id"],
        "grant_id": grant["id"],
        "generation": grant["generation"],
        "reason": reason,
    }
    tables.put(tables.events, number, row)


@carries_out(event.OF_GRANTS)
def of_grants(tables: Tables, p: Parameters) -> None:
    for grant_id in p["grant_ids"]:
        if grant_id in tables.grants:
            add_event(tables, tables.grants[grant_id], p["type"], at=at_of(tables, p), reason=p["reason"])


@carries_out(event.OF_CLIENT)
def of_client(tables: Tables, p: Parameters) -> None:
    client = {"client_id": p["client_id"], "id": None, "generation": None}
    add_event(tables, client, p["type"], at=at_of(tables, p), reason=p["reason"])


@carries_out(redrive.LOCK_GRANTS)
def lock_grants(tables: Tables, p: Parameters) -> list[Row]:
    grant_ids = {tables.letters[each]["grant_id"] for each in p["ids"] if each in tables.letters}
    return [{"id": each} for each in sorted(grant_ids)]


@carries_out(redrive.LOCK)
def lock(tables: Tables, p: Parameters) -> list[Row]:
    found = [tables.letters[each] for each in set(p["ids"]) if each in tables.letters]
    return [_told(tables, row) for row in sorted(found, key=lambda row: (row["grant_id"], row["id"]))]


def _told(tables: Tables, row: Row) -> Row:
    grant = tables.grants[row["grant_id"]]
    return {
        **{name: row[name] for name in ("id", "ref", "kind", "grant_id", "revocation_id")},
        "closed": row["resolved_at"] is not None,
        "moved_on": grant["generation"] != row["generation"],
        "status": grant["status"],
        "shredded": grant["sealed_refresh_token"] is None,
        "under_way": is_under_way(grant, tables.now),
    }


@carries_out(redrive.ASK_NOW)
def ask_now(tables: Tables, p: Parameters) -> None:
    grant = tables.grants[p["grant_id"]]
    if grant["status"] in ("active", "needs_consent"):
        tables.change(
            grant,
            status="active",
            reason=None,
            suspect_at=None,
            failures=0,
            attempts=0,
            failing_since=None,
            failing_for=timedelta(0),
            refusals=0,
            refused_since=None,
            refused_code=None,
            claimed_at=None,
            claim_no=grant["claim_no"] + 1,
            due_at=tables.now,
        )


@carries_out(redrive.QUEUE_AGAIN)
def queue_again(tables: Tables, p: Parameters) -> None:
    for row in tables.revocations.values():
        if row["id"] == p["revocation_id"] and row["status"] == "dead":
            tables.change(row, status="queued", due_at=tables.now, failing_since=None)


@carries_out(redrive.CLOSE)
def close_letters(tables: Tables, p: Parameters) -> list[Row]:
    closed = []
    for number in p["ids"]:
        row = tables.letters.get(number)
        if row is not None and row["resolved_at"] is None:
            tables.change(row, resolved_at=tables.now, resolution=p["resolution"], resolved_by=p["who"])
            closed.append({"id": number})
    return closed


@carries_out_words("notify evergrant_work")
def notify(_: Tables, __: Parameters) -> None:
    """Beat looks by itself."""


@carries_out(confirmation.TELL)
def tell_of_confirmations(tables: Tables, p: Parameters) -> None:
    client = tables.clients[p["client_id"]]
    kinds = ("client.unconfirmed", "client.confirmed")
    told = [
        each
        for each in tables.events.values()
        if each["grant_id"] is None
        and each["client_id"] == p["client_id"]
        and each["type"] in kinds
        and each["occurred_at"] > client["updated_at"]
    ]
    last = max(told, key=lambda each: each["id"], default={"type": None, "reason": None})
    is_news = (last["type"] or "client.confirmed") != p["type"] or last["reason"] != p["reason"]
    if is_news and not (last["type"] is None and p["type"] == "client.confirmed"):
        add_event(tables, {"client_id": client["id"], "id": None, "generation": None}, p["type"], reason=p["reason"])
