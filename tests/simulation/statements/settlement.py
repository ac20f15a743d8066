"""The twin of models/locked_grant.py, token_set.py, ended_attempt.py and suspects.py."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models import ended_attempt, locked_grant, token_set
from models import suspects as suspect_rows
from tests.simulation.statements.attempts import NOBODYS, begins_doubt, undrained, untried
from tests.simulation.statements.claims import is_reported
from tests.simulation.statements.letters import has_letter
from tests.simulation.statements.registry import Parameters, at_of, carries_out, transposed
from tests.simulation.tables import Row, Tables

AS_HELD = (
    "client_id", "ref", "status", "generation", "claim_no", "refresh_fingerprint", "scope", "life",
    "access_expires_at", "refresh_expires_at", "consent_expires_at", "created_at", "refreshed_at",
    "doubt_since", "suspect_at", "failures", "attempts", "failing_since", "failing_for", "spent_refused_at",
)  # fmt: skip
NO_FACTS: dict[str, Any] = {
    "claimed_at": None,
    "started_at": None,
    "journal_id": None,
    "doubt_since": None,
    "doubt_journals": [],
    "doubt_repeated": False,
    "suspect_at": None,
    "failures": 0,
    "attempts": 0,
    "failing_since": None,
    "refusals": 0,
    "refused_since": None,
    "refused_code": None,
    "last_error_code": None,
    "last_error_http_status": None,
    "last_error_at": None,
    "last_error_rule": None,
    "last_error_shape": None,
    "rejected_at": None,
}


@carries_out(locked_grant.LOCK)
def lock(tables: Tables, p: Parameters) -> list[Row]:
    """Nobody waits for a lock here."""
    return [{"id": each} for each in sorted(set(p["ids"])) if each in tables.grants]


@carries_out(locked_grant.READ)
def read(tables: Tables, p: Parameters) -> list[Row]:
    at = at_of(tables, p)
    return [_held(tables, tables.grants[each], at) for each in sorted(set(p["ids"])) if each in tables.grants]


def _held(tables: Tables, grant: Row, at: datetime) -> Row:
    client, valve = tables.clients[grant["client_id"]], tables.valves[grant["client_id"]]
    witness = tables.witnesses.get(grant["client_id"], {})
    still = _still_refused(grant)
    return {
        "grant_id": grant["id"],
        **{name: grant[name] for name in AS_HELD},
        "former_fingerprints": [row["refresh_fingerprint"] for row in tables.former_of(grant["id"]).values()],
        "keep": grant["keep"] or client["keep"],
        "rotation": client["rotation"],
        "grace": client["grace"],
        "journals_undrained": undrained(tables, grant["doubt_journals"]),
        "untried_former_tokens": len(untried(tables, grant)),
        "access_rejected": grant["rejected_at"] is not None or is_reported(tables, grant),
        "has_letter": has_letter(tables, grant["id"], "refresh"),
        "refusals": grant["refusals"] if still else 0,
        "refused_since": grant["refused_since"] if still else None,
        "refused_code": grant["refused_code"],
        "client_refused_since": _client_refused_since(valve, witness.get("refused_since")),
        "witness_at": witness.get("witness_at"),
        "credentials_proven": valve["credentials_proven_no"] == client["credentials_no"],
        "was_well": grant["refreshed_at"] is not None and grant["last_error_at"] is None,
        "at": at,
        "drift": client["drift"],
        "drift_watch": client["drift_watch"],
        "last_error_code": grant["last_error_code"],
        "last_error_at": grant["last_error_at"],
    }


def _client_refused_since(valve: Row, since: datetime | None) -> datetime | None:
    """Forgotten whenever a valve opens."""
    opened_since = since is not None and valve["changed_at"] is not None and since <= valve["changed_at"]
    return None if opened_since and valve["paused_until"] is None else since


def _still_refused(grant: Row) -> bool:
    """Whether it was refused in words that nobody understands, and has not succeeded since."""
    since, refreshed_at = grant["refused_since"], grant["refreshed_at"]
    return since is not None and (refreshed_at is None or since > refreshed_at)


def _insert_former(tables: Tables, grant_id: UUID, row: Row) -> bool:
    # As in PostgreSQL a number is used up even where the row is there already.
    number = tables.next_id("former_tokens")
    fingerprints = {each["refresh_fingerprint"] for each in tables.former_of(grant_id).values()}
    if row["refresh_fingerprint"] in fingerprints:
        return False
    marks = {"id": number, "grant_id": grant_id, "stored_at": tables.now, "tried_at": None, "known_dead_at": None}
    tables.add_former({**row, **marks})
    return True


def _keep_former(tables: Tables, p: Parameters) -> None:
    for grant_id, generation, sent, fingerprint in transposed(
        p, "grant_id", "generation", "sent", "refresh_fingerprint"
    ):
        grant = tables.grants.get(grant_id)
        if grant is None or grant["sealed_refresh_token"] is None:
            continue
        held = grant["refresh_fingerprint"]
        if held is None or (sent if fingerprint is None else fingerprint) == held:
            continue
        former = {row["refresh_fingerprint"] for row in tables.former_of(grant_id).values()}
        if fingerprint is None and sent not in former:
            continue
        lives_on = tables.clients[grant["client_id"]]["rotation"] in ("none", "on_use", "until_next_refresh")
        if lives_on or (sent != held and generation == grant["generation"]):
            names = ("generation", "sealed_refresh_token", "sealed_access_token", "access_expires_at")
            kind = "predecessor" if sent == held else "surplus"
            kept = {name: grant[name] for name in names}
            kept["generation"] -= sent != held
            _insert_former(tables, grant_id, {**kept, "kind": kind, "refresh_fingerprint": held})


@carries_out(token_set.SPEND_FORMER)
def spend_former(tables: Tables, p: Parameters) -> None:
    for grant_id, sent, fingerprint in transposed(p, "grant_id", "sent", "refresh_fingerprint"):
        grant = tables.grants.get(grant_id)
        if grant is None or fingerprint is None or fingerprint == sent:
            continue
        rotation = tables.clients[grant["client_id"]]["rotation"]
        for row in tables.former_of(grant_id).values():
            if row["refresh_fingerprint"] != sent:
                continue
            if rotation in ("on_use", "until_next_refresh"):
                tables.change(row, kind="predecessor", generation=grant["generation"])
            elif rotation in ("grace", "immediate", "family"):
                tables.change(row, known_dead_at=tables.now)


@carries_out(token_set.SPEND_PREDECESSOR)
def spend_predecessor(tables: Tables, p: Parameters) -> None:
    for grant_id in p["ids"]:
        former, generation = tables.former_of(grant_id), tables.grants[grant_id]["generation"] - 1
        for row in [*former.values()]:
            if (row["kind"], row["generation"]) == ("predecessor", generation):
                tables.drop(former, row["id"])


@carries_out(token_set.UNPLACED)
def unplaced(tables: Tables, p: Parameters) -> None:
    for grant_id in p["ids"]:
        if grant_id in tables.grants:
            tables.change(tables.grants[grant_id], ever_in_doubt=True)


@carries_out(token_set.NOTIFY)
def notify(_: Tables, __: Parameters) -> None:
    """Nobody listens here."""


@carries_out(token_set.NO_LONGER_FORMER)
def no_longer_former(tables: Tables, p: Parameters) -> None:
    for grant_id in dict.fromkeys(p["ids"]):
        former, grant = tables.former_of(grant_id), tables.grants.get(grant_id)
        held = None if grant is None else grant["refresh_fingerprint"]
        for row in [row for row in former.values() if row["refresh_fingerprint"] == held]:
            tables.drop(former, row["id"])


@carries_out(token_set.DROP_OLDEST_PREDECESSORS)
def drop_oldest_predecessors(tables: Tables, p: Parameters) -> None:
    for grant_id in p["ids"]:
        former = tables.former_of(grant_id)
        predecessors = sorted(row["id"] for row in former.values() if row["kind"] == "predecessor")
        for number in predecessors[: -p["kept"]]:
            if former[number]["known_dead_at"] is None:
                tables.change(tables.grants[grant_id], predecessors_dropped=True)
            tables.drop(former, number)


@carries_out(token_set.STORE)
def store(tables: Tables, p: Parameters) -> None:
    _keep_former(tables, p)
    at = at_of(tables, p)
    for *values, life, started_at, due_at, refresh_end, consent_end, credentials, spent_refused_at, sent in transposed(
        p, "grant_id", "generation", "sealed_refresh_token", "sealed_access_token", "refresh_fingerprint", "scope",
        "life", "started_at", "due_at", "refresh_expires_at", "consent_expires_at", "credentials_no",
        "spent_refused_at", "sent",
    ):  # fmt: skip
        grant_id, generation, refresh, access, fingerprint, scope = values
        grant = tables.grants.get(grant_id)
        if grant is None or grant["generation"] > generation:
            continue
        kept = _sent(tables, grant, sent)
        dead = grant["status"] == "needs_consent"
        beside = grant["started_at"] is not None and grant["due_at"] > at
        beside = beside and grant["started_at"] != started_at
        tables.change(
            grant,
            **{**NO_FACTS, "claimed_at": NOBODYS if beside else None},
            generation=generation + 1,
            sealed_refresh_token=kept["sealed_refresh_token"] if refresh is None else refresh,
            sealed_access_token=access,
            refresh_fingerprint=kept["refresh_fingerprint"] if fingerprint is None else fingerprint,
            access_expires_at=started_at + life,
            older_access_ends_at=_later(grant["older_access_ends_at"], grant["access_expires_at"]),
            refresh_expires_at=refresh_end,
            consent_expires_at=consent_end,
            life=life,
            scope=grant["scope"] if scope is None else scope,
            status="active" if dead else grant["status"],
            reason=None if dead else grant["reason"],
            refreshed_at=started_at,
            refreshed_credentials_no=credentials,
            spent_refused_at=spent_refused_at,
            asked_at=at,
            due_at=grant["due_at"] if beside else due_at,
            claim_no=grant["claim_no"] + 1,
            failing_for=timedelta(0),
            ever_in_doubt=grant["ever_in_doubt"] or grant["doubt_since"] is not None,
        )


def _later(*times: datetime | None) -> datetime | None:
    return max((each for each in times if each is not None), default=None)


def _sent(tables: Tables, grant: Row, sent: bytes) -> Row:
    """What stays where the answer names no refresh token: the one that was sent."""
    former = tables.former_of(grant["id"]).values()
    return next(
        (row for row in former if row["refresh_fingerprint"] == sent and row["sealed_refresh_token"] != b""), grant
    )


@carries_out(token_set.ADD_SURPLUS)
def add_surplus(tables: Tables, p: Parameters) -> list[Row]:
    new = []
    for grant_id, generation, refresh, access, fingerprint, expires_at in transposed(
        p, "grant_id", "generation", "sealed_refresh_token", "sealed_access_token", "refresh_fingerprint",
        "access_expires_at",
    ):  # fmt: skip
        row = {
            "kind": "surplus",
            "generation": generation,
            "sealed_refresh_token": refresh,
            "sealed_access_token": access,
            "refresh_fingerprint": fingerprint,
            "access_expires_at": expires_at,
        }
        if _insert_former(tables, grant_id, row):
            new.append({"grant_id": grant_id})
    return new


@carries_out(token_set.REOPEN_GRANTS)
def reopen_grants(tables: Tables, p: Parameters) -> None:
    for grant_id in p["ids"]:
        grant = tables.grants.get(grant_id)
        if grant is not None and grant["status"] == "revoked":
            tables.change(grant, status="revoking")


@carries_out(token_set.REOPEN)
def reopen(tables: Tables, p: Parameters) -> list[Row]:
    at, reopened = at_of(tables, p), []
    for grant_id in dict.fromkeys(p["ids"]):
        row = tables.revocations.get(grant_id)
        if row is not None:
            status = "queued" if row["status"] == "done" else row["status"]
            due_at = min(row["due_at"], at)
            tables.change(row, status=status, due_at=due_at, done_at=None, evidence=None, current_dead_at=None)
            reopened.append({"grant_id": grant_id})
    return reopened


ENDED = (
    "grant_id", "claim_no", "generation", "unknown", "failed", "suspect", "refused", "due_at", "code", "http_status",
    "reason", "rule", "shape",
)  # fmt: skip


@carries_out(ended_attempt.END)
def end(tables: Tables, p: Parameters) -> list[Row]:
    at, ended = at_of(tables, p), []
    for values in transposed(p, *ENDED):
        attempt = dict(zip(ENDED, values, strict=True))
        grant = tables.grants.get(attempt["grant_id"])
        if grant is not None and grant["claim_no"] == attempt["claim_no"] and grant["started_at"] is not None:
            ended.append(_end(tables, grant, attempt, at))
    return ended


def _end(tables: Tables, grant: Row, attempt: Row, at: datetime) -> Row:
    may_judge = grant["generation"] == attempt["generation"] and grant["status"] == "active"
    since, repeated = grant["doubt_since"], grant["doubt_since"] is not None
    if attempt["unknown"] and begins_doubt(grant, tables.clients[grant["client_id"]]):
        since, repeated = grant["started_at"], False
    changed: Row = {
        "started_at": None,
        "doubt_since": since,
        "doubt_repeated": repeated,
        "asked_at": at,
    }
    looked = grant["status"] == "needs_consent"
    if not looked:
        changed |= {
            "attempts": grant["attempts"] + 1,
            "last_error_code": attempt["code"],
            "last_error_http_status": attempt["http_status"],
            "last_error_at": at,
            "last_error_rule": attempt["rule"],
            "last_error_shape": attempt["shape"],
        }
    if attempt["refused"] and not looked and grant["generation"] == attempt["generation"]:
        alike = _still_refused(grant) and grant["refused_code"] == attempt["code"]
        changed["refusals"] = grant["refusals"] + 1 if alike else 1
        changed["refused_since"] = grant["refused_since"] if alike else at
        changed["refused_code"] = attempt["code"]
    if may_judge:
        changed |= _judgement(tables, grant, attempt, at)
    tables.change(grant, **changed)
    told = (
        "id", "ref", "client_id", "generation", "labels", "status", "reason", "attempts", "failing_since",
        "failing_for", "suspect_at",
    )  # fmt: skip
    return {**{name: grant[name] for name in told}, "may_judge": may_judge, "at": at}


def _judgement(tables: Tables, grant: Row, attempt: Row, at: datetime) -> Row:
    judged: Row = {"due_at": attempt["due_at"]}
    if attempt["failed"]:
        judged["failures"] = grant["failures"] + 1
        judged["failing_since"] = grant["failing_since"] or at
        last, success = grant["last_error_at"], tables.valves[grant["client_id"]]["last_success_at"]
        if last is not None and success is not None and success > last:
            judged["failing_for"] = grant["failing_for"] + (at - last)
    if attempt["suspect"]:
        judged["suspect_at"] = grant["suspect_at"] or at
    if attempt["reason"] is not None:
        judged |= {"status": "needs_consent", "reason": attempt["reason"]}
    return judged


@carries_out(ended_attempt.NOT_IN_JOURNAL)
def not_in_journal(tables: Tables, p: Parameters) -> None:
    journal_id = p["journal_id"]
    started = defaultdict[Any, list[Any]](list)
    for grant_id, started_at in zip(p["ids"], p["started_at"], strict=True):
        started[grant_id].append(started_at)
    for grant_id, times in started.items():
        grant = tables.grants.get(grant_id)
        if grant is None:
            continue
        stands = grant["started_at"] in times
        if grant["started_at"] is not None and grant["journal_id"] == journal_id:
            found = stands
        else:
            found = journal_id in grant["doubt_journals"]
        if found:
            left = [each for each in grant["doubt_journals"] if each != journal_id]
            is_gone = stands and grant["journal_id"] == journal_id
            tables.change(grant, doubt_journals=left, journal_id=None if is_gone else grant["journal_id"])


@carries_out(ended_attempt.TRIED)
def tried(tables: Tables, p: Parameters) -> None:
    tried_ids = set(p["ids"])
    for rows in tables.former.values() if tried_ids else ():
        for number in rows.keys() & tried_ids:
            tables.change(rows[number], tried_at=at_of(tables, p))


@carries_out(suspect_rows.SURROUNDINGS)
def surroundings(tables: Tables, p: Parameters) -> list[Row]:
    grants = tables.of_client("grants", p["client_id"])
    active = [grant for grant in grants if grant["status"] == "active"]
    suspects = len([grant for grant in active if grant["suspect_at"] is not None])
    horizon = p["at"] - p["life"]
    asked = len([grant for grant in active if grant["asked_at"] is not None and grant["asked_at"] > horizon])
    witnessed = any(
        grant["refreshed_at"] is not None
        and p["suspect_at"] < grant["refreshed_at"] <= p["started_at"]
        and grant["refreshed_credentials_no"] == p["credentials_no"]
        and grant["id"] != p["grant_id"]
        for grant in grants
    )
    return [
        {
            "witnessed": witnessed,
            "suspects": suspects,
            "asked": min(asked, 100 * suspects + 1),
            "deaths_accepted_at": tables.valves[p["client_id"]]["deaths_accepted_at"],
        }
    ]


@carries_out(suspect_rows.HOLD)
def hold_deaths(tables: Tables, p: Parameters) -> list[Row]:
    valve, grants = tables.valves[p["client_id"]], tables.of_client("grants", p["client_id"])
    active = [each for each in grants if each["status"] == "active"]
    first = min((each["suspect_at"] for each in active if each["suspect_at"] is not None), default=None)
    held = valve["deaths_held_at"]
    if held is not None and held > p["at"] - timedelta(days=1) and not (first is not None and held < first):
        return []
    tables.change(valve, deaths_held_at=p["at"])
    return [{"client_id": p["client_id"]}]
