"""Dead letters: what we gave up on, and why; each is closed by a success, a redrive or a discard."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, identity


class DeadLetter(Base):
    """One thing that needs a human, with its cause."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        Index(
            "uq_dead_letters_open",
            "grant_id",
            "kind",
            "cause",
            unique=True,
            postgresql_where=text("resolved_at is null"),
        ),
    )

    id: Mapped[int] = identity()
    kind: Mapped[str]
    client_id: Mapped[int]
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("evergrant.grants.id"))
    revocation_id: Mapped[int | None] = mapped_column(ForeignKey("evergrant.revocations.id"))
    ref: Mapped[str]
    generation: Mapped[int]
    cause: Mapped[str]
    detail: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(Integer)
    first_failed_at: Mapped[datetime]
    dead_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None]
    resolved_by: Mapped[str | None]
