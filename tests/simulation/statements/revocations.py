"""The twin of models/revocation.py and models/former_token.py."""

from typing import Any
from uuid import UUID

from models import former_token, revocation
from tests.simulation.statements.registry import Parameters, at_of, carries_out
from tests.simulation.tables import Row, Tables


def add_revocation(tables: Tables, grant: Row, *, reason: str | None, status: str = "queued", **also: Any) -> None:
    """Insert a revocation unless its grant has one."""
    number = tables.next_id("revocations")
    if grant["id"] in tables.revocations:
        return
    nothing = dict.fromkeys(
        ("evidence", "failing_since", "last_error_code", "last_error_http_status", "last_error_at",
         "current_dead_at", "done_at")
    )  # fmt: skip
    row = {
        "id": number,
        **{name: grant[name] for name in ("client_id", "ref")},
        "grant_id": grant["id"],
        "reason": reason,
        "status": status,
        "requested_at": tables.now,
        "due_at": tables.now,
        "attempts": 0,
        **nothing,
        **also,
    }
    tables.put(tables.revocations, grant["id"], row)


@carries_out(revocation.TASK)
def task(tables: Tables, p: Parameters) -> list[Row]:
    row = tables.revocations.get(p["grant_id"])
    if row is None:
        return []
    grant = tables.grants[p["grant_id"]]
    older = grant["older_access_ends_at"]
    return [
        {
            **{name: row[name] for name in ("id", "reason", "attempts", "failing_since", "requested_at")},
            "ever_in_doubt": grant["ever_in_doubt"] or grant["doubt_since"] is not None,
            "predecessors_dropped": grant["predecessors_dropped"],
            "freshened": grant["refreshed_at"] is not None and grant["refreshed_at"] > row["requested_at"],
            "older_access_ends_at": older if older is not None and older > tables.now else None,
        }
    ]


@carries_out(revocation.BRANCHES)
def branches(tables: Tables, p: Parameters) -> list[Row]:
    grant, revoked = tables.grants.get(p["grant_id"]), tables.revocations.get(p["grant_id"])
    found = []
    if grant is not None and grant["sealed_refresh_token"] is not None:
        dead = revoked is not None and revoked["current_dead_at"] is not None
        found.append(_branch(tables, grant, None, kind="current", dead=dead))
    for row in sorted(tables.former_of(p["grant_id"]).values(), key=lambda row: -int(row["id"])):
        if row["sealed_refresh_token"] != b"":
            dead = row["known_dead_at"] is not None
            found.append(_branch(tables, row, row["id"], kind=row["kind"], dead=dead))
    return found


def _branch(tables: Tables, row: Row, number: int | None, *, kind: str, dead: bool) -> Row:
    names = ("generation", "sealed_refresh_token", "sealed_access_token", "refresh_fingerprint", "access_expires_at")
    return {
        "former_token_id": number,
        "kind": kind,
        **{name: row[name] for name in names},
        "expired": row["access_expires_at"] is None or row["access_expires_at"] <= tables.now,
        "dead": dead,
    }


@carries_out(revocation.OURS)
def ours(tables: Tables, p: Parameters) -> list[Row]:
    grant = tables.grants.get(p["grant_id"])
    return [] if grant is None else [{"ours": grant["claim_no"] == p["claim_no"]}]


@carries_out(revocation.UNSEEN)
def unseen(tables: Tables, p: Parameters) -> list[Row]:
    rows = tables.former_of(p["grant_id"]).values()
    found = any(row["known_dead_at"] is None and row["refresh_fingerprint"] not in p["seen"] for row in rows)
    return [{"exists": found}]


@carries_out(revocation.CURRENT_DEAD)
def current_dead(tables: Tables, p: Parameters) -> None:
    if p["grant_id"] in tables.revocations:
        tables.change(tables.revocations[p["grant_id"]], current_dead_at=at_of(tables, p))


@carries_out(revocation.FORMER_DEAD)
def former_dead(tables: Tables, p: Parameters) -> None:
    for rows in tables.former.values():
        for number in rows.keys() & set(p["ids"]):
            tables.change(rows[number], known_dead_at=at_of(tables, p))


@carries_out(revocation.DONE)
def done(tables: Tables, p: Parameters) -> None:
    row, at = tables.revocations.get(p["grant_id"]), at_of(tables, p)
    if row is None:
        return
    tables.change(
        row,
        status="done",
        evidence=p["evidence"],
        done_at=at,
        attempts=row["attempts"] + 1,
        failing_since=None,
        last_error_code=None,
        last_error_http_status=None,
        last_error_at=None,
    )
    _shred(tables, p["grant_id"], at)


def _shred(tables: Tables, grant_id: UUID, at: Any) -> None:
    for former in tables.former_of(grant_id).values():
        dead_at = former["known_dead_at"] or at
        tables.change(former, sealed_refresh_token=b"", sealed_access_token=None, known_dead_at=dead_at)
    grant = tables.grants[grant_id]
    tables.change(
        grant,
        status="revoked",
        sealed_refresh_token=None,
        sealed_access_token=None,
        claimed_at=None,
        started_at=None,
        claim_no=grant["claim_no"] + 1,
    )


@carries_out(revocation.WAKE_REPLACED)
def wake_replaced(tables: Tables, p: Parameters) -> None:
    ended = tables.revocations.get(p["grant_id"])
    if ended is None:
        return
    for row in tables.revocations.values():
        same = row["client_id"] == ended["client_id"] and row["ref"] == ended["ref"]
        if same and row["status"] == "waiting":
            tables.change(row, status="queued", due_at=at_of(tables, p))


@carries_out(revocation.AGAIN)
def again(tables: Tables, p: Parameters) -> list[Row]:
    row, at = tables.revocations.get(p["grant_id"]), at_of(tables, p)
    if row is None or row["status"] != "queued":
        return []
    failing_since = (row["failing_since"] or at) if p["failed"] else row["failing_since"]
    tables.change(
        row,
        due_at=row["due_at"] if p["wait"] is None else at + p["wait"],
        attempts=row["attempts"] + bool(p["failed"]),
        failing_since=failing_since,
        status="dead" if p["dead"] else row["status"],
        last_error_code=p["code"],
        last_error_http_status=p["http_status"],
        last_error_at=row["last_error_at"] if p["code"] is None else at,
    )
    return [{name: row[name] for name in ("id", "attempts", "failing_since")}]


@carries_out(revocation.FREE)
def free(tables: Tables, p: Parameters) -> None:
    grant = tables.grants.get(p["grant_id"])
    if grant is not None and grant["claim_no"] == p["claim_no"]:
        tables.change(grant, claimed_at=None, started_at=None)


@carries_out(revocation.END_AGAIN)
def end_again(tables: Tables, p: Parameters) -> list[Row]:
    grant = tables.grants.get(p["grant_id"])
    if grant is None or grant["status"] == "revoked":
        return []
    end = {"status": "done", "evidence": p["evidence"], "done_at": p["ended_at"]}
    row = tables.revocations.get(grant["id"])
    if row is None:
        add_revocation(tables, grant, reason="restored", **end)
    else:
        tables.next_id("revocations")
        tables.change(row, **end)
    return [{"grant_id": grant["id"]}]


@carries_out(former_token.DROP)
def drop(tables: Tables, p: Parameters) -> None:
    dropped = set(p["ids"])
    for rows in tables.former.values() if dropped else ():
        for number in rows.keys() & dropped:
            tables.drop(rows, number)
