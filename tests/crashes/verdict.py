"""The verdict: what the provider's ledger and the database say, once everything has come to rest.

lost          no refresh token that is held, in the row or beside it, is alive at the provider
attributed    to an answer that was lost on the wire, or to a kill between the provider's act and our fsync; to a
              process frozen between its last guard and its last byte until its lease had lapsed
not kept      a token set that was journaled, and is neither in the row, nor beside it, nor ever used
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from tests.crashes.evidence import Evidence, Sending
from tests.crashes.fleet import Fleet, Member
from tests.crashes.points import Act
from tests.crashes.trace import mark_of

NOTHING_MAY_BE_LOST: Final = ("none", "on_use", "grace")

HELD: Final = """
select g.id, g.ref, g.status, g.sealed_refresh_token as sealed from evergrant.grants g
where g.client_id = %(client_id)s and g.sealed_refresh_token is not null
union all
select g.id, g.ref, g.status, t.sealed_refresh_token from evergrant.former_tokens t
join evergrant.grants g on g.id = t.grant_id
where g.client_id = %(client_id)s and t.sealed_refresh_token <> ''
"""
GRANTS: Final = """
select g.id, g.ref, g.status, g.reason, r.status as revocation, r.evidence
from evergrant.grants g left join evergrant.revocations r on r.grant_id = g.id
where g.client_id = %(client_id)s and g.ref = any (%(refs)s)
"""


@dataclass
class Judged:
    """What one epoch came to, at one provider."""

    losses: dict[str, str] = field(default_factory=dict)  # ref → cause
    unborn: int = 0  # codes exchanged, and killed before our fsync or timed out: the user must allow once more
    wrongs: list[str] = field(default_factory=list)
    evidences: list[str] = field(default_factory=list)


def lost_refs(fleet: Fleet, member: Member) -> set[str]:
    """Refs whose every refresh token that we hold is dead at the provider, though nobody asked for their end."""
    held: dict[str, list[str]] = defaultdict(list)
    for row in fleet.rows(HELD, client_id=member.client_id):
        if row["ref"] in member.refs:
            held[row["ref"]].append(fleet.open(row["id"], row["sealed"]))
    alive = member.control.judge(
        {f"{ref}/{n}": token for ref, tokens in held.items() for n, token in enumerate(tokens)}
    )
    return {ref for ref in member.refs if not any(alive[f"{ref}/{n}"]["refresh_alive"] for n in range(len(held[ref])))}


def judge(
    fleet: Fleet, member: Member, evidence: Evidence, *, revoked: Sequence[str], exchanged: Sequence[str]
) -> Judged:
    """Judge one client's grants."""
    judged = Judged()
    refs = sorted({*member.refs, *revoked})
    rows = {row["ref"]: row for row in fleet.rows(GRANTS, client_id=member.client_id, refs=refs)}
    for ref in sorted(lost_refs(fleet, member) & rows.keys()):
        judged.losses[ref] = _cause(member, ref, rows[ref]["id"], evidence)
    judged.wrongs += _wrong_losses(member, judged.losses)
    judged.wrongs += [
        f"{ref} needs consent ({row['reason']}) and is alive"
        for ref, row in rows.items()
        if row["status"] == "needs_consent" and ref not in judged.losses
    ]
    judged.wrongs += _not_kept(fleet, member, rows, evidence)
    judged.wrongs += _ends(member, [rows[ref] for ref in revoked if ref in rows], evidence, judged)
    judged.wrongs += _exchanges(fleet, member, exchanged, evidence, judged)
    return judged


def _wrong_losses(member: Member, losses: dict[str, str]) -> Iterator[str]:
    for ref, cause in losses.items():
        frozen = cause == Cause.FROZEN
        if (member.profile in NOTHING_MAY_BE_LOST and not frozen) or cause.startswith(Cause.UNKNOWN):
            yield f"{ref} is lost: {cause}"


class Cause:
    """Why a grant was lost."""

    WIRE: Final = "answer lost on the wire"
    KILLED: Final = "killed between the provider's act and our fsync"
    LATE: Final = "answer later than the deadline of a second, on a busy machine"
    FROZEN: Final = "frozen between the last guard and the last byte, past the lease"
    UNKNOWN: Final = "UNATTRIBUTED"


