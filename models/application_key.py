"""Application key: what stands after `Bearer`, and of it the hash alone.

An application has two while one takes over from the other. When a key was used last is noted once a minute at most, and
never by the transaction that reads.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity

KEY_BYTES = 32
KEPT_AFTER_ITS_END = timedelta(days=30)  # so that whoever still uses it is told that it has ended


class ApplicationKey(Base):
    """One key of an application."""

    __tablename__ = "application_keys"
    __table_args__ = (Index(None, "application_id"),)

    id: Mapped[int] = identity()
    application_id: Mapped[int] = mapped_column(ForeignKey("evergrant.applications.id", ondelete="CASCADE"))
    key_hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]


INSERT = text("""
insert into evergrant.application_keys (application_id, key_hash, created_by, expires_at)
values (:application_id, :key_hash, :who, clock_timestamp() + cast(:expires_in as interval))
returning expires_at
""")

# One that the release before added has no row yet.
ADOPT = text("""
insert into evergrant.application_keys (application_id, key_hash, created_at, created_by)
select a.id, a.key_hash, a.created_at, a.created_by from evergrant.applications a
where a.id = :id and not exists (select from evergrant.application_keys k where k.application_id = a.id)
""")

# The life that the newest one was given; null: none has an end.
LIFE = text("""
select expires_at - created_at from evergrant.application_keys where application_id = :id order by id desc limit 1
""")

END = text("""
update evergrant.application_keys set expires_at = clock_timestamp() + cast(:overlap as interval)
where application_id = :id and (expires_at is null or expires_at > clock_timestamp() + cast(:overlap as interval))
""")

FORGET = text("""
delete from evergrant.application_keys
where application_id = :id and expires_at < clock_timestamp() - cast(:kept as interval)
""")

# Several web processes note the same key: together, too, once a minute.
NOTE_USED = text("""
update evergrant.application_keys set used_at = clock_timestamp()
where id = any (cast(:ids as bigint[])) and (used_at is null or used_at < clock_timestamp() - interval '1 minute')
""")


def new_key() -> str:
    """Make a key that nobody can guess, as it stands after `Bearer`."""
    return f"egk_{secrets.token_urlsafe(KEY_BYTES)}"


def hashed(key: str) -> bytes:
    """What is stored of a key: SHA-256, since a random key needs no slow hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def of_nobody() -> bytes:
    """A hash that no key has."""
    return secrets.token_bytes(KEY_BYTES)


def add(
    connection: Connection, application_id: int, key: str, *, expires_in: timedelta | None, who: str
) -> datetime | None:
    """Give an application a key; returns when it ends, None where it never does."""
    wanted = {"application_id": application_id, "key_hash": hashed(key), "expires_in": expires_in, "who": who}
    found: datetime | None = connection.execute(INSERT, wanted).scalar()
    return found


def replace(
    connection: Connection,
    application_id: int,
    key: str,
    *,
    overlap: timedelta,
    expires_in: timedelta | None,
    who: str,
) -> datetime | None:
    """Give an application another key; those before it end after `overlap`, or sooner where they would anyway.

    `expires_in` None: it lives as long as the one before was given. Returns when it ends, None where it never does.
    """
    connection.execute(ADOPT, {"id": application_id})
    life = expires_in or connection.execute(LIFE, {"id": application_id}).scalar()
    connection.execute(END, {"id": application_id, "overlap": overlap})
    connection.execute(FORGET, {"id": application_id, "kept": KEPT_AFTER_ITS_END})
    return add(connection, application_id, key, expires_in=life, who=who)


def note_used(connection: Connection, ids: Sequence[int]) -> None:
    """Note that these keys were used just now, where that is not known of the last minute."""
    connection.execute(NOTE_USED, {"ids": list(ids)})
