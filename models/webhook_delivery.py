"""Deliveries: one event on its way to one webhook, a row each, written with the event by a trigger of the database.

Whoever sends takes rows under a lease and writes back only what is still theirs, so any number of processes may send,
and what one of them leaves behind is sent by another. Of one subject (a grant, a client) the first that has not ended
is sent before the next; whatever fails keeps nobody else waiting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Index, Integer, RowMapping, text
from sqlalchemy.orm import Mapped, mapped_column

from models import event
from models.base import Base, identity
from models.errors import UnknownDelivery
from models.states.event import EventType
from models.states.webhook import DeliveryStatus
from models.webhook import STRIKES

PATIENCE = timedelta(days=3)  # for what its receiver does not take
BACK_OFF_FIRST = timedelta(seconds=5)  # of a webhook that nothing reaches; doubles
BACK_OFF_LONGEST = timedelta(minutes=5)


class WebhookDelivery(Base):
    """One event for one webhook."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("uq_webhook_deliveries_webhook_id_event_id", "webhook_id", "event_id", unique=True),
        Index(
            "ix_webhook_deliveries_waiting",
            *("webhook_id", "try_at", "event_id"),
            postgresql_where=text("ended_at is null"),
        ),
        Index(
            "ix_webhook_deliveries_in_order",
            *("webhook_id", "subject", "event_id"),
            postgresql_where=text("ended_at is null"),
        ),
        Index(None, "ended_at", postgresql_where=text("ended_at is not null")),
    )

    id: Mapped[int] = identity()
    webhook_id: Mapped[int]
    event_id: Mapped[int]
    subject: Mapped[str]
    queued_at: Mapped[datetime]
    try_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(Integer)
    first_tried_at: Mapped[datetime | None]
    last_code: Mapped[str | None]
    last_http_status: Mapped[int | None] = mapped_column(Integer)
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that is ours for a lease, with what it tells."""

    id: int
    tries: int
    event_id: int
    type: str
    occurred_at: datetime
    environment: str
    client: str | None
    ref: str | None
    generation: int | None
    labels: dict[str, Any]
    reason: str | None = field(repr=False)
    data: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """How sending ended. `wait`: until the next try; `strikes`: it tells of the webhook, not of this event alone."""

    id: int
    webhook_id: int
    tries: int
    delivered: bool
    code: str
    http_status: int | None
    wait: timedelta
    strikes: bool
    is_last: bool = False
    hold: timedelta | None = None  # the receiver wants nothing at all for so long
    is_gone: bool = False


# A webhook that nothing reaches gets one delivery at a time, to see. What was tried waits longer than what was not: an
# event that its receiver chokes on is not the one that is tried again and again. In the order of the index, or a
# backlog would be sorted for every look.
TAKE = text("""
with webhook as (
    select w.id, w.failures >= :strikes as is_shut from evergrant.webhooks w
    where w.id = :webhook_id and w.paused_at is null and (w.retry_at is null or w.retry_at <= clock_timestamp())
    for no key update skip locked
),
next as (
    select d.id from evergrant.webhook_deliveries d
    where d.webhook_id = (select id from webhook) and d.ended_at is null and d.try_at <= clock_timestamp()
        and (d.leased_until is null or d.leased_until <= clock_timestamp())
        and not exists (
            select from evergrant.webhook_deliveries b
            where b.webhook_id = d.webhook_id and b.subject = d.subject and b.event_id < d.event_id
                and b.ended_at is null
        )
    order by d.try_at, d.event_id
    limit case when (select is_shut from webhook) then 1 else cast(:most as bigint) end
    for update skip locked
),
taken as (
    update evergrant.webhook_deliveries d
    set tries = d.tries + 1, leased_until = clock_timestamp() + :lease,
        first_tried_at = coalesce(d.first_tried_at, clock_timestamp())
    from next where d.id = next.id
    returning d.id, d.tries, d.event_id
),
seeing as (
    update evergrant.webhooks w set retry_at = clock_timestamp() + :lease
    from webhook where w.id = webhook.id and webhook.is_shut and exists (select from taken)
)
select t.id, t.tries, t.event_id, e.type, e.occurred_at, i.environment, c.name as client, e.ref, e.generation,
    e.labels, e.reason, e.data
