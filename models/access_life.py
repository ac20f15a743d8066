"""Access life: what is learnt of it once a token set is stored, where the token answer did not tell it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from models.locked_grant import LOCK
from models.predicates import NOBODY_HAS_IT
from models.rows import made_of


class Question(NamedTuple):
    """A token set whose life is not known: the generation that it was stored as, and when its grant was then due."""

    grant_id: UUID
    generation: int
    due_at: datetime


class Asked(NamedTuple):
    """What is needed to ask for it; the token is sealed. `at`: now."""

    grant_id: UUID
    generation: int
    sealed_access_token: bytes
    labels: dict[str, list[str]]
    refreshed_at: datetime
    older_access_ends_at: datetime | None
    refresh_expires_at: datetime | None
    keep: str
    at: datetime


class Learnt(NamedTuple):
    """How long it lives from the start of its request, and when its grant is due by that."""

    question: Question
    life: timedelta
    due_at: datetime


READ = text("""
select g.id as grant_id, g.generation, g.sealed_access_token, g.labels, g.refreshed_at, g.older_access_ends_at,
    g.refresh_expires_at, coalesce(g.keep, c.keep) as keep, coalesce(:now, clock_timestamp()) as at
from unnest(cast(:ids as uuid[]), cast(:generations as bigint[])) as asked (id, generation)
join evergrant.grants g on g.id = asked.id and g.generation = asked.generation
join evergrant.clients c on c.id = g.client_id
where g.status in ('active', 'paused') and g.sealed_access_token is not null and g.refreshed_at is not null
""")

# The end of a settle that could not wait for what was not told: it writes `due_at` only where it still is what that
# settle wrote. Whoever has claimed, started or ended anything since has the last word about it.
LEARN = text(f"""
with learnt as (
    update evergrant.grants g set
        life = new.life, access_expires_at = g.refreshed_at + new.life,
        due_at = case when {NOBODY_HAS_IT} and g.due_at = new.due_before then new.due_at else g.due_at end
    from unnest(
        cast(:ids as uuid[]), cast(:generations as bigint[]), cast(:due_before as timestamptz[]),
        cast(:lives as interval[]), cast(:due_at as timestamptz[])
    ) as new (id, generation, due_before, life, due_at)
    where g.id = new.id and g.generation = new.generation and g.status in ('active', 'paused')
    returning g.id
)
select pg_notify('evergrant_token_set', id::text) from learnt
""")  # noqa: S608  # a constant


def read(connection: Connection, questions: Sequence[Question], *, now: datetime | None = None) -> list[Asked]:
    """Read what is needed to ask, of those that still hold the token set."""
    ids, generations = [each.grant_id for each in questions], [each.generation for each in questions]
    return made_of(connection.execute(READ, {"ids": ids, "generations": generations, "now": now}), Asked)


def learn(connection: Connection, learnt: Sequence[Learnt], *, wait: timedelta) -> None:
    """Write lives, and tell those who listen; `wait`: for any one row's lock.

    The rows are locked in the order of their ids: a settle beside this must not wait for it in a circle.
    """
    ids = [each.question.grant_id for each in learnt]
    connection.execute(LOCK, {"ids": sorted(ids), "wait": f"{wait.total_seconds() * 1000:.0f}ms"})
    given = {
        "ids": ids,
        "generations": [each.question.generation for each in learnt],
        "due_before": [each.question.due_at for each in learnt],
        "lives": [each.life for each in learnt],
        "due_at": [each.due_at for each in learnt],
    }
    connection.execute(LEARN, given)
