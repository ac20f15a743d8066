"""Redrive and discard: what an operator does with a dead letter.

A letter about a grant is redriven only at the generation that it speaks of, and never under a live lease: the
claim number moves on, as after a release, so whoever still holds an older claim has lost it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from models import event
from models.predicates import SOMEBODY_HAS_IT
from models.states.dead_letter import LetterKind, Resolution
from models.states.event import EventType
from models.states.grant import GrantStatus


@dataclass(frozen=True)
class Redriven:
    """What became of one letter: `done`, or why it was left as it is."""

    id: int
    ref: str
    done: bool
    why_not: str | None


# Grants before letters, as settling does: two that lock the same rows cannot wait for each other.
LOCK_GRANTS = text("""
select g.id from evergrant.grants g
where g.id in (select d.grant_id from evergrant.dead_letters d where d.id = any (cast(:ids as bigint[])))
order by g.id
for no key update of g
""")

LOCK = text(f"""
select d.id, d.ref, d.kind, d.grant_id, d.revocation_id, d.resolved_at is not null as closed,
    g.generation <> d.generation as moved_on, g.status, g.sealed_refresh_token is null as shredded,
    g.due_at > clock_timestamp() and {SOMEBODY_HAS_IT} as under_way
from evergrant.dead_letters d join evergrant.grants g on g.id = d.grant_id
where d.id = any (cast(:ids as bigint[]))
order by g.id, d.id
for no key update of d
""")  # noqa: S608  # constants

ASK_NOW = text("""
update evergrant.grants set status = 'active', reason = null, suspect_at = null, failures = 0, attempts = 0,
    failing_since = null, failing_for = '0', refusals = 0, refused_since = null, refused_code = null,
    claimed_at = null, claim_no = claim_no + 1, due_at = clock_timestamp()
where id = :grant_id and status in ('active', 'needs_consent')
""")

QUEUE_AGAIN = text("""
update evergrant.revocations set status = 'queued', due_at = clock_timestamp(), failing_since = null
where id = :revocation_id and status = 'dead'
""")

CLOSE = text("""
update evergrant.dead_letters set resolved_at = clock_timestamp(), resolution = :resolution, resolved_by = :who
where id = any (cast(:ids as bigint[])) and resolved_at is null
returning id
""")


def redrive(connection: Connection, ids: Sequence[int], *, who: str) -> list[Redriven]:
    """Send back what these letters gave up on, where that still means something."""
    results = []
    connection.execute(LOCK_GRANTS, {"ids": list(ids)})
    for row in connection.execute(LOCK, {"ids": list(ids)}).mappings().all():
        why_not = _why_not(
            closed=row["closed"],
            about_grant=row["kind"] == LetterKind.REFRESH,
            moved_on=row["moved_on"],
            status=row["status"],
            under_way=row["under_way"],
            shredded=row["shredded"],
        )
        if why_not is None:
            statement = ASK_NOW if row["kind"] == LetterKind.REFRESH else QUEUE_AGAIN
            connection.execute(statement, dict(row))
            connection.execute(CLOSE, {"ids": [row["id"]], "resolution": Resolution.REDRIVEN, "who": who})
            event.of_grants(connection, [row["grant_id"]], EventType.DEAD_LETTER_REDRIVEN, actor=who)
        results.append(Redriven(id=row["id"], ref=row["ref"], done=why_not is None, why_not=why_not))
    connection.execute(text("notify evergrant_work"))
    return results


def discard(connection: Connection, ids: Sequence[int], *, who: str) -> set[int]:
    """Close letters without doing anything about them; returns those that were open."""
    return set(connection.execute(CLOSE, {"ids": list(ids), "resolution": Resolution.DISCARDED, "who": who}).scalars())


def _why_not(
    *, closed: bool, about_grant: bool, moved_on: bool, status: str, under_way: bool, shredded: bool
) -> str | None:
    """Name what stands against a redrive, or nothing."""
    checks = [
        (closed, "it is closed already"),
        (about_grant and moved_on, "the grant has a newer token set by now"),
        (about_grant and status not in (GrantStatus.ACTIVE, GrantStatus.NEEDS_CONSENT), f"the grant is {status}"),
        (about_grant and shredded, "its tokens were shredded, so only its user can give them again"),
        (about_grant and under_way, "an attempt is under way"),
    ]
    return next((why for applies, why in checks if applies), None)