from taken t
join evergrant.events e on e.id = t.event_id
left join evergrant.clients c on c.id = e.client_id
cross join evergrant.installation i
order by e.id
""")

RENEW = text("""
update evergrant.webhook_deliveries d set leased_until = clock_timestamp() + :lease
from unnest(cast(:ids as bigint[]), cast(:tries as bigint[])) mine (id, tries)
where d.id = mine.id and d.tries = mine.tries and d.ended_at is null
""")

# What was tried for three days is given up, unless nothing at all reaches its webhook: then that is what is told.
END = text("""
update evergrant.webhook_deliveries d set
    leased_until = null, last_code = s.code, last_http_status = s.http_status,
    try_at = clock_timestamp() + s.wait,
    ended_at = case when ending.outcome is not null then clock_timestamp() end,
    outcome = ending.outcome
from unnest(
    cast(:ids as bigint[]), cast(:tries as bigint[]), cast(:delivered as boolean[]), cast(:codes as text[]),
    cast(:http_statuses as bigint[]), cast(:waits as interval[]), cast(:are_last as boolean[])
) s (id, tries, delivered, code, http_status, wait, is_last)
cross join lateral (
    select case
        when s.delivered then 'delivered'
        when s.is_last then 'dead'
        when (
            select b.first_tried_at < clock_timestamp() - cast(:patience as interval)
                and not exists (
                    select from evergrant.webhooks w where w.id = b.webhook_id and w.failures >= :strikes
                )
            from evergrant.webhook_deliveries b where b.id = s.id
        ) then 'dead'
    end as outcome
) ending
where d.id = s.id and d.tries = s.tries and d.ended_at is null
""")

# Told now and then only where nothing changed, so that many who send do not wait for one row.
REACHED = text("""
update evergrant.webhooks w set
    failures = 0, failing_since = null, retry_at = null, last_success_at = clock_timestamp(),
    last_code = :code, last_http_status = :http_status
from evergrant.webhooks before
where w.id = :id and before.id = w.id
    and (w.failing_since is not null or w.last_success_at is null
        or w.last_success_at < clock_timestamp() - interval '10 seconds')
returning before.failures >= :strikes
""")
# What was tried while nothing reached it waits no longer.
WAKE = text("""
update evergrant.webhook_deliveries set try_at = clock_timestamp()
where webhook_id = :id and ended_at is null and tries > 0 and leased_until is null and try_at > clock_timestamp()
""")
MISSED = text("""
update evergrant.webhooks w set
    failures = w.failures + :count, failing_since = coalesce(w.failing_since, clock_timestamp()),
    last_code = :code, last_http_status = :http_status,
    retry_at = greatest(
        clock_timestamp() + cast(:hold as interval),
        case when w.failures + :count >= :strikes then clock_timestamp()
            + least(cast(:first as interval) * power(2, least(w.failures + :count - :strikes, 10)), :longest) end
    ),
    paused_at = case when :is_gone then coalesce(w.paused_at, clock_timestamp()) else w.paused_at end,
    paused_reason = case when :is_gone then coalesce(w.paused_reason, 'gone') else w.paused_reason end
where w.id = :id
""")

LIST = text("""
select d.id, d.webhook_id, d.event_id, d.queued_at, d.tries, d.last_code, d.last_http_status, d.ended_at,
    case when d.ended_at is null then d.try_at end as try_at, coalesce(d.outcome, 'queued') as status,
    e.type, e.occurred_at, e.ref, c.name as client
from evergrant.webhook_deliveries d
join evergrant.events e on e.id = d.event_id
left join evergrant.clients c on c.id = e.client_id
where (cast(:webhook_id as bigint) is null or d.webhook_id = :webhook_id)
    and (cast(:status as text) is null or coalesce(d.outcome, 'queued') = :status)
    and (cast(:event_id as bigint) is null or d.event_id = :event_id)
