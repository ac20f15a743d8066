"""Webhooks: URLs that are told of events, with their secrets, and how it goes with each.

Its environment is the one that it was made in: whoever adopts a copy of a database as another environment tells the
receivers of the first one nothing, until somebody resumes them there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import Connection, Index, Integer, RowMapping, text
from sqlalchemy.orm import Mapped, mapped_column

from models import event
from models.base import Base, identity
from models.errors import UnknownWebhook, WebhookExists, WebhookPaused
from models.predicates import DATABASE_IS_FIT
from models.states.event import EventType
from models.states.webhook import WebhookPause

# So many failures in a row, and one delivery at a time is sent, to see.
STRIKES = 5


class Webhook(Base):
    """One URL that is told of events."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("uq_webhooks_url", "url", unique=True),)

    id: Mapped[int] = identity()
    url: Mapped[str]
    types: Mapped[list[str] | None]
    client_ids: Mapped[list[int] | None]
    allow_private: Mapped[bool]
    environment: Mapped[str]
    sealed_secret: Mapped[bytes | None]
    sealed_former_secret: Mapped[bytes | None]
    former_secret_until: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    paused_reason: Mapped[str | None]
    failures: Mapped[int] = mapped_column(Integer)
    failing_since: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    last_code: Mapped[str | None]
    last_http_status: Mapped[int | None] = mapped_column(Integer)
    stopped_at: Mapped[datetime | None]
    catch_up_id: Mapped[int | None]
    catch_up_from: Mapped[datetime | None]
    resumed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


@dataclass(frozen=True, slots=True)
class Ready:
    """A webhook that has something to be sent, and may be sent it."""

    id: int
    url: str = field(repr=False)  # some are secrets
    allow_private: bool
    sealed_secret: bytes = field(repr=False)
    sealed_former_secret: bytes | None = field(repr=False)


ANY = text("select exists (select from evergrant.webhooks)")

READY = text(f"""
select w.id, w.url, w.allow_private, w.sealed_secret,
    case when w.former_secret_until > clock_timestamp() then w.sealed_former_secret end as sealed_former_secret
from evergrant.webhooks w
join evergrant.installation i on i.environment = w.environment
where w.paused_at is null and w.sealed_secret is not null
    and (w.retry_at is null or w.retry_at <= clock_timestamp())
    and exists (
        select from evergrant.webhook_deliveries d
        where d.webhook_id = w.id and d.ended_at is null and d.try_at <= clock_timestamp()
    )
    and {DATABASE_IS_FIT}
order by w.id
""")  # noqa: S608  # constants

# Events of transactions that are open now are told, too: what they wrote, the first tending finds.
INSERT = text("""
insert into evergrant.webhooks
    (url, types, client_ids, allow_private, environment, created_by, catch_up_id, catch_up_from, resumed_at)
select :url, cast(:types as text[]), cast(:client_ids as bigint[]), :allow_private, i.environment, :who,
    coalesce((select max(e.id) from evergrant.events e), 0), clock_timestamp(), clock_timestamp()
from evergrant.installation i
on conflict (url) do nothing
returning id
""")
OF_URL = text("select id from evergrant.webhooks where url = :url")
SEAL = text("update evergrant.webhooks set sealed_secret = :sealed where id = :id")
ROTATE = text("""
update evergrant.webhooks set
    sealed_former_secret = case when cast(:overlap as interval) > interval '0' then sealed_secret end,
    former_secret_until = case when cast(:overlap as interval) > interval '0' then clock_timestamp() + :overlap end,
    sealed_secret = :sealed
where id = :id
returning former_secret_until
""")
PAUSE = text("""
update evergrant.webhooks set paused_at = clock_timestamp(), paused_reason = :reason
where id = :id and paused_at is null
""")
# At once, whatever it waited for; and from this environment, where it is another one's.
RESUME = text("""
update evergrant.webhooks w set
    paused_at = null, paused_reason = null, failures = 0, failing_since = null, retry_at = null,
    environment = i.environment
from evergrant.installation i
where w.id = :id
""")
SOON = text("""
update evergrant.webhook_deliveries set try_at = clock_timestamp()
where webhook_id = :id and ended_at is null and try_at > clock_timestamp()
""")
REMOVE = text("""
with gone as (delete from evergrant.webhooks where id = :id),
dropped as (delete from evergrant.webhook_deliveries where webhook_id = :id returning ended_at is null as was_queued)
select count(*) filter (where was_queued) from dropped
""")
# Before all else that waits, also where one at a time is sent to see.
TEST_NOW = text("""
with now as (update evergrant.webhooks set retry_at = null where id = :id and retry_at is not null)
update evergrant.webhook_deliveries set try_at = try_at - interval '1 year'
where webhook_id = :id and event_id = :event_id
""")

