"""The twin of models/claim.py."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from models import claim
from tests.simulation.statements.installation import state
from tests.simulation.statements.registry import Parameters, at_of, carries_out
from tests.simulation.tables import Row, Tables

MINUTE = timedelta(seconds=60)


def is_due(grant: Row, at: datetime) -> bool:
    """An active grant whose lease or wait is over."""
    return bool(grant["status"] == "active" and grant["due_at"] <= at)


def is_under_way(grant: Row, at: datetime) -> bool:
    """A live lease."""
    return bool(grant["due_at"] > at and is_claimed(grant))


def is_claimed(grant: Row) -> bool:
    """Claimed or begun, be it that its lease has lapsed."""
    return grant["claimed_at"] is not None or grant["started_at"] is not None


def has_due(tables: Tables, client_id: int, at: datetime) -> bool:
    """Whether an active grant of the client is due."""
    due_at = tables.agenda(client_id).due_at
    return due_at is not None and due_at <= at


def repeats_in_grace(grant: Row, client: Row, at: datetime) -> bool:
    """In doubt where the old refresh token lives for seconds."""
    if client["grace"] is None or not is_due(grant, at):
        return False
    over, started, since = at - client["grace"], grant["started_at"], grant["doubt_since"]
    unended = started is not None and started > over
    return bool(unended or (since is not None and since > over and not grant["doubt_repeated"]))


def canary_has_lapsed(tables: Tables, valve: Row, at: datetime) -> bool:
    """Shut until its canary's back-off ends, and that canary was never sent."""
    end = canary_lapses_at(tables, valve)
    return end is not None and end <= at


def canary_lapses_at(tables: Tables, valve: Row) -> datetime | None:
    """When the claim of a canary that was not begun lapses, where it is its back-off that is waited for."""
    grant = tables.grants.get(valve["canary_grant_id"])
    if grant is None or grant["claimed_at"] is None or grant["started_at"] is not None:
        return None
    is_its_own = valve["paused_until"] == grant["claimed_at"] + timedelta(seconds=valve["pause_seconds"])
    return grant["due_at"] if is_its_own else None


@carries_out(claim.LOOK)
def look(tables: Tables, p: Parameters) -> list[Row]:
    at = at_of(tables, p)
    if state(tables, p["environment"]) != "fit":
        return []
    return [{"client_id": client_id} for client_id in sorted(tables.valves) if _worth_a_look(tables, client_id, at)]


def _worth_a_look(tables: Tables, client_id: int, at: datetime) -> bool:
    valve, client = tables.valves[client_id], tables.clients[client_id]
    shut = valve["paused_until"] is not None and valve["paused_until"] > at
    shut = shut and not canary_has_lapsed(tables, valve, at)
    if shut and not any(repeats_in_grace(grant, client, at) for grant in tables.agenda(client_id).doubtful):
        return False
    if _is_queued(tables, client_id, at):
        return True
    if valve["paused_by_operator"]:
        return False
    return has_due(tables, client_id, at) or bool(tables.of_client("refresh_requests", client_id))


def _is_queued(tables: Tables, client_id: int, at: datetime) -> bool:
    return any(row["due_at"] <= at for row in tables.agenda(client_id).queued)


VALVE = (
    "client_id", "next_slot_at", "slot_no", "paused_by_operator", "paused_until", "pause_reason", "pause_seconds",
    "changed_at", "canary_grant_id", "strike_grant_ids", "minute_at", "minute_asked", "minute_bad", "minute_grant_ids",
)  # fmt: skip


def of_valve(row: Row) -> Row:
    """What is read of a valve that is locked."""
    return {name: row[name] for name in VALVE}