order by d.id desc
limit :most
""")
AGAIN = text("""
update evergrant.webhook_deliveries set
    tries = 0, first_tried_at = null, try_at = clock_timestamp(), leased_until = null, ended_at = null, outcome = null
where id = any (cast(:ids as bigint[])) and (ended_at is not null or leased_until is null)
returning id
""")
THERE = text("select id from evergrant.webhook_deliveries where id = any (cast(:ids as bigint[]))")


def take(connection: Connection, webhook_id: int, *, most: int, lease: timedelta) -> list[Taken]:
    """Take deliveries of a webhook whose turn has come, for a lease."""
    wanted = {"webhook_id": webhook_id, "most": most, "lease": lease, "strikes": STRIKES}
    return [Taken(**row) for row in connection.execute(TAKE, wanted).mappings()]


def renew(connection: Connection, mine: Mapping[int, int], *, lease: timedelta) -> None:
    """Keep deliveries that are being sent for another lease: their ids, each with the number of its try."""
    connection.execute(RENEW, {"ids": list(mine), "tries": list(mine.values()), "lease": lease})


def end(connection: Connection, sent: Sequence[Sent]) -> None:
    """Write how sending ended, of deliveries and of their webhooks."""
    values: dict[str, Any] = {
        "ids": [each.id for each in sent],
        "tries": [each.tries for each in sent],
        "delivered": [each.delivered for each in sent],
        "codes": [each.code for each in sent],
        "http_statuses": [each.http_status for each in sent],
        "waits": [each.wait for each in sent],
        "are_last": [each.is_last for each in sent],
    }
    connection.execute(END, {**values, "patience": PATIENCE, "strikes": STRIKES})
    for webhook_id in sorted({each.webhook_id for each in sent}):
        _heed(connection, webhook_id, [each for each in sent if each.webhook_id == webhook_id])


def _heed(connection: Connection, webhook_id: int, sent: Sequence[Sent]) -> None:
    """What the ends of a group tell of their webhook: it is reached, or is not."""
    good = [each for each in sent if each.delivered]
    struck = [each for each in sent if each.strikes]
    told = {"id": webhook_id, "strikes": STRIKES}
    if good:
        last = {"code": good[-1].code, "http_status": good[-1].http_status}
        if connection.execute(REACHED, {**told, **last}).scalar():
            connection.execute(WAKE, {"id": webhook_id})
    holds = [each.hold for each in sent if each.hold is not None]
    is_gone = any(each.is_gone for each in sent)
    if (struck and not good) or holds or is_gone:
        worst = (struck or [each for each in sent if not each.delivered])[-1]
        values = {
            "count": 0 if good else len(struck),
            "code": worst.code,
            "http_status": worst.http_status,
            "hold": max(holds, default=None),
            "first": BACK_OFF_FIRST,
            "longest": BACK_OFF_LONGEST,
            "is_gone": is_gone,
        }
        connection.execute(MISSED, {**told, **values})


def listed(
    connection: Connection,
    *,
    webhook_id: int | None = None,
    status: DeliveryStatus | None = None,
    event_id: int | None = None,
    most: int,
) -> Sequence[RowMapping]:
    """Deliveries, the newest first."""
    wanted = {"webhook_id": webhook_id, "status": status, "event_id": event_id, "most": most}
    return connection.execute(LIST, wanted).mappings().all()


def again(connection: Connection, ids: Sequence[int], *, who: str) -> list[int]:
    """Send deliveries once more, at once; returns those that are, without what is being sent this moment.

    Raises:
        UnknownDelivery: names every id that is not there.

    """
    there = set(connection.execute(THERE, {"ids": list(ids)}).scalars())
    if missing := [each for each in ids if each not in there]:
        raise UnknownDelivery(missing)
    done = sorted(connection.execute(AGAIN, {"ids": list(ids)}).scalars())
    if done:
        event.of_nobody(connection, EventType.WEBHOOK_REDELIVERED, data={"deliveries": done}, actor=who)
    return done