def _pairs(member: Member, ref: str) -> list[dict[str, Any]]:
    return [pair for grant in member.control.grants(ref) for pair in grant["pairs"]]


def _cause(member: Member, ref: str, grant_id: UUID, evidence: Evidence) -> str:
    """Find the token set that never reached the platter, and what became of the process that asked for it."""
    sendings = evidence.sendings.get(str(grant_id), [])
    if any(each.late for each in sendings):
        return Cause.FROZEN
    issued_at = {
        pair["issued_at"]
        for pair in _pairs(member, ref)
        if pair["request"] is not None and mark_of(pair["access_token"]) not in evidence.kept
    }
    for at in sorted(issued_at, reverse=True):
        asked = [each for each in sendings if each.at <= at + 0.01 and each.kept is None]
        if asked:
            return _cause_of(max(asked, key=lambda each: each.at), evidence)
    return f"{Cause.UNKNOWN}: {sendings[-3:]}; {_pairs(member, ref)[-3:]}"


def _cause_of(sending: Sending, evidence: Evidence) -> str:
    act = evidence.struck.get(sending.child)
    read = sending.how == "200"
    if sending.child in evidence.killed and (sending.how is None or read):
        return Cause.KILLED
    if not read and act is Act.WIRE:
        return Cause.WIRE
    if not read and act is not Act.FREEZE and sending.how is not None and "timeout" in sending.how:
        return Cause.LATE
    return f"{Cause.UNKNOWN}: {sending}, struck by {act}"


def _not_kept(fleet: Fleet, member: Member, rows: dict[str, dict[str, Any]], evidence: Evidence) -> Iterator[str]:
    """Token sets that reached the platter must be in the row, beside it, or have been used."""
    if member.profile == "none":
        return  # every answer brings the same refresh token
    held: dict[str, set[str]] = defaultdict(set)
    for row in fleet.rows(HELD, client_id=member.client_id):
        held[row["ref"]].add(fleet.open(row["id"], row["sealed"]))
    for ref in rows.keys() & member.refs:
        for pair in _pairs(member, ref):
            forgotten = pair["refresh_alive"] and not pair["spent"] and pair["refresh_token"] not in held[ref]
            if forgotten and mark_of(pair["access_token"]) in evidence.kept:
                yield f"{ref}: pair {pair['pair']} was journaled and is held nowhere"


def _ends(member: Member, rows: Sequence[dict[str, Any]], evidence: Evidence, judged: Judged) -> Iterator[str]:
    """`verified` means that every token set that we ever received is dead."""
    for row in rows:
        judged.evidences.append(str(row["evidence"]))
        if row["revocation"] != "done":
            yield f"the revocation of {row['ref']} is {row['revocation']}"
        alive = [pair for pair in _pairs(member, row["ref"]) if pair["access_alive"] or pair["refresh_alive"]]
        received = [
            pair["pair"] for pair in alive if pair["request"] is None or mark_of(pair["access_token"]) in evidence.kept
        ]
        if row["evidence"] == "verified" and received:
            yield f"{row['ref']} was verified as dead, and of its pairs these live: {received}"


def _exchanges(fleet: Fleet, member: Member, refs: Sequence[str], evidence: Evidence, judged: Judged) -> Iterator[str]:
    """A code that the provider exchanged has become a row, or its answer never reached the platter."""
    found = {row["ref"] for row in fleet.rows(GRANTS, client_id=member.client_id, refs=list(refs))}
    for ref in refs:
        pairs = _pairs(member, ref)
        if ref in found or not pairs:
            continue
        if any(mark_of(pair["access_token"]) in evidence.kept for pair in pairs):
            yield f"{ref} was connected and journaled, and there is no row"
        elif evidence.consents.get(ref) in evidence.killed or evidence.not_connected.get(ref) == "ExchangeUnclear":
            judged.unborn += 1
        else:
            yield f"{ref} was connected and there is no row: {pairs}"
