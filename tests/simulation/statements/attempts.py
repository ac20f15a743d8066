"""The twin of models/attempt.py."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from models import attempt
from tests.simulation.statements.claims import is_reported
from tests.simulation.statements.installation import state
from tests.simulation.statements.registry import Parameters, at_of, carries_out, transposed
from tests.simulation.tables import Row, Tables

NOBODYS = datetime(1970, 1, 1, tzinfo=UTC)  # a claim that stands for an attempt under way
OFTEN_ENOUGH = 3  # refusals
LONG_ENOUGH = timedelta(minutes=10)  # between the first and the last of them


def undrained(tables: Tables, journal_ids: list[int]) -> bool:
    """Whether one of these journals may still hold an answer."""
    found = (tables.journals.get(each) for each in journal_ids)
    return any(row is not None and row["drained_at"] is None and row["abandoned_at"] is None for row in found)


def begins_doubt(grant: Row, client: Row) -> bool:
    """Whether the attempt under way began when every earlier grace was over, or is the first in doubt."""
    since, grace = grant["doubt_since"], client["grace"]
    return since is None or (grace is not None and grant["started_at"] > since + 2 * grace)


@carries_out(attempt.START)
def start(tables: Tables, p: Parameters) -> list[Row]:
    if state(tables, p["environment"]) != "fit" or (p["tick"] is not None and p["tick"] not in tables.ticks):
        return []
    at = at_of(tables, p)
    jobs: list[tuple[UUID, int]] = sorted(set(zip(p["ids"], p["claim_nos"], strict=True)))
    mine = [tables.grants[job[0]] for job in jobs if _is_mine(tables, job, p["status"], at)]
    return [_begin(tables, grant, at, p["journal_id"]) for grant in mine]


def _is_mine(tables: Tables, job: tuple[UUID, int], status: str, at: datetime) -> bool:
    grant_id, claim_no = job
    grant = tables.grants.get(grant_id)
    if grant is None or grant["claim_no"] != claim_no or grant["claimed_at"] is None or grant["status"] != status:
        return False
    if grant["due_at"] <= at or grant["claimed_at"] <= NOBODYS:
        return False
    return status == "revoking" or grant_id not in tables.revocations


def _begin(tables: Tables, grant: Row, at: datetime, journal_id: int) -> Row:
    client = tables.clients[grant["client_id"]]
    since, repeated, journals = grant["doubt_since"], grant["doubt_repeated"], grant["doubt_journals"]
    if grant["started_at"] is not None:
        begins = begins_doubt(grant, client) and not undrained(tables, journals)
        if since is None or (begins and not _was_held_back(tables, grant, client, at)):
            since, repeated = grant["started_at"], False
        if grant["journal_id"] is not None and grant["journal_id"] not in journals:
            journals = [*journals, grant["journal_id"]]
    tables.change(
        grant,
        claim_no=grant["claim_no"] + 1,
        claimed_at=None,
        started_at=at,
        journal_id=journal_id,
        due_at=at + client["attempt_lease"],
        doubt_since=since,
        doubt_repeated=repeated,
        doubt_journals=journals,
    )
    return _started(tables, grant)


def _was_held_back(tables: Tables, grant: Row, client: Row, at: datetime) -> bool:
    """Whether its access token serves yet, which a late repeat would end."""
    least = min(timedelta(minutes=1), timedelta.max if grant["life"] is None else grant["life"] / 4)
    serves = grant["access_expires_at"] is not None and grant["access_expires_at"] - least > at
    is_rejected = grant["rejected_at"] is not None or is_reported(tables, grant)
    return (client["after_grace"] or "family") == "family" and serves and not is_rejected


def _started(tables: Tables, grant: Row) -> Row:
    valve = tables.valves[grant["client_id"]]
    paused = valve["paused_until"] is not None and valve["paused_until"] > grant["started_at"]
    canary = paused and valve["canary_grant_id"] == grant["id"]
    former = _next_former(tables, grant)
    held = grant if former is None else former
    return {
        "grant_id": grant["id"],
        "client_id": grant["client_id"],
        "ref": grant["ref"],
        "status": grant["status"],
        "generation": grant["generation"],
        "claim_no": grant["claim_no"],
        "started_at": grant["started_at"],
        "lease_until": grant["due_at"],
        "sealed_refresh_token": held["sealed_refresh_token"],
        "refresh_fingerprint": held["refresh_fingerprint"],
        "former_token_id": None if former is None else former["id"],
        "labels": grant["labels"],
        "life": grant["life"],
        "access_expires_at": grant["access_expires_at"],
        "access_rejected": grant["rejected_at"] is not None or is_reported(tables, grant),
        "doubt_since": grant["doubt_since"],
        "doubt_repeated": grant["doubt_repeated"],
        "journals_undrained": undrained(tables, grant["doubt_journals"]),
        "suspect_at": grant["suspect_at"],
        "failing_since": grant["failing_since"],
        "client_paused": valve["paused_by_operator"] and grant["status"] != "revoking",
        "valve_shut": paused and not canary,
        "canary": canary,
    }


def untried(tables: Tables, grant: Row) -> list[Row]:
    """Former tokens that had no attempt and are not known dead, the oldest first."""
    rows = tables.former_of(grant["id"]).values()
    return [row for row in rows if row["tried_at"] is None and row["known_dead_at"] is None]


def _its_token_was_refused(grant: Row) -> bool:
    code, rule = grant["last_error_code"], grant["last_error_rule"]
    if rule is None:
        return bool(code == "invalid_grant")
    return re.match(r"[0-9]+: (dead|consent)", rule) is not None and not (code or "").endswith("_unproven")


def _next_former(tables: Tables, grant: Row) -> Row | None:
    suspect_at, asked_at = grant["suspect_at"], grant["asked_at"]
    newest = max(untried(tables, grant), key=lambda row: row["id"], default=None)
    if newest is None or _is_refused_alone(tables, grant):
        return newest
    if suspect_at is None:
        return None
    client = tables.clients[grant["client_id"]]
    after = client["after_grace"] or "family"
    if "family" in (client["rotation"], after if client["rotation"] == "grace" else ""):
        twice = asked_at is not None and asked_at > suspect_at and _its_token_was_refused(grant)
        if not twice:
            return None
    return newest


def _is_refused_alone(tables: Tables, grant: Row) -> bool:
    """Three times over ten minutes, in one word that nobody understands, while others succeed."""
    since, witness = grant["refused_since"], tables.witnesses.get(grant["client_id"], {}).get("witness_at")
    if grant["refusals"] < OFTEN_ENOUGH or since is None or witness is None or witness <= since:
        return False
    still = grant["refreshed_at"] is None or since > grant["refreshed_at"]
    alike = grant["last_error_code"] == grant["refused_code"]
    return still and alike and bool(grant["asked_at"] >= since + LONG_ENOUGH)


@carries_out(attempt.BEGUN)
def begun(tables: Tables, p: Parameters) -> list[Row]:
    found = []
    for grant_id, claim_no in transposed(p, "ids", "claim_nos"):
        grant = tables.grants.get(grant_id)
        if grant is None or grant["claim_no"] != claim_no + 1 or grant["claimed_at"] is not None:
            continue
        if grant["started_at"] is not None and grant["journal_id"] == p["journal_id"]:
            found.append({"grant_id": grant_id, "claim_no": claim_no})
    return found


@carries_out(attempt.RELEASE)
def release(tables: Tables, p: Parameters) -> list[Row]:
    at, released = at_of(tables, p), []
    for grant_id, claim_no, wait in transposed(p, "ids", "claim_nos", "waits"):
        grant = tables.grants.get(grant_id)
        if grant is not None and grant["claim_no"] == claim_no:
            begun = None if grant["claimed_at"] is None else grant["started_at"]
            tables.change(grant, claimed_at=None, started_at=begun, due_at=at + wait)
            released.append({"id": grant_id})
    return released
