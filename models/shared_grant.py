"""Shared grants: living refs of one client that hang on one grant at the provider, so that one's end is the other's."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from models.predicates import END_IS_ASKED_FOR, IS_LIVING, of


@dataclass(frozen=True, slots=True)
class Sharing:
    """Two refs of one client: to end the one is to end the other."""

    ref: str
    other: str


# Joined by what they hold, not row by row: a list of ten thousand refs is compared with a million grants once.
SHARING = text(f"""
with ending as (
    select g.id, g.client_id, g.ref, g.labels, g.refresh_fingerprint from evergrant.grants g
    where g.id = any (cast(:ids as uuid[])) and g.client_id = :client_id and {IS_LIVING}
),
named as (
    select e.ref, l.label, v.value
    from ending e
    cross join unnest(cast(:labels as text[])) as l (label)
    cross join lateral jsonb_array_elements_text(coalesce(e.labels -> l.label, '[]')) as v (value)
)
select e.ref, o.ref as other
from ending e
join evergrant.grants o on o.refresh_fingerprint = e.refresh_fingerprint
where o.client_id = :client_id and o.id <> all (cast(:ids as uuid[])) and {of("o", IS_LIVING)}
    and not {of("o", END_IS_ASKED_FOR)}
union
select n.ref, o.ref
from named n
join (
    select o.ref, l.label, v.value
    from evergrant.grants o
    cross join unnest(cast(:labels as text[])) as l (label)
    cross join lateral jsonb_array_elements_text(coalesce(o.labels -> l.label, '[]')) as v (value)
    where o.client_id = :client_id and o.id <> all (cast(:ids as uuid[])) and {of("o", IS_LIVING)}
    and not {of("o", END_IS_ASKED_FOR)}
) o on o.label = n.label and o.value = n.value
order by 1, 2
""")  # noqa: S608  # constants


def sharing(connection: Connection, client_id: int, ids: Sequence[UUID], *, labels: Sequence[str]) -> list[Sharing]:
    """Living refs beside these that would end with them: they hold the same pair, or the same value of a label.

    `labels`: those by which the provider is told whose grant ends.
    """
    rows = connection.execute(SHARING, {"client_id": client_id, "ids": list(ids), "labels": list(labels)})
    return [Sharing(row.ref, row.other) for row in rows]


# Whose they are nobody tells us: those whose labels are the same are taken for one user's.
ALIKE = text(f"""
select count(*)
from evergrant.grants g
join evergrant.grants o on o.client_id = g.client_id and o.labels = g.labels and {of("o", IS_LIVING)}
where g.id = :id and g.labels <> '{{}}'
""")  # noqa: S608  # constants


def alike(connection: Connection, grant_id: UUID) -> int:
    """How many living grants of its client have the very labels of this one, itself included; 0: it has none."""
    return int(connection.execute(ALIKE, {"id": grant_id}).scalar_one())