@carries_out(claim.LOCK_VALVE)
def lock_valve(tables: Tables, p: Parameters) -> list[Row]:
    client_id, at = p["client_id"], at_of(tables, p)
    valve, client = tables.valves.get(client_id), tables.clients.get(client_id)
    if valve is None or client is None or state(tables, p["environment"]) != "fit":
        return []
    under_way = sum(is_under_way(grant, at) for grant in tables.agenda(client_id).busy)
    of_client = {name: client[name] for name in ("rate_per_minute", "burst", "attempt_lease", "rotation")}
    grants = tables.of_client("grants", client_id) if has_due(tables, client_id, at) else []
    waiting = {
        "revocations_wait": _is_queued(tables, client_id, at),
        "failing_wait": any(grant["failures"] > 0 and is_due(grant, at) for grant in grants),
        "requests_wait": bool(tables.of_client("refresh_requests", client_id)),
    }
    witness = tables.witnesses.get(client_id, {})
    slowed = {name: witness.get(name) for name in ("slowed_by", "slowed_from")}
    scarce_until = witness.get("scarce_until")
    known = {
        "quota_is_scarce": scarce_until is not None and scarce_until > at,
        "canary_has_lapsed": canary_has_lapsed(tables, valve, at) and valve["paused_until"] > at,
        "at": at,
        "under_way": under_way,
    }
    return [{**of_valve(valve), **of_client, **slowed, **known, **waiting}]


def _take(tables: Tables, p: Parameters, chosen: Iterable[Row], **also: Any) -> list[Row]:
    taken = []
    for grant in chosen:
        number = grant["claim_no"] + 1
        tables.change(grant, claim_no=number, claimed_at=p["at"], due_at=p["at"] + p["lease"], **also)
        taken.append({"id": grant["id"], "claim_no": number})
    return taken


def _take_due(
    tables: Tables, p: Parameters, order: Callable[[Row], Any], condition: Callable[[Row], bool]
) -> list[Row]:
    client_id, at = p["client_id"], p["at"]
    if not has_due(tables, client_id, at):
        return []
    found = [
        g
        for g in tables.of_client("grants", client_id)
        if is_due(g, at) and condition(g) and g["id"] not in tables.revocations
    ]
    return _take(tables, p, sorted(found, key=order)[: p["most"]])


def _due_at(grant: Row) -> datetime:
    due: datetime = grant["due_at"]
    return due


@carries_out(claim.DUE)
def due(tables: Tables, p: Parameters) -> list[Row]:
    return _take_due(tables, p, _due_at, lambda _: True)


@carries_out(claim.FAILING)
def failing(tables: Tables, p: Parameters) -> list[Row]:
    return _take_due(tables, p, _due_at, lambda grant: grant["failures"] > 0)


@carries_out(claim.CANARY)
def canary(tables: Tables, p: Parameters) -> list[Row]:
    def order(grant: Row) -> tuple[bool, bool, bool, bool, bool, bool, datetime]:
        suspect = grant["suspect_at"] is not None
        refused_alone = grant["refusals"] > 0 and grant["failures"] > 0
        in_doubt = grant["doubt_since"] is not None or grant["started_at"] is not None
        failed = _failed_since(grant, p["failed_since"])
        was_last = grant["id"] == p["last"]
        return suspect, refused_alone, in_doubt, failed, was_last, grant["failures"] > 0, grant["due_at"]

    return _take_due(tables, p, order, lambda _: True)


def _failed_since(grant: Row, since: datetime | None) -> bool:
    return since is not None and grant["last_error_at"] is not None and grant["last_error_at"] >= since


@carries_out(claim.WITNESS)
def witness(tables: Tables, p: Parameters) -> list[Row]:
    found = [tables.grants[each] for each in dict.fromkeys(p["ids"]) if each in tables.grants]
    return _take(tables, p, [grant for grant in found if _may_witness(tables, grant, p)][:1])


def _may_witness(tables: Tables, grant: Row, p: Parameters) -> bool:
    idle = grant["started_at"] is None and (grant["claimed_at"] is None or grant["due_at"] <= p["at"])
    well = grant["failures"] == 0 and grant["suspect_at"] is None and grant["doubt_since"] is None
    ours = grant["client_id"] == p["client_id"] and grant["status"] == "active"
    free = not _is_too_soon(tables, grant, p["at"]) and grant["id"] not in tables.revocations
    return bool(ours and idle and well and free)


