"""Refresh requests: somebody wants a refresh early. They shorten no lease; beat reads them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity


class RefreshRequest(Base):
    """Somebody asks to refresh this grant if it still is of the generation that the asker has seen."""

    __tablename__ = "refresh_requests"
    __table_args__ = (
        Index(None, "grant_id", "generation"),
        Index(None, "client_id", "requested_at"),
    )

    id: Mapped[int] = identity()
    client_id: Mapped[int]
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.grants.id"))
    generation: Mapped[int]
    rejected: Mapped[bool]
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
