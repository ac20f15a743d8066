"""Waking: whoever failed with what an operator has just mended is asked at once, not when its back-off is over.

Only who is idle and has a plain failure: a suspect, one in doubt, and one under way have waits of their own, for which
there are reasons that no operator's change takes away. The valve lets through what it may, so no storm comes of it.
"""

from sqlalchemy import Connection, text

from models.predicates import END_IS_ASKED_FOR, NOBODY_HAS_IT

MOST = 10_000  # in one transaction; the others are asked when their back-off is over, within an hour

WAKE_FAILING = text(f"""
update evergrant.grants g set due_at = clock_timestamp()
where g.id = any (array(
    select g.id from evergrant.grants g
    where g.client_id = :client_id and g.status = 'active' and g.failures > 0 and g.due_at > clock_timestamp()
        and g.suspect_at is null and g.doubt_since is null and {NOBODY_HAS_IT}
        and coalesce(
            g.asked_at <= clock_timestamp() - (
                select c.grant_interval from evergrant.clients c where c.id = g.client_id
            ), true
        )
        and not {END_IS_ASKED_FOR}
    order by g.due_at
    limit :most
    for no key update of g skip locked
))
returning g.id
""")  # noqa: S608  # constants

DUE = text("""
select count(*) from evergrant.grants g
where g.client_id = :client_id and g.status = 'active' and g.due_at <= clock_timestamp()
""")


def wake_failing(connection: Connection, client_id: int) -> int:
    """Let the failing grants of a client be asked at once; returns how many."""
    woken = len(connection.execute(WAKE_FAILING, {"client_id": client_id, "most": MOST}).all())
    connection.execute(text("notify evergrant_work"))
    return woken


def due(connection: Connection, client_id: int) -> int:
    """How many grants of a client are due now."""
    return int(connection.execute(DUE, {"client_id": client_id}).scalar_one())
