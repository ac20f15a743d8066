"""Public listener: where customers come to, as the webs that serve it say again and again.

What nobody says any more is not believed for long: a link of it would lead nowhere.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

from models.errors import Told

TELL_AGAIN: Final = timedelta(seconds=30)
# Three of those may be missed, and a web may be started anew meanwhile; evergrant.connect_url has the same.
BELIEVED_FOR: Final = timedelta(minutes=2)
# Then it is not away, it is gone: nobody is told of it any longer.
REMEMBERED: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PublicListener:
    """Where it is found, as the web that was started last was told; `is_served`: one has said lately that it is there.

    Without a `url` none was ever started on this database, or none for long.
    """

    url: str | None
    seen_at: datetime | None
    is_served: bool


class NoPublicListener(Told):
    """{why}, so a link would lead nowhere."""

    error = "no_public_listener"
    next = "start `evergrant web` with EVERGRANT_PUBLIC_BIND and EVERGRANT_PUBLIC_URL, or `evergrant up` with them"

    def __init__(self, url: str | None, last: str) -> None:
        known = f"No web serves the public listener {url} any longer (last: {last})"
        super().__init__(why="No public listener is known" if url is None else known)


IS_SERVED: Final = f"""
    coalesce(i.public_url_seen_at > clock_timestamp() - interval '{BELIEVED_FOR.total_seconds():.0f} s', false)"""
KNOWN = text(f"""
select i.public_url as url, i.public_url_seen_at as seen_at, {IS_SERVED} as is_served
from evergrant.installation i
""")  # noqa: S608  # constants
BEGIN = text("update evergrant.installation set public_url = :url, public_url_seen_at = clock_timestamp()")
# Of several with URLs of their own the one that was started last is told of, for as long as it is there.
GO_ON = text(f"""
update evergrant.installation i set public_url = :url, public_url_seen_at = clock_timestamp()
where i.public_url = :url or not {IS_SERVED}
""")  # noqa: S608  # constants
FORGET = text("""
update evergrant.installation set public_url = null, public_url_seen_at = null
where public_url_seen_at < clock_timestamp() - cast(:remembered as interval)
""")


def known(connection: Connection) -> PublicListener:
    """What is known of it; a link is its URL, `/connect/` and the ticket."""
    row = connection.execute(KNOWN).mappings().one_or_none()
    return PublicListener(None, None, is_served=False) if row is None else PublicListener(**row)


def served(connection: Connection) -> str:
    """Where it is found.

    Raises:
        NoPublicListener: nobody serves one.

    """
    found = known(connection)
    if found.url is None or not found.is_served:
        seen_at = found.seen_at
        last = "long ago" if seen_at is None else f"{seen_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        raise NoPublicListener(found.url, last)
    return found.url


def begin(connection: Connection, url: str) -> None:
    """Say that it is served from now on, and where."""
    connection.execute(BEGIN, {"url": url})


def go_on(connection: Connection, url: str) -> None:
    """Say that it is still served; where another one has begun since, that one is told of."""
    connection.execute(GO_ON, {"url": url})


def forget_silent(connection: Connection) -> None:
    """Forget what nobody has served for a day."""
    connection.execute(FORGET, {"remembered": REMEMBERED})
