"""Asked labels: of which grants the provider's API is asked for labels, and what came of it.

A row is made with the consent, in its transaction, so a question outlives whoever was to ask it. It stays afterwards:
what the API gave last tells its labels from those that a human has set.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, ForeignKey, Index, Integer, RowMapping, text
from sqlalchemy.orm import Mapped, mapped_column

import settings
from models.base import Base
from models.predicates import DATABASE_IS_FIT, END_IS_ASKED_FOR

Values = Mapping[str, list[str]]


class AskedLabels(Base):
    """The question of one grant: when it is due, how it ended, and what the API gave."""

    __tablename__ = "asked_labels"
    __table_args__ = (Index("ix_asked_labels_due", "client_id", "due_at", postgresql_where=text("due_at is not null")),)

    grant_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.grants.id"), primary_key=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"))
    due_at: Mapped[datetime | None]
    requested_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(Integer)
    answered_at: Mapped[datetime | None]
    told: Mapped[dict[str, Any]]
    given: Mapped[dict[str, list[str]]]


@dataclass(frozen=True, slots=True)
class Question:
    """One that was claimed, with what its grant is now."""

    grant_id: UUID
    client_id: int
    ref: str
    generation: int
    labels: dict[str, list[str]]
    sealed_access_token: bytes = field(repr=False)
    given: dict[str, list[str]]
    tries: int  # this one included
    requested_at: datetime


# A consent that follows another keeps its labels, and with them whose they are.
REQUEST = text("""
insert into evergrant.asked_labels (grant_id, client_id, given)
values (:grant_id, :client_id, coalesce(
    (select before.given from evergrant.asked_labels before where before.grant_id = :before), '{}'
))
on conflict (grant_id) do update set due_at = clock_timestamp(), requested_at = clock_timestamp(), tries = 0
""")

# With an access token that lives on for a while, is not known to be refused, and may still be handed out.
MAY_BE_ASKED: Final = f"""g.status = 'active' and g.sealed_access_token is not null and g.rejected_at is null
        and g.access_expires_at > clock.at + interval '10 seconds' and not {END_IS_ASKED_FOR}"""

# Whose end has come is asked no more.
FORGET_ENDED = text("""
update evergrant.asked_labels q set due_at = null
from evergrant.grants g
where g.id = q.grant_id and q.due_at <= clock_timestamp() and g.status in ('revoking', 'revoked')
""")
WAITING = text(f"""
select distinct q.client_id
from evergrant.asked_labels q
join evergrant.grants g on g.id = q.grant_id
join evergrant.valves v on v.client_id = q.client_id
cross join (select clock_timestamp() as at) clock
where q.due_at <= clock.at and {MAY_BE_ASKED}
    and not v.paused_by_operator and v.paused_until is null
    and {DATABASE_IS_FIT}
order by q.client_id
""")  # noqa: S608  # constants
CLAIM = text(f"""
with due as (
    select q.grant_id, clock.at
    from evergrant.asked_labels q
    join evergrant.grants g on g.id = q.grant_id
    cross join (select clock_timestamp() as at) clock
    where q.client_id = :client_id and q.due_at <= clock.at and {MAY_BE_ASKED}
    order by q.due_at
    limit :most
    for no key update of q skip locked
)
update evergrant.asked_labels q set due_at = due.at + cast(:lease as interval), tries = q.tries + 1
from due
join evergrant.grants g on g.id = due.grant_id
where q.grant_id = due.grant_id
returning q.grant_id, q.client_id, g.ref, g.generation, g.labels, g.sealed_access_token, q.given, q.tries,
    q.requested_at
""")  # noqa: S608  # constants

GIVE_BACK = text("""
update evergrant.asked_labels set due_at = clock_timestamp(), tries = tries - 1 where grant_id = :grant_id
""")
# Nobody waits for whoever holds the row: the question comes again.
LOCK_LABELS = text("""
select labels, generation from evergrant.grants
where id = :grant_id and status in ('active', 'paused', 'needs_consent')
for no key update skip locked
""")
# Not what was asked for anew meanwhile.
END = text("""
update evergrant.asked_labels
set due_at = clock_timestamp() + cast(:again_in as interval), answered_at = clock_timestamp(),
    told = cast(:told as jsonb), given = given || cast(:given as jsonb)
where grant_id = :grant_id and requested_at = :requested_at and tries = :tries
returning grant_id
""")
OF_GRANT = text("select due_at, answered_at, told from evergrant.asked_labels where grant_id = :grant_id")


def request(connection: Connection, grant_id: UUID, client_id: int, *, before: UUID | None = None) -> None:
    """Have the API asked, soon; `before`: the row of the consent before, whose labels the grant has."""
    connection.execute(REQUEST, {"grant_id": grant_id, "client_id": client_id, "before": before})


def waiting(connection: Connection) -> list[int]:
    """Clients with an open valve, in a database that is fit, of whose grants some are to be asked about."""
    connection.execute(FORGET_ENDED)
    return list(connection.execute(WAITING, {"environment": settings.current().environment}).scalars())


def claim(connection: Connection, client_id: int, most: int, *, lease: timedelta) -> list[Question]:
    """Take so many of a client's questions; one that nobody ends comes again after `lease`."""
    parameters = {"client_id": client_id, "most": most, "lease": lease}
    return [Question(**row) for row in connection.execute(CLAIM, parameters).mappings()]


def give_back(connection: Connection, question: Question) -> None:
    """Leave one as it was before it was claimed: nothing was sent for it."""
    connection.execute(GIVE_BACK, {"grant_id": question.grant_id})


def lock_labels(connection: Connection, grant_id: UUID) -> tuple[dict[str, list[str]], int] | None:
    """A grant's labels and generation, under its lock; None: it has ended, or somebody else has it locked."""
    row = connection.execute(LOCK_LABELS, {"grant_id": grant_id}).one_or_none()
    return None if row is None else (row.labels, row.generation)


def end(
    connection: Connection,
    question: Question,
    *,
    told: Mapping[str, Any],
    given: Values,
    again_in: timedelta | None = None,
) -> bool:
    """Note what came of a question, and when it is asked once more; False: it was asked for, or claimed, anew."""
    parameters: dict[str, Any] = {
        "grant_id": question.grant_id,
        "requested_at": question.requested_at,
        "tries": question.tries,
        "told": json.dumps(told),
        "given": json.dumps(given),
        "again_in": again_in,
    }
    return connection.execute(END, parameters).scalar() is not None


def of_grant(connection: Connection, grant_id: UUID) -> RowMapping | None:
    """What became of the question of a grant; None: nobody has asked for it."""
    return connection.execute(OF_GRANT, {"grant_id": grant_id}).mappings().one_or_none()