ALL = text("""
select w.id, w.url, w.types, w.allow_private, w.environment, w.former_secret_until, w.paused_at, w.paused_reason,
    w.failures, w.failing_since, w.retry_at, w.last_success_at, w.last_code, w.last_http_status, w.stopped_at,
    w.created_at, w.created_by,
    array(select c.name from evergrant.clients c where c.id = any (w.client_ids) order by c.name) as clients,
    w.client_ids is not null as is_of_clients, w.environment <> i.environment as is_foreign,
    waiting.deliveries as queued, waiting.oldest_at, clock_timestamp() - waiting.oldest_at as lag,
    dead.deliveries as dead
from evergrant.webhooks w
cross join evergrant.installation i
cross join lateral (
    select count(*) as deliveries, min(d.queued_at) as oldest_at from evergrant.webhook_deliveries d
    where d.webhook_id = w.id and d.ended_at is null
) waiting
cross join lateral (
    select count(*) as deliveries from evergrant.webhook_deliveries d join evergrant.events e on e.id = d.event_id
    where d.webhook_id = w.id and d.ended_at is not null and d.outcome = 'dead' and e.type <> 'webhook.test'
) dead
where cast(:id as bigint) is null or w.id = :id
order by w.id
""")


def host_of(url: str) -> str:
    """What may be told of a URL everywhere: the rest of some is a secret."""
    return urlsplit(url).hostname or ""


def any_there(connection: Connection) -> bool:
    """Whether anybody is to be told anything."""
    return bool(connection.execute(ANY).scalar_one())


def ready(connection: Connection, environment: str | None) -> list[Ready]:
    """The webhooks that something may be sent to now; none where this database is a copy."""
    return [Ready(**row) for row in connection.execute(READY, {"environment": environment}).mappings()]


def add(
    connection: Connection,
    url: str,
    *,
    types: Sequence[str] | None,
    client_ids: Sequence[int] | None,
    allow_private: bool,
    who: str,
) -> int:
    """Tell a URL of events from now on; nothing is sent before it has a secret (`seal`). Returns its id.

    Raises:
        WebhookExists: it is told already.

    """
    wanted = {"url": url, "types": types, "client_ids": client_ids, "allow_private": allow_private, "who": who}
    made: int | None = connection.execute(INSERT, wanted).scalar()
    if made is None:
        raise WebhookExists(connection.execute(OF_URL, {"url": url}).scalar_one())
    _note(connection, EventType.WEBHOOK_ADDED, made, who=who, host=host_of(url))
    return made


def seal(connection: Connection, webhook_id: int, sealed: bytes) -> None:
    """Give a new webhook its secret."""
    connection.execute(SEAL, {"id": webhook_id, "sealed": sealed})


def rotate(connection: Connection, webhook_id: int, sealed: bytes, *, overlap: timedelta, who: str) -> datetime | None:
    """Sign with another secret; the one before signs beside it for `overlap`. Returns until when.

    Raises:
        UnknownWebhook: there is none of this id.

    """
    found(connection, webhook_id)
    wanted = {"id": webhook_id, "sealed": sealed, "overlap": overlap}
    until: datetime | None = connection.execute(ROTATE, wanted).scalar_one()
    _note(connection, EventType.WEBHOOK_SECRET_CHANGED, webhook_id, who=who)
    return until


def pause(connection: Connection, webhook_id: int, *, who: str) -> None:
    """Send nothing to it; what it is to be told waits.

    Raises:
        UnknownWebhook: there is none of this id.

    """
    found(connection, webhook_id)
    if connection.execute(PAUSE, {"id": webhook_id, "reason": WebhookPause.OPERATOR}).rowcount:
        _note(connection, EventType.WEBHOOK_PAUSED, webhook_id, who=who)


def resume(connection: Connection, webhook_id: int, *, who: str) -> None:
    """Send to it again, at once.

    Raises:
        UnknownWebhook: there is none of this id.

    """
    found(connection, webhook_id)
    connection.execute(RESUME, {"id": webhook_id})
    connection.execute(SOON, {"id": webhook_id})
    _note(connection, EventType.WEBHOOK_RESUMED, webhook_id, who=who)


def remove(connection: Connection, webhook_id: int, *, who: str) -> int:
    """Tell it nothing any more; returns how many deliveries were still on their way.

    Raises:
        UnknownWebhook: there is none of this id.

    """
    host = host_of(found(connection, webhook_id)["url"])
    dropped = int(connection.execute(REMOVE, {"id": webhook_id}).scalar_one())
    _note(connection, EventType.WEBHOOK_REMOVED, webhook_id, who=who, host=host)
    return dropped


def test(connection: Connection, webhook_id: int, *, who: str) -> int:
    """Tell it an event that says nothing, now; returns the event's number.

    Raises:
        UnknownWebhook: there is none of this id.
        WebhookPaused: nothing is sent to it.

    """
    row = found(connection, webhook_id)
    if row["paused_reason"] is not None or row["is_foreign"]:
        raise WebhookPaused(webhook_id, row["paused_reason"] or f"it is of the environment {row['environment']}")
    number = _note(connection, EventType.WEBHOOK_TEST, webhook_id, who=who)
    connection.execute(TEST_NOW, {"id": webhook_id, "event_id": number})
    return number


def listed(connection: Connection) -> Sequence[RowMapping]:
    """Every webhook, and how it goes."""
    return connection.execute(ALL, {"id": None}).mappings().all()


def found(connection: Connection, webhook_id: int) -> RowMapping:
    """One webhook, as it is listed.

    Raises:
        UnknownWebhook: there is none of this id.

    """
    row = connection.execute(ALL, {"id": webhook_id}).mappings().one_or_none()
    if row is None:
        raise UnknownWebhook(webhook_id)
    return row


def _note(connection: Connection, kind: str, webhook_id: int, *, who: str, **more: str) -> int:
    return event.of_nobody(connection, kind, data={"webhook": webhook_id, **more}, actor=who)
