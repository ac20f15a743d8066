"""Care of webhooks, by a chore: what each missed is queued, what nothing reaches is paused, what ended is forgotten.

Events are kept for good, so nothing is lost to a webhook: where a hundred thousand deliveries wait for one, events are
no longer queued for it, and are read from their table once half of that is through. So neither a receiver that is gone
nor a slow one makes the queue grow for ever.
"""

from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import Connection, text

from models.states.webhook import WebhookPause
from models.webhook import STRIKES
from models.webhook_delivery import PATIENCE

log = structlog.get_logger()

MOST_QUEUED = 100_000  # of one webhook
BATCH = 20_000  # in one transaction
DELIVERED_KEPT = timedelta(days=7)
DEAD_KEPT = timedelta(days=30)
# A transaction that was open when a webhook was added, or resumed, may have written an event without queueing it.
OPEN_FOR = timedelta(minutes=10)
IDS_OPEN = 10_000

SHRED = text("""
update evergrant.webhooks set sealed_former_secret = null, former_secret_until = null
where former_secret_until <= clock_timestamp()
""")
UNREACHABLE = text("""
update evergrant.webhooks set paused_at = clock_timestamp(), paused_reason = :reason
where paused_at is null and failures >= :strikes and failing_since < clock_timestamp() - cast(:patience as interval)
returning id
""")
QUEUES = text("""
select w.id, w.stopped_at is not null as is_stopped, w.catch_up_from is not null as may_lack,
    (
        select count(*) from (
            select from evergrant.webhook_deliveries d where d.webhook_id = w.id and d.ended_at is null limit :most
        ) waiting
    ) as queued
from evergrant.webhooks w
order by w.id
""")
STOP = text("""
update evergrant.webhooks w set
    stopped_at = clock_timestamp(), resumed_at = null,
    catch_up_id = coalesce(
        w.catch_up_id, (select max(e.id) from evergrant.events e) - cast(:ids_open as bigint), 0
    ),
    catch_up_from = coalesce(w.catch_up_from, greatest(clock_timestamp() - cast(:open_for as interval), w.created_at))
where w.id = :id
""")
CATCH_UP = text("""
with missed as (
    select w.id as webhook_id, e.id as event_id, evergrant.subject_of(e.id, e.type, e.client_id, e.grant_id) as subject
    from evergrant.webhooks w
    join evergrant.events e on e.id > w.catch_up_id - cast(:slack as bigint) and e.occurred_at >= w.catch_up_from
    where w.id = :id and evergrant.is_told(w, e.type, e.client_id, e.data)
        and not exists (
            select from evergrant.webhook_deliveries d where d.webhook_id = w.id and d.event_id = e.id
        )
    order by e.id
    limit :batch
),
queued as (
    insert into evergrant.webhook_deliveries (webhook_id, event_id, subject)
    select webhook_id, event_id, subject from missed order by event_id
    on conflict do nothing
)
select count(*) as events, max(event_id) as last from missed
""")
GO_ON = text("update evergrant.webhooks set catch_up_id = :last where id = :id")
CAUGHT_UP = text("""
update evergrant.webhooks set
    stopped_at = null, resumed_at = clock_timestamp(), catch_up_from = clock_timestamp() - cast(:open_for as interval)
where id = :id
""")
COMPLETE = text("""
update evergrant.webhooks set catch_up_id = null, catch_up_from = null, resumed_at = null
where id = :id and resumed_at < clock_timestamp() - cast(:open_for as interval)
""")
# Of a webhook that was removed while somebody wrote an event for it.
DROP = text("""
delete from evergrant.webhook_deliveries d
where d.ended_at is null and not exists (select from evergrant.webhooks w where w.id = d.webhook_id)
""")
FORGET = text("""
with old as (
    select id from evergrant.webhook_deliveries
    where ended_at < clock_timestamp() - case when outcome = 'dead' then cast(:dead as interval) else :delivered end
        and ended_at < clock_timestamp() - least(cast(:dead as interval), :delivered)
    order by ended_at
    limit :batch
    for update skip locked
)
delete from evergrant.webhook_deliveries d using old where d.id = old.id
""")


@dataclass(frozen=True, slots=True)
class _Queue:
    """What waits for a webhook, and whether it may lack something."""

    id: int
    is_stopped: bool
    may_lack: bool
    queued: int


def tend(connection: Connection) -> None:
    """Look after every webhook once."""
    connection.execute(FORGET, {"dead": DEAD_KEPT, "delivered": DELIVERED_KEPT, "batch": BATCH})
    connection.execute(DROP)
    connection.execute(SHRED)
    unreachable = {"reason": WebhookPause.UNREACHABLE, "strikes": STRIKES, "patience": PATIENCE}
    for webhook_id in connection.execute(UNREACHABLE, unreachable).scalars():
        log.error("webhook.unreachable", webhook=webhook_id, remedy="evergrant webhooks resume")
    for row in connection.execute(QUEUES, {"most": MOST_QUEUED}).mappings().all():
        _tend(connection, _Queue(**row))


def _tend(connection: Connection, queue: _Queue) -> None:
    if not queue.is_stopped and queue.queued >= MOST_QUEUED:
        values = {"id": queue.id, "ids_open": IDS_OPEN, "open_for": OPEN_FOR}
        connection.execute(STOP, values)
        log.warning("webhook.behind", webhook=queue.id, queued=queue.queued)
    elif queue.is_stopped and queue.queued < MOST_QUEUED / 2:
        if _catch_up(connection, queue.id, slack=0):
            connection.execute(CAUGHT_UP, {"id": queue.id, "open_for": OPEN_FOR})
    elif queue.may_lack and not queue.is_stopped and _catch_up(connection, queue.id, slack=IDS_OPEN):
        connection.execute(COMPLETE, {"id": queue.id, "open_for": OPEN_FOR})


def _catch_up(connection: Connection, webhook_id: int, *, slack: int) -> bool:
    """Queue what was not; whether that is all."""
    wanted = {"id": webhook_id, "slack": slack, "batch": BATCH}
    found = connection.execute(CATCH_UP, wanted).one()
    if found.last is not None and not slack:
        connection.execute(GO_ON, {"id": webhook_id, "last": found.last})
    return bool(found.events < BATCH)
