"""The register of journals: who holds which, drained or not."""

from datetime import datetime

from sqlalchemy.orm import Mapped

from models.base import Base, identity


class Journal(Base):
    """One worker process's file of provider answers."""

    __tablename__ = "journals"

    id: Mapped[int] = identity()
    host: Mapped[str]
    process: Mapped[str]
    opened_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    drained_at: Mapped[datetime | None]
    abandoned_at: Mapped[datetime | None]
    abandoned_by: Mapped[str | None]
