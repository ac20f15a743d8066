"""The twin of models/consent.py."""

import json
from datetime import timedelta

from models import consent
from tests.simulation.statements.registry import Parameters, carries_out, transposed
from tests.simulation.statements.revocations import add_revocation
from tests.simulation.statements.settlement import NO_FACTS
from tests.simulation.tables import Row, Tables

COLUMNS = (
    "id", "ref", "status", "generation", "labels", "keep", "scope", "sealed_refresh_token", "sealed_access_token",
    "refresh_fingerprint", "access_expires_at", "life", "due_at", "refresh_expires_at", "consent_expires_at",
    "refreshed_at", "created_at",
)  # fmt: skip
LIVE = ("id", "ref", "status", "generation", "labels", "keep", "refresh_fingerprint", "created_at")


@carries_out(consent.INSERT)
def insert(tables: Tables, p: Parameters) -> list[Row]:
    made = []
    for *values, credentials_no in transposed(p, *COLUMNS, "credentials_no"):
        row: Row = dict(zip(COLUMNS, values, strict=True))
        if row["id"] in tables.grants or _ref_is_held(tables, p["client_id"], row["ref"]):
            continue
        row |= {
            **NO_FACTS,
            "client_id": p["client_id"],
            "labels": json.loads(row["labels"]),
            "due_at": row["due_at"] or tables.now,
            "asked_at": row["refreshed_at"],
            "refreshed_credentials_no": credentials_no,
            "claim_no": 0,
            "ever_in_doubt": False,
            "predecessors_dropped": False,
            "reason": None,
            "older_access_ends_at": None,
            "spent_refused_at": None,
            "failing_for": timedelta(0),
            "created_at": row["created_at"] or tables.now,
        }
        tables.put(tables.grants, row["id"], row)
        made.append({"id": row["id"]})
    return made


def _ref_is_held(tables: Tables, client_id: int, ref: str) -> bool:
    return any(
        grant["ref"] == ref and grant["status"] not in ("revoking", "revoked")
        for grant in tables.of_client("grants", client_id)
    )


@carries_out(consent.HOLDERS)
def holders(tables: Tables, p: Parameters) -> list[Row]:
    return [
        {
            "fingerprint": fingerprint,
            "grant_id": grant["id"],
            "ref": grant["ref"],
            "client": tables.clients[grant["client_id"]]["name"],
            "client_id": grant["client_id"],
        }
        for fingerprint in p["fingerprints"]
        for grant in tables.grants.values()
        if grant["refresh_fingerprint"] == fingerprint and grant["status"] != "revoked"
    ]


@carries_out(consent.LIVE)
def live(tables: Tables, p: Parameters) -> list[Row]:
    found = [
        grant
        for grant in tables.grants.values()
        if grant["client_id"] == p["client_id"]
        and grant["ref"] in p["refs"]
        and grant["status"] not in ("revoking", "revoked")
    ]
    return [{name: grant[name] for name in LIVE} for grant in sorted(found, key=lambda grant: str(grant["id"]))]


@carries_out(consent.PENDING)
def pending(tables: Tables, p: Parameters) -> list[Row]:
    newest: dict[str, int] = {}
    for row in tables.revocations.values():
        if row["client_id"] != p["client_id"] or row["ref"] not in p["refs"] or row["reason"] == "replaced":
            continue
        told = any(d["revocation_id"] == row["id"] and d["resolved_at"] is None for d in tables.letters.values())
        if row["status"] == "queued" or (row["status"] == "dead" and told):
            newest[row["ref"]] = max(newest.get(row["ref"], 0), row["id"])
    return [{"ref": ref, "max": number} for ref, number in newest.items()]


@carries_out(consent.RETIRE)
def retire(tables: Tables, p: Parameters) -> None:
    if p["id"] in tables.grants:
        grant = tables.grants[p["id"]]
        tables.change(grant, status="revoking", claim_no=grant["claim_no"] + 1, claimed_at=None)


@carries_out(consent.REPLACE)
def replace(tables: Tables, p: Parameters) -> None:
    if p["id"] in tables.grants:
        add_revocation(tables, tables.grants[p["id"]], reason="replaced", status=p["status"])


@carries_out(consent.EXISTING)
def existing(tables: Tables, p: Parameters) -> list[Row]:
    return [{"id": each} for each in p["ids"] if each in tables.grants]
