"""Former tokens: predecessors and surplus, every pair ever received that is not known dead."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity


class FormerToken(Base):
    """A pair that was replaced and may still live, or one that arrived for a generation already stored."""

    __tablename__ = "former_tokens"
    __table_args__ = (UniqueConstraint("grant_id", "refresh_fingerprint"),)

    id: Mapped[int] = identity()
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.grants.id"))
    kind: Mapped[str]
    generation: Mapped[int]
    sealed_refresh_token: Mapped[bytes]
    sealed_access_token: Mapped[bytes | None]
    refresh_fingerprint: Mapped[bytes]
    access_expires_at: Mapped[datetime | None]
    stored_at: Mapped[datetime]
    tried_at: Mapped[datetime | None]
    known_dead_at: Mapped[datetime | None]


DROP = text("delete from evergrant.former_tokens where id = any (cast(:ids as bigint[]))")


def drop(connection: Connection, ids: Sequence[int]) -> None:
    """Forget pairs that are dead for certain."""
    if ids:
        connection.execute(DROP, {"ids": list(ids)})