def _is_too_soon(tables: Tables, grant: Row, at: datetime) -> bool:
    interval, asked_at = tables.clients[grant["client_id"]]["grant_interval"], grant["asked_at"]
    return interval is not None and asked_at is not None and asked_at > at - interval


@carries_out(claim.REPEATS)
def repeats(tables: Tables, p: Parameters) -> list[Row]:
    client = tables.clients[p["client_id"]]
    return _take_due(tables, p, _due_at, lambda grant: repeats_in_grace(grant, client, p["at"]))


@carries_out(claim.REQUESTED)
def requested(tables: Tables, p: Parameters) -> list[Row]:
    refresh_requests = sorted(
        tables.of_client("refresh_requests", p["client_id"]), key=lambda request: request["requested_at"]
    )
    found = [(request, tables.grants[request["grant_id"]]) for request in refresh_requests]
    chosen = [
        grant
        for request, grant in found
        if _may_be_early(request, grant, p["at"])
        and not _is_too_soon(tables, grant, p["at"])
        and grant["id"] not in tables.revocations
    ][: p["most"]]
    used = {grant["id"] for grant in chosen}
    for grant in chosen:
        if is_reported(tables, grant):
            tables.change(grant, rejected_at=p["at"])
    for request in [request for request in tables.refresh_requests.values() if request["grant_id"] in used]:
        tables.drop(tables.refresh_requests, request["id"])
    return _take(tables, p, chosen)


def is_reported(tables: Tables, grant: Row) -> bool:
    """Whether an application was refused with the access token held."""
    return any(
        request["rejected"] and request["generation"] == grant["generation"]
        for request in tables.of_grant("refresh_requests", grant["id"])
    )


def _may_be_early(request: Row, grant: Row, at: datetime) -> bool:
    idle = grant["due_at"] <= at or (grant["attempts"] == 0 and not is_claimed(grant))
    well = grant["failures"] == 0 and grant["suspect_at"] is None and grant["doubt_since"] is None
    youngest = MINUTE if grant["life"] is None else min(MINUTE, grant["life"] / 4)
    old_enough = grant["refreshed_at"] is None or grant["refreshed_at"] <= at - youngest
    meant = grant["status"] == "active" and grant["generation"] == request["generation"]
    return bool(meant and idle and well and old_enough)


@carries_out(claim.DROP_VOID_REQUESTS)
def drop_void_requests(tables: Tables, p: Parameters) -> None:
    for request in list(tables.of_client("refresh_requests", p["client_id"])):
        grant = tables.grants[request["grant_id"]]
        if grant["generation"] != request["generation"] or grant["status"] not in ("active", "paused"):
            tables.drop(tables.refresh_requests, request["id"])


@carries_out(claim.REVOCATIONS)
def revocations(tables: Tables, p: Parameters) -> list[Row]:
    at = p["at"]
    queued = [row for row in tables.agenda(p["client_id"]).queued if row["due_at"] <= at]
    ready = []
    for row in sorted(queued, key=lambda row: row["due_at"]):
        grant = tables.grants[row["grant_id"]]
        if (row["current_dead_at"] is not None) != p["of_formers"]:
            continue
        if grant["due_at"] <= at or not is_claimed(grant):
            ready.append(grant)
    return _take(tables, p, ready[: p["most"]], status="revoking")


@carries_out(claim.SET_VALVE)
def set_valve(tables: Tables, p: Parameters) -> None:
    names = (
        "next_slot_at", "slot_no", "paused_until", "pause_reason", "pause_seconds", "changed_at", "canary_grant_id",
        "strike_grant_ids", "minute_at", "minute_asked", "minute_bad", "minute_grant_ids",
    )  # fmt: skip
    valve = tables.valves[p["client_id"]]
    changed = {name: p[name] for name in names}
    if p["proven_no"] is not None and tables.clients[p["client_id"]]["credentials_no"] == p["proven_no"]:
        last, at = valve["last_success_at"], p["succeeded_at"]
        changed |= {
            "last_success_at": at if last is None else max(last, at),
            "credentials_proven_no": p["proven_no"],
        }
    tables.change(valve, **changed)
