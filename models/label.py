"""Labels: what a grant is known by beside its ref: words of its operator, and values that its provider gave."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from models import event
from models.predicates import IS_LIVING
from models.states.event import EventType

OF_GRANT = text("select labels from evergrant.grants where id = :id")

# Of who holds the ref now; nobody is locked.
OF_REF = text(f"""
select g.labels from evergrant.grants g where g.client_id = :client_id and g.ref = :ref and {IS_LIVING}
""")  # noqa: S608  # constants

# In a statement of its own, and only where a value has changed: storing a token set writes no labels. One that has
# ended may have been erased, and what was forgotten stays so.
KEEP = text("""
update evergrant.grants g set labels = g.labels || cast(kept.labels as jsonb)
from unnest(cast(:ids as uuid[]), cast(:values as text[])) as kept (id, labels)
where g.id = kept.id and g.status <> 'revoked' and g.labels || cast(kept.labels as jsonb) is distinct from g.labels
""")

# A provider that gives an unfit value does so with every answer: it is told once a day.
NOT_TOLD = text("""
select id from unnest(cast(:ids as uuid[])) as refused (id)
where not exists (
    select from evergrant.events e
    where e.grant_id = refused.id and e.type = :type
        and e.occurred_at > coalesce(:now, clock_timestamp()) - interval '1 day'
)
""")


def of_grant(connection: Connection, grant_id: UUID) -> dict[str, list[str]]:
    """A grant's labels; none where there is no such grant."""
    return connection.execute(OF_GRANT, {"id": grant_id}).scalar() or {}


def of_ref(connection: Connection, client_id: int, ref: str) -> dict[str, list[str]]:
    """The labels of the row that holds a ref now; none where nobody does."""
    return connection.execute(OF_REF, {"client_id": client_id, "ref": ref}).scalar() or {}


def keep(connection: Connection, kept: Mapping[UUID, Mapping[str, str | Sequence[str]]]) -> None:
    """Put values that a provider gave in the place of what these grants had; the caller has locked the rows."""
    if kept:
        labels = [json.dumps(_listed(values)) for values in kept.values()]
        connection.execute(KEEP, {"ids": list(kept), "values": labels})


def _listed(labels: Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    return {label: [value] if isinstance(value, str) else list(value) for label, value in labels.items()}


def tell_refused(
    connection: Connection, refused: Mapping[UUID, Mapping[str, str]], *, now: datetime | None = None
) -> Sequence[UUID]:
    """Tell, once a day, of values that a provider gave and that are no labels; returns whose it told now."""
    if not refused:
        return []
    parameters = {"ids": list(refused), "type": EventType.GRANT_LABEL_REFUSED, "now": now}
    fresh = list(connection.execute(NOT_TOLD, parameters).scalars())
    for grant_id in fresh:
        data = {"refused": dict(refused[grant_id])}
        event.of_grants(connection, [grant_id], EventType.GRANT_LABEL_REFUSED, data=data, now=now)
    return fresh
