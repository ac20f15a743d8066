"""Events: the outbox and the history, written in the transaction of the change that they tell of."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from models.base import Base, identity


class Event(Base):
    """Something that happened to a grant, a revocation or a client."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "grant_id", "id"),)

    id: Mapped[int] = identity()
    type: Mapped[str]
    occurred_at: Mapped[datetime]
    client_id: Mapped[int | None]
    grant_id: Mapped[UUID | None]
    ref: Mapped[str | None]
    generation: Mapped[int | None]
    labels: Mapped[dict[str, Any]]
    reason: Mapped[str | None]
    data: Mapped[dict[str, Any]]
    actor: Mapped[str | None]
