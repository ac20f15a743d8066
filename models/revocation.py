"""Revocation: the database-driven queue of grants that must die at the provider."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity


class Revocation(Base):
    """A request to kill a grant at the provider, and its state. Applications only insert it."""

    __tablename__ = "revocations"
    __table_args__ = (
        UniqueConstraint("grant_id"),
        UniqueConstraint("client_id", "idempotency_key"),
        Index("ix_revocations_queued", "client_id", "due_at", postgresql_where=text("status = 'queued'")),
    )

    id: Mapped[int] = identity()
    client_id: Mapped[int]
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.grants.id"))
    ref: Mapped[str]
    reason: Mapped[str | None]
    status: Mapped[str]
    evidence: Mapped[str | None]
    erase: Mapped[bool]
    idempotency_key: Mapped[str | None]
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(Integer)
    failing_since: Mapped[datetime | None]
    last_error_code: Mapped[str | None]
    last_error_http_status: Mapped[int | None] = mapped_column(Integer)
    last_error_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
