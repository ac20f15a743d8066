"""The twin of models/client.py."""

from datetime import timedelta

from models import client, witness
from tests.simulation.statements.claims import has_due, of_valve
from tests.simulation.statements.registry import Parameters, at_of, carries_out, carries_out_words
from tests.simulation.tables import Row, Tables

KNOWN = (
    "id", "name", "provider", "overrides", "client_id", "sealed_client_secret", "credentials_no", "redirect_uri",
    "attempt_lease", "keep", "updated_at", "scopes",
)  # fmt: skip


@carries_out(client.KNOWN)
def known(tables: Tables, p: Parameters) -> list[Row]:
    return [
        {
            **{name: tables.clients[each][name] for name in KNOWN},
            # The weather has no new secrets, so nothing is ever kept beside the present one.
            **dict.fromkeys(("sealed_former_secret", "secret_refused_at")),
            "proven": tables.valves[each]["credentials_proven_no"] == tables.clients[each]["credentials_no"],
        }
        for each in p["ids"]
        if each in tables.clients
    ]


@carries_out(client.LOCK_FOR_RESULTS)
def lock_for_results(tables: Tables, p: Parameters) -> list[Row]:
    at = at_of(tables, p)
    of_client = ("rate_per_minute", "burst", "name")
    return [
        {**of_valve(tables.valves[each]), **{name: tables.clients[each][name] for name in of_client}, "at": at}
        for each in sorted(p["ids"])
        if each in tables.valves
    ]


WITNESS = (
    "client_id", "refused_since", "refused_code", "refused_grant_ids", "witness_at", "witness_grant_ids",
    "mixed_since", "mixed_grant_ids", "slowed_by", "slowed_at", "slowed_from", "slowed_code", "minute_at",
    "minute_asked", "minute_refused", "minute_code", "passing_code", "passing_at",
)  # fmt: skip


@carries_out(witness.READ)
def read_witnesses(tables: Tables, p: Parameters) -> list[Row]:
    found = [tables.witnesses[each] for each in p["ids"] if each in tables.witnesses]
    return [{name: row[name] for name in WITNESS} for row in found]


@carries_out(witness.WRITE)
def write_witness(tables: Tables, p: Parameters) -> None:
    row = {name: p[name] for name in WITNESS}
    if (known := tables.witnesses.get(p["client_id"])) is None:
        tables.put(tables.witnesses, p["client_id"], row | dict.fromkeys(QUOTA))
    else:
        tables.change(known, **row)


QUOTA = ("remaining", "remaining_at", "scarce_until")


@carries_out(witness.NOTE_QUOTA)
def note_quota(tables: Tables, p: Parameters) -> None:
    at = at_of(tables, p)
    scarce_until = None if p["scarce_for"] is None else at + p["scarce_for"]
    told = {"remaining": p["remaining"], "remaining_at": at, "scarce_until": scarce_until}
    if (known := tables.witnesses.get(p["client_id"])) is None:
        nothing = dict.fromkeys(("refused_since", "refused_code", "witness_at"))
        row = {"client_id": p["client_id"], "refused_grant_ids": [], "witness_grant_ids": [], **nothing, **told}
        tables.put(tables.witnesses, p["client_id"], row)
    else:
        tables.change(known, **told)


@carries_out(client.DEBIT)
def debit(tables: Tables, p: Parameters) -> None:
    valve, rate = tables.valves[p["client_id"]], tables.clients[p["client_id"]]["rate_per_minute"]
    step = timedelta(0) if rate is None else timedelta(minutes=1) / (rate * p["usable_share"])
    next_slot_at = max(valve["next_slot_at"], at_of(tables, p)) + p["slots"] * step
    tables.change(valve, next_slot_at=next_slot_at, slot_no=valve["slot_no"] + p["slots"])


@carries_out(client.DEBIT_REVOCATION)
def debit_revocation(tables: Tables, p: Parameters) -> None:
    debit(tables, {**p, "slots": 1})
    valve, others = tables.valves[p["client_id"]], p["others"]
    before = valve["slot_no"] - 1
    owed = min(before, before % (others + 1)) - others
    tables.change(valve, slot_no=max(owed, -p["most_owed"]))


@carries_out(client.HAS_SLOT)
def has_slot(tables: Tables, p: Parameters) -> list[Row]:
    return [{"has_slot": tables.valves[p["client_id"]]["next_slot_at"] <= at_of(tables, p) + p["tolerance"]}]


@carries_out_words("where client_id = :client_id and status = 'active' and due_at <= clock_timestamp()")
def work_waits(tables: Tables, p: Parameters) -> list[Row]:
    at, client_id = tables.now - p["longer_than"], p["client_id"]
    queued = tables.agenda(client_id).queued
    return [{"exists": has_due(tables, client_id, at) or any(row["due_at"] <= at for row in queued)}]


@carries_out_words("select id from evergrant.clients where name = :name")
def id_of(tables: Tables, p: Parameters) -> list[Row]:
    return [{"id": row["id"]} for row in tables.clients.values() if row["name"] == p["name"]]
