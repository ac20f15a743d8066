"""Chores: periodic work as rows, claimed like a grant, so that any number of beats may run."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Chore(Base):
    """One kind of periodic work and when it is due."""

    __tablename__ = "chores"

    name: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
